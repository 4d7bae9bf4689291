"""Whatever is published to three channels, and wherever the client is cut off and comes back, by a stream or by polls:
its history of each channel is the log's, each event once, or a gap says what is missing."""

from __future__ import annotations

import json
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from quart_trio import QuartTrio

from triolet import Limits, Triolet
from triolet.log import MemoryLog
from triolet.testing.http import EventStream
from triolet.testing.seed import play
from triolet.testing.server import MemoryServer, serve

CHANNELS = ("A", "B", "C")
LIMITS = Limits(keep_events=6, window_events=3, page_events=4)

PUBLISH = st.tuples(st.just("publish"), st.sampled_from(CHANNELS), st.integers(1, 9))
STREAM = st.tuples(st.just("stream"), st.integers(0, 12), st.sampled_from([0.0, 0.1, 30.0]))
POLL = st.tuples(st.sampled_from(["poll", "long poll"]), st.integers(1, 3), st.just(0))
FOLLOWS = st.permutations(CHANNELS)
FOLLOW = st.tuples(st.just("follow"), FOLLOWS, st.just(0))
STEPS = st.lists(st.one_of(PUBLISH, PUBLISH, STREAM, POLL, FOLLOW), max_size=15)


class Reader:
    """A client that knows nothing but its one cursor, and holds each channel against what it has heard."""

    def __init__(self, server: MemoryServer, filtered: bool) -> None:
        self.server = server
        self.filtered = filtered
        self.order = CHANNELS
        self.cursor: str | None = None
        self.at = dict.fromkeys(CHANNELS, 0)
        self.heard: dict[str, list[int]] = {name: [] for name in CHANNELS}
        self.gaps: dict[str, list[tuple[int, int]]] = {name: [] for name in CHANNELS}

    @property
    def url(self) -> str:
        return "/live?" + "&".join(f"follow=/{name}?after=e.0" for name in self.order)

    def take(self, said: dict[str, Any]) -> None:
        kind, name = said["type"], said.get("channel", "")
        if kind == "event":
            at = offset(said["id"])
            assert at == self.at[name] + 1 or (self.hides(name) and at > self.at[name])
            assert at == said["data"]
            self.heard[name].append(at)
            self.at[name] = at
        elif kind == "gap":
            start, end = offset(said["from"]), offset(said["to"])
            assert (start, said["reason"]) == (self.at[name], "expired")
            assert said["missed"] == end - start > 0
            self.gaps[name].append((start, end))
            self.at[name] = end
        elif kind in ("open", "live"):
            self.moved(name, said["cursor"])
        elif kind == "beat":
            for channel, cursor in said["cursors"].items():
                self.moved(channel, cursor)
        else:
            raise AssertionError(said)

    def moved(self, name: str, cursor: str) -> None:
        assert offset(cursor) == self.at[name] or (self.hides(name) and offset(cursor) > self.at[name])
        self.at[name] = offset(cursor)

    def hides(self, name: str) -> bool:
        return self.filtered and name == "B"

    async def stream(self, blocks: int, seconds: float) -> None:
        """Take so many blocks, in so much time, and be cut off."""
        headers = {} if self.cursor is None else {"last-event-id": self.cursor}
        async with self.server.events(self.url, headers=headers) as stream:
            assert stream.status == 200
            with trio.move_on_after(seconds):
                for _ in range(blocks):
                    await self.take_block(stream)

    async def take_block(self, stream: EventStream) -> dict[str, Any]:
        block = await stream.block()
        assert block is not None
        said: dict[str, Any] = json.loads(block["data"])
        self.take(said)
        self.cursor = block.get("id", self.cursor)
        return said

    async def poll(self, wait: str = "") -> bool:
        after = "" if self.cursor is None else f"&after={self.cursor}"
        body = (await self.server.get(self.url + after + wait)).json
        assert len(body["events"]) <= LIMITS.page_events
        for said in (*body["gaps"], *body["events"]):
            self.take(said)
        for one in body["follows"]:
            self.moved(one["channel"], one["cursor"])
        self.cursor = body["cursor"]
        live: bool = body["live"]
        return live


def offset(cursor: str) -> int:
    return int(cursor.rpartition(".")[2])


@given(STEPS, st.booleans(), st.booleans(), st.integers(0, 1_000))
@settings(max_examples=40)
def test_no_schedule_loses_or_repeats(
    steps: list[tuple[Any, ...]], filtered: bool, ends_with_stream: bool, seed: int
) -> None:
    play(seed, _run, steps, filtered, ends_with_stream)


async def _run(steps: list[tuple[Any, ...]], filtered: bool, ends_with_stream: bool) -> None:
    app = QuartTrio("many")
    live = Triolet(app, log=MemoryLog(LIMITS, epoch="e"), limits=LIMITS)
    allow = (lambda event, who: event.data % 2 == 0) if filtered else None
    live.channel("/A", endpoint="a")(lambda: "A")
    live.channel("/B", endpoint="b", allow=allow)(lambda: "B")
    live.channel("/C", endpoint="c")(lambda: "C")
    live.socket("/live")
    heads = dict.fromkeys(CHANNELS, 0)
    async with serve(app) as server:
        reader = Reader(server, filtered)
        for kind, what, more in steps:
            if kind == "publish":
                numbers = range(heads[what] + 1, heads[what] + more + 1)
                await live.publish_many(what, numbers)
                heads[what] += more
            elif kind == "stream":
                await reader.stream(what, more)
            elif kind == "follow":
                reader.order = what
            else:
                for _ in range(what):
                    await reader.poll("&wait=1" if kind == "long poll" else "")
        if ends_with_stream:
            with trio.move_on_after(60):
                await reader.stream(10_000, 60)
        else:
            while not await reader.poll():
                pass
        for name in CHANNELS:
            assert reader.at[name] == heads[name], name
            missed = {n for start, end in reader.gaps[name] for n in range(start + 1, end + 1)}
            seen = [n for n in range(1, heads[name] + 1) if n not in missed and not (reader.hides(name) and n % 2)]
            assert reader.heard[name] == seen, name
