"""What was missed comes folded, to clients that ask for it and by a route's policy, on every transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.filtering import Sees, sees
from tests.middleware import stand_before
from triolet import Draft, Event, Limits, Triolet, policies
from triolet.event import FOLDS
from triolet.log import MemoryLog
from triolet.testing.clients import Client
from triolet.testing.server import MemoryServer, serve
from triolet.wire.fold import apply

CHANNEL = "answers/1"
WAYS = (
    *("websocket", "follow", "sse", "long poll", "short poll"),
    *("websocket behind middleware", "sse behind middleware", "long poll behind middleware"),
)
LIMITS = Limits(page_events=7, window_events=5, poll_seconds=1, wait_seconds=5)


@asynccontextmanager
async def served(
    way: str = "", limits: Limits = LIMITS, policy: Any = None
) -> AsyncIterator[tuple[MemoryServer, Triolet]]:
    app = QuartTrio("folds")
    live = Triolet(app, log=MemoryLog(limits, epoch="e"), limits=limits)

    @live.channel("/answer", policy=policy)
    async def answer() -> str:
        return CHANNEL

    live.socket("/live")
    if "middleware" in way:
        stand_before(app)
    with sees():
        async with serve(app, grace=5) as server:
            yield server, live


def client_of(server: MemoryServer, way: str, path: str = "/answer?fold=1", **options: Any) -> Client:
    return server.client(way.removesuffix(" behind middleware"), path, **options)


def token(text: str) -> Draft:
    return Draft.of(text, name="delta", key="text", fold="concat")


@pytest.mark.parametrize("way", WAYS)
async def test_who_comes_back_to_5_000_tokens_is_sent_one_event(autojump_clock: MockClock, way: str) -> None:
    limits = Limits(poll_seconds=1, wait_seconds=5)
    async with served(way, limits) as (server, live):
        await live.publish_many(CHANNEL, [token("a"), token("b")])
        for _ in range(50):
            await live.publish_many(CHANNEL, [token("x")] * 100)
        async with client_of(server, way, after="e.2") as client:
            await client.expect("open")
            event = await client.expect("event")
            assert (event["id"], event["data"], event["folded"]) == ("e.5002", "x" * 5_000, 5_000)
            assert (event["event"], event["key"], event["fold"]) == ("delta", "text", "concat")
            assert (await client.expect("live"))["cursor"] == "e.5002"
            await live.publish(CHANNEL, "y", name="delta", key="text", fold="concat")
            event = await client.expect("event")
            assert (event["id"], event["data"], event.get("folded", 1)) == ("e.5003", "y", 1)
        assert live.statistics().counts.folded == 4_999


@pytest.mark.parametrize("way", WAYS)
async def test_who_has_not_asked_is_sent_each_event(autojump_clock: MockClock, way: str) -> None:
    async with served(way) as (server, live):
        await live.publish_many(CHANNEL, [token("x")] * 20)
        async with client_of(server, way, "/answer", after="e.0") as client:
            await client.expect("open")
            told = [await client.expect("event") for _ in range(20)]
            assert [event["data"] for event in told] == ["x"] * 20
            assert all("folded" not in event for event in told)


@pytest.mark.parametrize("way", [way for way in WAYS if "poll" not in way])
async def test_by_policy_who_has_not_asked_is_told_what_is_not_sent_for_itself(
    autojump_clock: MockClock, way: str
) -> None:
    async with served(way, policy=policies.fold(events=3)) as (server, live):
        await live.publish_many(CHANNEL, [token("x")] * 3)
        async with client_of(server, way, "/answer", after="e.0") as client:
            await client.expect("open")
            assert [(await client.expect("event"))["data"] for _ in range(3)] == ["x"] * 3
        await live.publish_many(CHANNEL, [Draft.of(1), token("a"), token("b"), token("c")])
        async with client_of(server, way, "/answer", after="e.0") as client:
            await client.expect("open")
            gap = await client.expect("gap")
            assert (gap["from"], gap["to"], gap["missed"], gap["reason"]) == ("e.0", "e.7", 4, "conflated")
            told = [await client.expect("event") for _ in range(3)]
            assert [event["data"] for event in told] == ["xxx", 1, "abc"]
            assert [event["id"] for event in told] == ["e.3", "e.4", "e.7"]
        async with client_of(server, way, "/answer?fold=1", after="e.0") as client:
            await client.expect("open")  # who has asked is told by each event, and without a gap
            assert [(await client.expect("event"))["data"] for _ in range(3)] == ["xxx", 1, "abc"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_page_is_bounded_by_what_is_made_of_it(autojump_clock: MockClock, way: str) -> None:
    limits = Limits(page_bytes=1_000, poll_seconds=1, wait_seconds=5)
    async with served(way, limits) as (server, live):
        for _ in range(10):
            await live.publish_many(CHANNEL, [token("x" * 98)] * 10)
        async with client_of(server, way, after="e.0") as client:
            await client.expect("open")
            text, sizes = "", []
            while len(text) < 9_800:
                event = await client.expect("event")
                text += event["data"]
                sizes.append(len(event["data"]))
            assert max(sizes) <= 2_000
            assert len(sizes) <= 10


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("publish"),
            st.lists(
                st.tuples(
                    st.sampled_from(["k", "k", "other"]),
                    st.sampled_from([*FOLDS, "concat", "concat", None]),
                    st.one_of(st.text("ab", max_size=2), st.integers(0, 3), st.dictionaries(st.just("x"), st.none())),
                ),
                min_size=1,
                max_size=6,
            ),
        ),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("cut"), st.none()),
    ),
    max_size=12,
)


def state_after(events: list[dict[str, Any]]) -> dict[Any, Any]:
    """What a page has made of its events."""
    made: dict[Any, Any] = {}
    for event in events:
        fold = event.get("fold")
        place = event.get("key"), fold
        if fold is None:
            made.setdefault(None, []).append(event["data"])
        else:
            made[place] = apply(fold, made.get(place), event["data"])
    return made


def may_see(event: Event) -> bool:
    return bool(event.data != 3)


@pytest.mark.parametrize("way", ["websocket", "follow", "sse", "long poll", "short poll"])
@pytest.mark.parametrize("filtered", [False, True])
@given(steps=STEPS)
@example(steps=[("publish", [("k", "concat", "")]), *[("cut", None)] * 3])  # a client that read the connection before
@settings(max_examples=15, deadline=None)
def test_whatever_is_folded_a_page_ends_with_the_same_state(
    way: str, filtered: bool, steps: list[tuple[str, Any]]
) -> None:
    trio.run(_play, way, filtered, steps, clock=MockClock(autojump_threshold=0))


async def _play(way: str, filtered: bool, steps: list[tuple[str, Any]]) -> None:
    published: list[Event] = []
    policy = Sees(may_see) if filtered else None
    async with served(policy=policy) as (server, live), client_of(server, way, after="e.0") as client:
        for step, what in steps:
            if step == "publish":
                drafts = [Draft.of(data, key=key, fold=fold) for key, fold, data in what]
                published += await live.publish_many(CHANNEL, drafts)
            elif step == "take":
                await trio.sleep(2)
                for _ in range(what):
                    with suppress(AssertionError):  # nothing has come
                        await client.next(within=0)
            else:
                await client.reconnect()
        published += await live.publish_many(CHANNEL, [Draft.of("last")])
        while not client.events or client.events[-1]["data"] != "last":
            await client.until("event")
        taken = client.events
    seen = [event for event in published if not filtered or may_see(event)]
    expected = [{"key": event.key, "fold": event.fold, "data": event.data} for event in seen]
    assert state_after(taken) == state_after(expected)
    assert sum(event.get("folded", 1) for event in taken) == len(seen)
