"""A map of planes that move: each tile of it is a channel, and a page follows those that it shows."""

import os
from pathlib import Path
from typing import Any

import trio
from flights import TILES, Plane, read_airports, tile_of
from quart import Response, abort
from quart_trio import QuartTrio

from triolet import Cursor, Draft, Keep, Limits, LogError, Triolet, policies
from triolet.clock import wall_time

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
database = Path(os.environ.get("MAP_DB") or Path(__file__).with_name("map.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}", limits=Limits(keep={"tiles/*": Keep(events=2_000, seconds=30)}))
live.socket("/live")
airports = read_airports()
planes = {f"TR{number}": Plane(number, airports) for number in range(100, 500)}
sky: dict[str, dict[str, dict[str, Any]]] = {tile: {} for tile in TILES}  # the planes over each, by their names


async def planes_over(channel: str) -> tuple[dict[str, Any], Cursor]:
    """What a page begins with, read behind its cursor: what is told meanwhile is told again, and changes nothing."""
    head = await live.log.head(channel)
    return {"at": round(wall_time() * 1000), "planes": sky[channel.removeprefix("tiles/")]}, head


@live.channel("/tiles/<path:tile>/events", policy=policies.latest(events=40), snapshot=planes_over)
async def tile_events(tile: str) -> str:
    """The planes over a tile. Who has missed more than 40 events is told of each plane where it is now."""
    if tile not in sky:
        abort(404)
    return f"tiles/{tile}"


def move() -> dict[str, list[Draft]]:
    """Move all planes to where they are now, and return what is to be told of it in each tile."""
    told: dict[str, list[Draft]] = {tile: [] for tile in TILES}
    before = {name: (tile, state) for tile, states in sky.items() for name, state in states.items()}
    now = wall_time()
    for name, plane in planes.items():
        state = {**plane.where(now), "at": round(now * 1000)}
        tile, (old_tile, old) = tile_of(state["lat"], state["lon"]), before.get(name, ("", {}))
        if state == {**old, "at": state["at"]}:
            continue  # it stands on the ground
        if old and tile != old_tile:
            del sky[old_tile][name]
            told[old_tile].append(Draft.of({**state, "tile": tile}, name="left", key=name))
        sky[tile][name] = state
        told[tile].append(Draft.of(state, name="plane", key=name))
    return told


@app.before_serving
async def start() -> None:
    move()
    app.nursery.start_soon(fly)


async def fly() -> None:
    """Publish once a second what has moved: a batch for each tile, which the log stores all together."""
    is_known = False  # what pages were told before: not by the process before this one, nor where it was not stored
    while True:
        told, at = move(), round(wall_time() * 1000)
        if not is_known:
            told = {tile: [Draft.of({"at": at, "planes": sky[tile]}, name="whole", key="whole")] for tile in TILES}
        is_known = False
        try:
            async with trio.open_nursery() as nursery:
                for tile, drafts in told.items():
                    nursery.start_soon(live.publish_many, f"tiles/{tile}", drafts)
            is_known = True
        except* LogError as errors:
            app.logger.error("the planes could not be published, trying again: %s", errors.exceptions[0])
        await trio.sleep(1 - wall_time() % 1)


@app.get("/")
async def index() -> Response:
    return await app.send_static_file("index.html")


@app.get("/sky")
async def look() -> dict[str, Any]:
    return {"airports": airports, "tiles": TILES, "planes": len(planes)}


@app.after_request
async def harden(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
