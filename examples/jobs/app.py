"""Jobs in worker processes: each tells how far it is, happens once, and stops when nobody looks any more."""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import trio
import trio_parallel
from hubs import read_places, search
from quart import Response, abort, request
from quart_trio import QuartTrio

from triolet import ChannelEnded, Command, Draft, Limits, RunError, Triolet

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
MOST, MOST_SHOWN, IDLE = 4 << 20, 4_000, float(os.environ.get("JOBS_UNWATCHED") or 10)  # bytes, places, seconds
file = Path(str(distribution("vega-datasets").locate_file("vega_datasets/_data/airports.csv")))
head, *rows = file.read_bytes().splitlines(keepends=True)  # those of the 48 states that lie together:
AIRPORTS = head + b"".join(row for row in rows if -125 < float(row.rsplit(b",", 1)[1]) < -67.2)

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
database = Path(os.environ.get("JOBS_DB") or Path(__file__).with_name("jobs.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}", limits=Limits(run_lease_seconds=6, runs=20))
live.socket("/live")
working = trio.CapacityLimiter(2)  # jobs at once: the others wait
in_worker = partial(trio_parallel.run_sync, kill_on_cancel=True)  # a call that is cancelled takes its process with it
progress = partial(Draft.of, name="progress", key="progress", fold="latest")


@live.channel("/jobs/events")
@live.channel("/jobs/<uuid:job>/events", endpoint="what_becomes_of_one")
async def events(job: UUID | None = None) -> str:
    return f"jobs/{job}" if job else "jobs"


@live.command("/jobs")
async def begin_airports(command: Command) -> Any:
    job = uuid5(NAMESPACE_URL, command.id)
    with suppress(ChannelEnded):  # sent again, since a server was killed before its answer: the job is over by now
        async with begin(job, "US airports", len(AIRPORTS), command.data) as feed:
            await feed.send(AIRPORTS)
    return {"job": str(job)}


@app.put("/jobs/<uuid:job>")
async def begin_upload(job: UUID) -> Any:
    """A CSV, with ``?name=…&hubs=12&tries=20`` and perhaps ``&alone=1``. The job tells of each part that has come."""
    asked = {name: request.args.get(name, 0, type=int) for name in ("hubs", "tries", "alone")}
    with suppress(ChannelEnded, trio.BrokenResourceError):  # it was over before, or was stopped meanwhile
        async with begin(job, request.args.get("name", "")[:80], request.content_length or 0, asked) as feed:
            async for part in request.body:
                await feed.send(part)
    return {"job": str(job)}


@live.command("/jobs/<uuid:job>/stop")
async def stop(job: UUID, command: Command) -> Any:
    return {"told": await live.stop_run(f"jobs/{job}", "by hand")}


@asynccontextmanager
async def begin(job: UUID, name: str, size: int, asked: Any) -> AsyncIterator[trio.MemorySendChannel[bytes]]:
    match asked:
        case {"hubs": int(k), "tries": int(n), "alone": int(alone)} if 1 < k < 25 and 0 < n <= 100 and 0 < size <= MOST:
            told = {"job": str(job), "name": name, "hubs": k, "tries": n, "alone": alone}
        case _:
            abort(400)
    feed, parts = trio.open_memory_channel[bytes](0)
    async with feed:
        try:
            await live.run(f"jobs/{job}", work(job, parts, size, k, n), stop_when_unwatched=None if alone else IDLE)
        except RunError as error:
            abort(503, str(error))  # there are as many as may be, or this one goes on: ask again
        await live.publish("jobs", told, name="job", key=str(job), dedupe=str(job))
        yield feed


async def work(job: UUID, parts: Any, size: int, hubs: int, tries: int) -> AsyncGenerator[Draft, None]:
    data, best = bytearray(), None
    async with parts:
        async for part in parts:
            data += part
            yield progress({"state": "receiving", "done": len(data) / size})
    yield progress({"state": "waiting", "done": 0})
    async with working:
        try:
            if len(data) < size:
                raise ValueError("the file has broken off")
            places = await in_worker(read_places, bytes(data))
            shown = [[round(x), round(y)] for x, y, _ in places[:: 1 + len(places) // MOST_SHOWN]]
            yield Draft.of({"count": len(places), "shown": shown}, name="places", key="places", fold="latest")
            for at in range(tries):
                found = await in_worker(search, places, hubs, at)
                best = min(best or found, found)
                yield progress({"state": "working", "done": (at + 1) / tries, "far": best[0], "hubs": best[1]})
        except ValueError as error:
            await live.end(f"jobs/{job}", {"outcome": "failed", "reason": str(error)})


@app.get("/")
async def page() -> Response:
    return await app.send_static_file("index.html")


@app.after_request
async def harden(response: Response) -> Response:
    response.headers.update({"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})
    return response
