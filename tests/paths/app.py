"""The app that is served over every path: channels that are cells of the table, and sockets to talk to."""

from __future__ import annotations

import json
import os
from typing import Any

from quart import abort, request
from quart_trio import QuartTrio

from triolet import Connection, Cursor, Draft, Limits, Triolet

LIMITS = Limits(
    beat_seconds=1,
    silence_seconds=4,
    stall_seconds=3,
    wait_seconds=10,
    poll_seconds=0.2,
    write_seconds=4,
    message_bytes=64 << 10,
    message_depth=8,
    follows=4,
    header_bytes=12 << 10,
    body_bytes=1 << 20,
    keep_events=300,
)
"""Small enough for all of it to be seen within seconds of real time."""


class ForeignCancelled(BaseException):
    """What a library raises that was written for another event loop: no Exception, and none of Trio's."""


def make_app(limits: Limits = LIMITS) -> QuartTrio:
    """Make it, not yet served."""
    app = QuartTrio("paths")
    live = Triolet(app, limits=limits)

    async def state_of(channel: str) -> tuple[list[Any], Cursor]:
        page = await live.log.read(channel, Cursor("", 0), limit=1_000, max_bytes=1 << 20)
        return [event.data for event in page.events], page.head

    @live.channel("/cells/<cell>/events", member=lambda cell: request.args.get("as"), snapshot=state_of)
    async def events(cell: str) -> str:
        if cell == "forbidden":
            abort(403)
        if cell == "crash":
            raise ZeroDivisionError("a bug of the app's")
        if cell == "cancelled":
            raise ForeignCancelled
        return f"cells/{cell}"

    live.socket("/many")
    add_the_rest(app, live)
    return app


def add_the_rest(app: QuartTrio, live: Triolet) -> None:
    """Add what a dialogue needs besides channels and the socket for many: sockets to talk to, views to publish and
    look."""

    @live.socket("/talk")
    async def talk(conn: Connection) -> None:
        async for message in conn:
            await conn.send({"echo": message})

    @live.socket("/crash")
    async def crash(conn: Connection) -> None:
        async for _ in conn:
            raise ZeroDivisionError("a bug of the app's")

    @live.socket("/cancelled")
    async def cancelled(conn: Connection) -> None:
        async for _ in conn:
            raise ForeignCancelled

    _add_hands(app, live)


def _add_hands(app: QuartTrio, live: Triolet) -> None:
    """What publishes, and looks at what there is."""

    @app.post("/cells/<cell>")
    async def publish(cell: str) -> dict[str, Any]:
        made = await live.publish_many(f"cells/{cell}", await request.get_json())
        return {"ids": [str(event.cursor) for event in made]}

    @app.post("/cells/<cell>/texts")
    async def publish_texts(cell: str) -> dict[str, Any]:
        """Publish texts that go together."""
        drafts = [Draft.of(text, key="text", fold="concat") for text in await request.get_json()]
        return {"ids": [str(event.cursor) for event in await live.publish_many(f"cells/{cell}", drafts)]}

    @app.post("/cells/<cell>/big")
    async def publish_big(cell: str) -> dict[str, Any]:
        """Publish numbered events of so many bytes, as many a batch as the log takes at once."""
        body = await request.get_json()
        for number in range(body["count"]):
            await live.publish(f"cells/{cell}", [number, "x" * body["bytes"]])
        return {}

    @app.get("/cells/<cell>")
    async def look(cell: str) -> dict[str, Any]:
        roster = await live.presence(f"cells/{cell}").roster()
        following = [conn for conn in live.connections() if any(f.channel == f"cells/{cell}" for f in conn.followers)]
        watchers = live.watchers(f"cells/{cell}")
        return {"members": sorted(roster.members), "followers": len(following), "watchers": watchers}

    @app.get("/held")
    async def held() -> dict[str, int]:
        return {"held": live.statistics().memory.held}

    @app.post("/body")
    async def body() -> dict[str, int]:
        return {"bytes": len(await request.get_data())}


app = make_app(Limits(**json.loads(os.environ["PATHS_LIMITS"])) if "PATHS_LIMITS" in os.environ else LIMITS)
