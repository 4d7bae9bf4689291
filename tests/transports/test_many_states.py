"""Ends, states and folds of single channels, where many are followed by one request."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import Limits, Reducer
from triolet.testing.server import serve
from triolet.wire.places import place_key

from .many import WAYS, A, B, asked, shop


@pytest.mark.parametrize("transport", WAYS)
async def test_a_channel_that_ends_leaves_the_others(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.client(transport, "/live", follow=[A, B]) as client:
        for _ in range(2):
            await client.until("live")
        await live.publish("orders/A", 1)
        await live.end("orders/A", {"outcome": "done"})
        end = await client.until("end")
        assert (end["channel"], end["cursor"], end["data"]) == ("orders/A", "e.2", {"outcome": "done"})
        await live.publish("orders/B", 2)
        while (await client.until("event"))["data"] != 2:
            pass
        client.cut()
        await live.publish("orders/B", 3)
        await client.reconnect()
        assert (await client.until("end"))["channel"] == "orders/A", "who stands at an end is told of it again"
        while client.events[-1]["data"] != 3:
            await client.next(within=10)
        assert [event["data"] for event in client.events] == [1, 2, 3]
        await live.end("orders/B", None)
        while (await client.until("end"))["channel"] != "orders/B":
            pass
        while await client.next(within=60) is not None:
            pass
        assert server.followers == 0


async def test_a_stream_of_channels_that_have_all_ended_says_goodbye(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse("/live", follow=[A, B]) as client:
        for order in "AB":
            await live.end(f"orders/{order}", None)
        bye = await client.until("bye")
        assert (bye["code"], bye["reason"], bye["retry"]) == (1000, "ended", None)


async def test_a_long_poll_waits_for_the_others_where_some_have_ended(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server:
        await live.end("orders/A", "over")
        first = (await server.get(asked(A, B, wait="20"))).json
        assert trio.current_time() == 0
        assert [(end["channel"], end["data"]) for end in first["ends"]] == [("orders/A", "over")]
        again = (await server.get(asked(A, B, wait="20", after=first["cursor"]))).json
        assert trio.current_time() == 20
        assert (len(again["ends"]), again["retry"]) == (1, 0)
        await live.end("orders/B", None)
        last = (await server.get(asked(A, B, wait="20", after=first["cursor"]))).json
        assert trio.current_time() == 20
        assert (len(last["ends"]), last["retry"]) == (2, None)


@pytest.mark.parametrize("transport", WAYS)
async def test_a_state_comes_where_it_is_asked_for(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    total = Reducer(lambda state, event: state + event.data, initial=0, name="sums", channels="sums/*")
    live.channel("/sums/<name>", endpoint="sums", snapshot=total)(_sum)
    async with serve(app) as server:
        await live.publish_many("sums/x", [1, 2, 3])
        await live.publish("orders/A", "a")
        urls = ["/sums/x?snapshot=1", f"{A}?after=0"]
        async with server.client(transport, "/live", follow=urls) as client:
            state = await client.pick(lambda message: message["type"] == "snapshot", "the state")
            assert (state["channel"], state["cursor"], state["data"]) == ("sums/x", "e.3", 6)
            while len(client.cursors) < 2 or not client.events:
                await client.next(within=10)
            client.cut()
            await live.publish("sums/x", 4)
            await client.reconnect()
            while client.events[-1]["data"] != 4:
                await client.next(within=10)
            assert sum(message["type"] == "snapshot" for message in client.heard) == 1, "it has a place"
            assert [event["data"] for event in client.events] == ["a", 4]


async def _sum(name: str) -> str:
    return f"sums/{name}"


async def test_who_is_cut_off_before_a_state_has_no_place_in_its_channel(autojump_clock: MockClock) -> None:
    app, live = shop()
    total = Reducer(lambda state, event: state + event.data, initial=0, name="sums", channels="sums/*")
    live.channel("/sums/<name>", endpoint="sums", snapshot=total)(_sum)
    url = asked(f"{A}?after=0", "/sums/x%3Fsnapshot=1")
    async with serve(app) as server:
        await live.publish_many("sums/x", [1, 2, 3])
        last = ""
        async with server.events(url) as stream:
            while True:
                block = await stream.block()
                assert block is not None
                said = json.loads(block["data"])
                if said["type"] == "open" and said["channel"] == "sums/x":
                    assert (said["cursor"], block.get("id")) == (None, None)
                    break
                last = block.get("id", last)
                assert place_key("sums/x") not in block.get("id", "")
        async with server.events(url, headers={"last-event-id": last}) as stream:
            states: list[Any] = []
            while not states:
                block = await stream.block()
                assert block is not None
                said = json.loads(block["data"])
                states += [said["data"]] if said["type"] == "snapshot" else []
            assert states == [6]
            assert place_key("sums/x") in block["id"]


async def test_a_state_for_which_a_poll_had_no_room_comes_with_the_next(autojump_clock: MockClock) -> None:
    app, live = shop(Limits(page_events=2, page_bytes=1_000))

    async def state_of(channel: str) -> tuple[str, str]:
        return "x" * 600, "e.1"

    live.channel("/sums/<name>", endpoint="sums", snapshot=state_of)(_sum)
    async with serve(app) as server:
        await live.publish_many("orders/A", [1, 2, 3])
        names = ("x", "y", "z")
        for name in names:
            await live.publish_many(f"sums/{name}", [1, 2])
        follow = [f"{A}?after=0", *(f"/sums/{name}?snapshot=1" for name in names)]
        answers: list[Any] = []
        cursor: dict[str, str] = {}
        while not answers or not answers[-1]["live"]:
            answers.append((await server.get(asked(*follow, **cursor))).json)
            cursor = {"after": answers[-1]["cursor"]}
    states = [[state["channel"] for state in answer.get("snapshots", [])] for answer in answers]
    assert sorted(name for some in states for name in some) == ["sums/x", "sums/y", "sums/z"], "each once"
    assert max(map(len, states)) == 2, "an answer is bounded by page_bytes, and by what is larger alone"
    events = [(event["channel"], event["data"]) for answer in answers for event in answer["events"]]
    assert sorted(events) == [*(("orders/A", n) for n in (1, 2, 3)), *((f"sums/{name}", 2) for name in names)]
    followed = [one["channel"] for one in answers[0]["follows"]]
    assert (followed, place_key("sums/x") in answers[0]["cursor"]) == (["orders/A"], False), "it has no place yet"


@pytest.mark.parametrize("transport", WAYS)
async def test_what_was_missed_is_folded_where_it_is_asked_for(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server:
        for word in ("one ", "two ", "three"):
            await live.publish("orders/A", word, key="text", fold="concat")
            await live.publish("orders/B", word, key="text", fold="concat")
        urls = [f"{A}?after=e.0&fold=1", f"{B}?after=e.0"]
        async with server.client(transport, "/live", follow=urls) as client:
            while len(client.events) < 4:
                await client.next(within=10)
            told = [(event["channel"][-1], event["data"], event.get("folded")) for event in client.events]
            assert sorted(told, key=lambda one: one[0]) == [
                ("A", "one two three", 3),
                ("B", "one ", None),
                ("B", "two ", None),
                ("B", "three", None),
            ]
            assert client.cursors == {"orders/A": "e.3", "orders/B": "e.3"}


@pytest.mark.parametrize("transport", WAYS)
async def test_a_state_in_place_of_a_gap_is_of_its_channel_alone(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop(Limits(keep_events=3))
    live.channel("/sums/<name>", endpoint="sums", snapshot=_newest)(_sum)
    async with serve(app) as server:
        for channel in ("sums/x", "orders/A"):
            await live.publish_many(channel, range(9))
        urls = ["/sums/x?snapshot=1&after=e.1", f"{A}?after=e.1"]
        async with server.client(transport, "/live", follow=urls) as client:
            while not client.events or client.events[-1]["data"] != 8:
                await client.next(within=10)
            kinds = [(m["type"], m["channel"]) for m in client.heard if m["type"] in ("gap", "snapshot")]
            assert sorted(kinds) == [("gap", "orders/A"), ("snapshot", "sums/x")]


async def _newest(name: str) -> tuple[Any, str]:
    return "the newest", "e.9"
