"""Many channels over one stream or one poll: what is heard, from where, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from quart import abort
from trio.testing import MockClock

from triolet import Cursor, Limits, policies
from triolet.testing.http import EventStream
from triolet.testing.server import MemoryServer, serve
from triolet.wire.places import parse_places, place_key

from .many import SECRET, WAYS, A, B, C, asked, shop

# --- what is heard


@pytest.mark.parametrize("transport", WAYS)
async def test_events_of_all_channels_come_on_one_connection(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.client(transport, "/live", follow=[A, B, C]) as client:
        for _ in range(3):
            await client.until("live")
        for number, order in enumerate("ABBCA"):
            await live.publish(f"orders/{order}", number)
            event = await client.until("event")
            assert (event["channel"], event["data"]) == (f"orders/{order}", number)
        assert client.cursors == {"orders/A": "e.2", "orders/B": "e.2", "orders/C": "e.1"}


async def test_each_block_is_a_message_and_an_event_has_no_name_but_in_it(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.events(asked(A, B)) as stream:
        blocks = [await stream.block() for _ in range(4)]
        event = await live.publish("orders/A", {"n": 1}, name="paid", key="k")
        while "event" in (block := await stream.block() or {}):
            blocks.append(block)
    told = [(block["event"], json.loads(block["data"])) for block in blocks if block]
    assert [(kind, said["type"], said.get("url")) for kind, said in told if kind != "triolet.beat"] == [
        ("triolet.open", "open", A),
        ("triolet.live", "live", None),
        ("triolet.open", "open", B),
        ("triolet.live", "live", None),
    ]
    assert json.loads(block["data"]) == {
        "type": "event",
        "channel": "orders/A",
        "id": str(event.cursor),
        "event": "paid",
        "data": {"n": 1},
        "time": int(event.published_at * 1000),
        "key": "k",
    }
    assert set(block) == {"id", "data"}


async def test_an_answer_has_all_channels_with_one_cursor(autojump_clock: MockClock) -> None:
    app, live = shop(Limits(keep_events=2))
    async with serve(app) as server:
        await live.publish_many("orders/A", [1, 2, 3])
        await live.publish("orders/B", "b")
        answer = await server.get(asked(f"{A}?after=e.0", f"{B}?after=0", SECRET))
        body = answer.json
        assert body["follows"] == [
            {"url": f"{A}?after=e.0", "channel": "orders/A", "cursor": "e.3"},
            {"url": f"{B}?after=0", "channel": "orders/B", "cursor": "e.1"},
        ]
        assert [(event["channel"], event["data"]) for event in body["events"]] == [
            ("orders/A", 2),
            ("orders/A", 3),
            ("orders/B", "b"),
        ]
        assert body["gaps"] == [
            {"type": "gap", "channel": "orders/A", "from": "e.0", "to": "e.1", "missed": 1, "reason": "expired"}
        ]
        assert body["refused"] == [{"type": "refused", "url": SECRET}]
        assert (body["live"], body["retry"]) == (True, 2_000)
        again = (await server.get(asked(f"{A}?after=e.0", f"{B}?after=0", SECRET, after=body["cursor"]))).json
        assert (again["events"], again["gaps"], again["cursor"]) == ([], [], body["cursor"])


async def test_a_short_poll_that_has_it_all_is_answered_304(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server:
        url = asked(A, B, after=(await server.get(asked(A, B))).json["cursor"])
        etag = (await server.get(url)).headers["etag"]
        assert (await server.get(url, if_none_match=etag)).status == 304
        await live.publish("orders/B", 1)
        assert (await server.get(url, if_none_match=etag)).status == 200
        fewer = url.replace(f"&follow={B}", "")
        assert (await server.get(fewer, if_none_match=etag)).status == 200
        assert (await server.get(url)).headers["cache-control"] == "private, no-cache"


async def test_a_long_poll_waits_for_any_of_them(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, trio.open_nursery() as nursery:
        for order in "ABC":

            async def publish(order: str) -> None:
                await trio.sleep(3)
                await live.publish(f"orders/{order}", order)

            nursery.start_soon(publish, order)
            began = trio.current_time()
            body = (await server.get(asked(A, B, C, wait="20"))).json
            assert [event["data"] for event in body["events"]] == [order]
            assert trio.current_time() - began == 3
        began = trio.current_time()
        assert (await server.get(asked(A, B, C, wait="7"))).json["events"] == []
        assert trio.current_time() - began == 7
        assert live.statistics().hub.followers == 0


async def test_a_page_is_shared_by_all_and_none_of_them_starves(autojump_clock: MockClock) -> None:
    app, live = shop(Limits(page_events=4))
    async with serve(app) as server:
        for order in "ABC":
            await live.publish_many(f"orders/{order}", range(10))
        urls = [f"{url}?after=0" for url in (A, B, C)]
        cursor, heard, turns = "", [], []
        for _ in range(10):
            body = (await server.get(asked(*urls, **({"after": cursor} if cursor else {})))).json
            assert len(body["events"]) <= 4
            cursor = body["cursor"]
            heard += [event["channel"][-1] for event in body["events"]]
            turns.append("".join(dict.fromkeys(event["channel"][-1] for event in body["events"])))
            if body["live"]:
                break
            assert body["retry"] == 0
        assert sorted(heard) == sorted("ABC" * 10)
        assert turns[:3] == ["A", "B", "C"]


async def test_a_page_is_bounded_in_bytes_by_what_all_have(autojump_clock: MockClock) -> None:
    app, live = shop(Limits(page_bytes=10_000))
    async with serve(app) as server:
        for order in "ABC":
            await live.publish_many(f"orders/{order}", ["x" * 4_000] * 2)
        body = (await server.get(asked(*[f"{url}?after=0" for url in (A, B, C)]))).json
        assert [event["channel"][-1] for event in body["events"]] == ["A", "A", "B"]
        assert body["live"] is False


@pytest.mark.parametrize("transport", WAYS)
async def test_what_a_client_may_not_see_of_one_channel_does_not_come(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = shop()

    @live.channel("/even/<name>", allow=lambda event, who: event.data % 2 == 0)
    async def even(name: str) -> str:
        return f"even/{name}"

    async with serve(app) as server, server.client(transport, "/live", follow=["/even/x", A]) as client:
        opened = {(await client.until("open"))["channel"] for _ in range(2)}
        assert opened == {"even/x", "orders/A"}
        await client.until("live")
        assert [m["channel"] for m in client.heard if m["type"] == "open" and m.get("filtered")] == ["even/x"]
        for number in range(5):
            await live.publish("even/x", number)
        await live.publish("orders/A", "last")
        while (await client.until("event"))["data"] != "last":
            pass
        assert [event["data"] for event in client.events] == [0, 2, 4, "last"]
        await live.publish("even/x", 5)
        await trio.sleep(50)
        client.cut()
        await client.reconnect()
        await live.publish("even/x", 6)
        assert (await client.until("event"))["data"] == 6
        assert client.cursors["even/x"] == "e.7"


async def test_a_policy_holds_for_its_own_channel(autojump_clock: MockClock) -> None:
    app, live = shop(Limits(stall_seconds=60))

    @live.channel("/stock/<name>", policy=policies.latest(events=2))
    async def stock(name: str) -> str:
        return f"stock/{name}"

    async with serve(app) as server, server.events(asked("/stock/x", A), kernel_bytes=3_000) as stream:
        for _ in range(4):
            await stream.block()
        for number in range(20):
            await live.publish("stock/x", [number, "x" * 500], key="x")
            await live.publish("orders/A", number)
            await trio.sleep(0.1)
        heard: dict[str, list[int]] = {"stock/x": [], "orders/A": []}
        gaps = []
        while heard["orders/A"][-1:] != [19] or heard["stock/x"][-1:] != [19]:
            block = await stream.block()
            assert block is not None
            said = json.loads(block["data"])
            if said["type"] == "event":
                data = said["data"]
                heard[said["channel"]].append(data if isinstance(data, int) else data[0])
            elif said["type"] == "gap":
                gaps.append(said)
        assert heard["orders/A"] == list(range(20))
        assert {gap["channel"] for gap in gaps} == {"stock/x"}
        assert sum(gap["missed"] for gap in gaps) + len(heard["stock/x"]) == 20


# --- coming back


async def drop_after(server: MemoryServer, url: str, count: int, last: str | None) -> tuple[list[Any], str | None]:
    """Take so many blocks as a browser's EventSource does. Return their messages, and the last id."""
    headers = {} if last is None else {"last-event-id": last}
    said = []
    async with server.events(url, headers=headers) as stream:
        for _ in range(count):
            block = await next_block(stream)
            last = block.get("id", last)
            said.append(json.loads(block["data"]))
    return said, last


async def next_block(stream: EventStream) -> dict[str, str]:
    block = await stream.block()
    assert block is not None
    return block


@pytest.mark.parametrize("count", range(1, 14))
async def test_a_browser_that_is_cut_off_behind_any_block_goes_on_in_each_channel(
    count: int, autojump_clock: MockClock
) -> None:
    app, live = shop()
    url = asked(f"{A}?after=0", f"{B}?after=0", C)
    async with serve(app) as server:
        for number in range(4):
            for order in "AB":
                await live.publish(f"orders/{order}", number)
        said, last = await drop_after(server, url, count, None)
        await live.publish_many("orders/C", ["c", "d"])
        more: list[Any] = []
        for few in range(3, 13):
            some, last = await drop_after(server, url, few, last)
            more += some
        heard = [(one["channel"], one["data"]) for one in said + more if one["type"] == "event"]
        for order, expected in (("A", [0, 1, 2, 3]), ("B", [0, 1, 2, 3]), ("C", ["c", "d"])):
            assert [data for channel, data in heard if channel == f"orders/{order}"] == expected
        assert not [one for one in said + more if one["type"] == "gap"]


async def test_one_cursor_of_them_that_has_expired_is_a_gap_in_its_channel_alone(autojump_clock: MockClock) -> None:
    app, live = shop(Limits(keep_events=3, window_events=2))
    async with serve(app) as server, server.sse("/live", follow=[A, B]) as client:
        for _ in range(2):
            await client.until("live")
        client.cut()
        await live.publish_many("orders/A", range(10))
        await live.publish("orders/B", "b")
        await client.reconnect()
        gap = await client.until("gap")
        assert (gap["channel"], gap["from"], gap["to"], gap["missed"]) == ("orders/A", "e.0", "e.7", 7)
        for _ in range(2):
            await client.until("live")
        assert [(one["channel"], one["data"]) for one in client.events] == [
            ("orders/A", 7),
            ("orders/A", 8),
            ("orders/A", 9),
            ("orders/B", "b"),
        ]
        assert [one["channel"] for one in client.heard if one["type"] == "gap"] == ["orders/A"]


async def test_the_place_in_what_is_refused_for_a_while_is_kept(autojump_clock: MockClock) -> None:
    app, live = shop()
    is_open = True

    @live.channel("/club")
    async def club() -> str:
        return "club" if is_open else abort(403)

    async with serve(app) as server, server.sse("/live", follow=["/club", A]) as client:
        for _ in range(2):
            await client.until("live")
        client.cut()
        is_open = False
        await live.publish("club", "missed")
        await client.reconnect()
        await client.expect("refused", url="/club")
        await live.publish("orders/A", "a")
        await client.until("event")
        client.cut()
        is_open = True
        await client.reconnect()
        assert (await client.until("event"))["data"] == "missed"


async def test_a_gap_is_told_once_to_who_is_cut_off_right_behind_it(autojump_clock: MockClock) -> None:
    app, live = shop(Limits(keep_events=3, window_events=2))
    url = asked(f"{A}?after=e.0", B)
    async with serve(app) as server:
        await live.publish_many("orders/A", range(10))
        said, last = await drop_after(server, url, 2, None)
        assert [one["type"] for one in said] == ["open", "gap"]
        said, last = await drop_after(server, url, 4, last)
        assert [one.get("data", one["type"]) for one in said] == ["open", 7, 8, 9]


async def test_behind_a_conflated_gap_one_stands_where_one_stood(autojump_clock: MockClock) -> None:
    app, live = shop()

    @live.channel("/stock", policy=policies.latest(events=2))
    async def stock() -> str:
        return "stock"

    async with serve(app) as server:
        for number in range(9):
            await live.publish("stock", number, key="xyz"[number % 3])
        said, last = await drop_after(server, asked("/stock?after=e.0", A), 3, None)
        assert [one.get("reason", one.get("data", one["type"])) for one in said] == ["open", "conflated", 6]
        said, last = await drop_after(server, asked("/stock?after=e.0", A), 2, None)
        said, last = await drop_after(server, asked("/stock?after=e.0", A), 5, last)
        assert [one.get("reason", one.get("data", one["type"])) for one in said] == ["open", "conflated", 6, 7, 8]


async def test_a_beat_moves_the_id_over_what_is_not_for_its_client(autojump_clock: MockClock) -> None:
    app, live = shop()

    @live.channel("/none", allow=lambda event, who: False)
    async def none() -> str:
        return "none"

    async with serve(app) as server, server.events(asked("/none", A)) as stream:
        await live.publish_many("none", [1, 2, 3])
        while (block := await next_block(stream))["event"] != "triolet.beat":
            pass
        while json.loads(block["data"])["cursors"]["none"] != "e.3":
            block = await next_block(stream)
        assert parse_places(block["id"], 2) == {
            place_key("none"): Cursor("e", 3),
            place_key("orders/A"): Cursor("e", 0),
        }


async def test_a_refusal_that_waits_moves_nobody(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.events(asked(A, B)) as stream:
        for _ in range(4):
            await next_block(stream)
        await live.revoke(channel="orders/B")
        block = await next_block(stream)
        assert (block["event"], block.get("id")) == ("triolet.refused", None)


@pytest.mark.parametrize("transport", WAYS)
async def test_the_place_holds_for_another_list_of_what_is_followed(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server:
        async with server.client(transport, "/live", follow=[A, B]) as client:
            for _ in range(2):
                await client.until("live")
            place = client.cursor
        for order in "ABC":
            await live.publish(f"orders/{order}", order)
        async with server.client(transport, "/live", follow=[C, B], after=place) as client:
            for _ in range(2):
                await client.until("live")
            assert [event["data"] for event in client.events] == ["B"], "of C it is from now on"
            place = client.cursor
        async with server.client(transport, "/live", follow=[A], after=place) as client:
            await client.until("live")
            assert [event["data"] for event in client.events] == ["A"], "its place was kept"


@pytest.mark.parametrize("transport", WAYS)
async def test_a_place_counts_before_what_a_url_says(transport: str, autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server:
        await live.publish_many("orders/A", [1, 2, 3, 4])
        urls = [f"{A}?after=-2", B]
        async with server.client(transport, "/live", follow=urls) as client:
            for _ in range(2):
                await client.until("live")
            assert [event["data"] for event in client.events] == [3, 4]
            place = client.cursor
        async with server.client(transport, "/live", follow=urls, after=place) as client:
            for _ in range(2):
                await client.until("live")
            assert client.events == []


@pytest.mark.parametrize("transport", ["sse", "poll"])
async def test_who_follows_others_than_before_is_given_a_cursor_that_is_taken_from_it(
    transport: str, autojump_clock: MockClock
) -> None:
    """Places are kept of no more channels than a request may name: the next would be refused else."""
    app, live = shop(Limits(follows=2))
    async with serve(app) as server:
        await live.publish("orders/C", 1)
        places = (await server.get(asked(A, B))).json["cursor"]
        if transport == "poll":
            places = (await server.get(asked(C, after=places))).json["cursor"]
        else:
            async with server.events(asked(C, after=places)) as stream:
                places = ((await stream.block()) or {})["id"]
        assert place_key("orders/C") in parse_places(places, 2)
        assert (await server.get(asked(C, after=places))).status == 200


async def test_an_id_of_another_server_is_answered_with_what_is_kept(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server:
        for order in "AB":
            await live.publish(f"orders/{order}", order)
        for last in ("17", "e.1", "x" * 9_000):
            said, _ = await drop_after(server, asked(A, B), 8, last)
            assert [(one["type"], one["channel"]) for one in said if one["type"] in ("gap", "event")] == [
                ("gap", "orders/A"),
                ("event", "orders/A"),
                ("gap", "orders/B"),
                ("event", "orders/B"),
            ]
            assert {one["reason"] for one in said if one["type"] == "gap"} == {"epoch"}


async def test_beats_move_the_id_in_all_channels(autojump_clock: MockClock) -> None:
    app, live = shop()
    async with serve(app) as server, server.sse("/live", follow=[A, B]) as client:
        for _ in range(2):
            await client.until("live")
        beat = await client.until("beat")
        assert beat["cursors"] == {"orders/A": "e.0", "orders/B": "e.0"}
        client.cut()
        await live.publish("orders/A", 1)
        await live.publish("orders/B", 2)
        await client.reconnect()
        for _ in range(2):
            await client.until("live")
        assert [event["data"] for event in client.events] == [1, 2]
