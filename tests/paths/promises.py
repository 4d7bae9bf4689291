"""The promises as dialogues: each is held by every transport that it is meant for, over every path of the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, cast

import pytest
import trio
from wsproto import events as ws

from tests.paths.ground import Ground, freeze
from triolet.testing.client_websocket import WebSocketClient
from triolet.testing.clients import Client
from triolet.testing.http import RefusedError

__all__ = ["DIALOGUES"]

Dialogue = Callable[[Ground], Awaitable[None]]

SMALL: Final = 4_000
"""Bytes of a kernel that is soon full."""


async def hear(client: Client, *data: Any) -> None:
    """Take messages until the last of these came; they are all the events there were."""
    while [event["data"] for event in client.events][-1:] != [data[-1]]:
        assert (await client.next(within=10)) is not None, client.dialogue()
    assert [event["data"] for event in client.events] == list(data), client.dialogue()


async def hear_big(client: Client, count: int, rounds: int = 1) -> None:
    """The same for numbered events, which were published so many times."""
    while len(client.events) < count * rounds:
        assert (await client.next(within=20)) is not None, client.dialogue()[-2_000:]
    assert [event["data"][0] for event in client.events] == list(range(count)) * rounds


async def order(ground: Ground) -> None:
    first, *_ = await ground.publish(0, 1, 2)
    async with ground.client(after=first) as client:
        await ground.publish(3)
        await hear(client, 1, 2, 3)
        client.cut()
        await ground.publish(4, 5)
        await client.reconnect()
        await ground.publish(6)
        await hear(client, 1, 2, 3, 4, 5, 6)
        offsets = [int(event["id"].rpartition(".")[2]) for event in client.events]
        assert offsets == list(range(2, 8)), client.dialogue()


async def gaps(ground: Ground) -> None:
    keep = ground.limits.keep_events
    first, *_ = await ground.publish(*range(keep))
    *_, last = await ground.publish(*range(keep, keep + 50))
    epoch, _, end = last.rpartition(".")
    for after, why, missed in (
        (first, "expired", 49),
        ("zzzzzzzz.5", "epoch", None),
        (f"{epoch}.{end}9", "future", None),
    ):
        async with ground.client(after=after) as client:
            await client.expect("gap", reason=why, **({} if missed is None else {"missed": missed}))
            if why == "expired":
                await hear(client, *range(50, keep + 50))


async def beats(ground: Ground) -> None:
    if ground.cell.transport == "long poll":
        await _long_poll_ends(ground)
        return
    async with ground.client() as client:
        await client.until("beat", within=ground.limits.beat_seconds + ground.slack)
        for _ in range(3):
            beat = await client.until("beat", within=ground.limits.beat_seconds + ground.slack)
            assert list(beat["cursors"]) == [f"cells/{ground.channel}"]


async def _long_poll_ends(ground: Ground) -> None:
    (cursor,) = await ground.publish(1)
    began = trio.current_time()
    answer = await ground.ask(f"{ground.url}?after={cursor}&wait=60")
    took = trio.current_time() - began
    assert (answer.status, answer.json["events"]) == (200, [])
    assert ground.limits.wait_seconds - 0.1 < took < ground.limits.wait_seconds + ground.slack


async def silence(ground: Ground) -> None:
    async with ground.client(member="quiet") as quiet, ground.client(member="frozen") as frozen:
        await quiet.until("live")
        await frozen.until("live")
        assert await ground.look() == {"members": ["frozen", "quiet"], "followers": 2, "watchers": 2}
        freeze(frozen)

        async def gone() -> bool:
            return await ground.look() == {"members": ["quiet"], "followers": 1, "watchers": 1}

        patience = ground.limits.silence_seconds + ground.limits.beat_seconds
        await ground.wait_for("a client that has frozen is gone", gone, patience)
        await trio.sleep(ground.limits.beat_seconds)  # it would have been gone by now: neither has said a word
        await ground.publish("still there")
        await quiet.until("event", within=5)


async def stall(ground: Ground) -> None:
    async with ground.client(after=0) as well, ground.client(kernel_bytes=SMALL) as slow:
        await slow.until("live")
        freeze(slow)

        async def gone() -> bool:
            followers: int = (await ground.look())["followers"]
            return followers == 1

        # In pieces, each of which the others have heard before the next: only the client that takes nothing falls back.
        # They are small: behind them comes a ping, which a client on a busy machine has to have read in time.
        piece = ground.too_many // 30
        for pieces in range(1, 30 * ground.rounds + 1):
            await ground.publish_big(piece, ground.big_bytes)
            await hear_big(well, piece, pieces)
            if await gone():
                break
        await ground.wait_for("one who takes nothing is followed no longer", gone, 2 * ground.limits.stall_seconds)
        await ground.publish("the others go on")
        await well.until("event")


async def budget(ground: Ground) -> None:
    limits = ground.limits
    before = await ground.held()
    shared = 0 if ground.alone else limits.replay_bytes  # and the windows of other cells, which are fewer
    if ground.cell.transport in ("long poll", "short poll"):
        await _budget_of_polls(ground, before)
        return
    async with ground.client(kernel_bytes=SMALL) as slow:
        await slow.until("live")
        freeze(slow)
        await ground.publish_big(ground.too_many, ground.big_bytes)
        held = await ground.held() - before
        # Behind middleware a page counts twice: in our outlet, and on its way through the server below.
        pages = 3 if "middleware" in ground.cell.path else 2
        most = limits.window_bytes + pages * limits.page_bytes + (128 << 10) + shared
        assert held <= most, f"{held} bytes are held for one client"
        assert held > 0 or not ground.alone, "what is held is not counted"
    await _given_back(ground, before + limits.window_bytes + ground.big_bytes + shared)


async def _budget_of_polls(ground: Ground, before: int) -> None:
    """Answers that nobody reads: each is a page, and is held until its client reads on or is given up."""
    limits, count = ground.limits, 20
    await ground.publish_big(10, ground.big_bytes)
    ends = [ground.reach.connect(kernel_bytes=SMALL) for _ in range(count)]
    wait = "&wait=60" if ground.cell.transport == "long poll" else ""
    asked = f"GET {ground.url}?after=0{wait} HTTP/1.1\r\nHost: test\r\n\r\n".encode()
    for end in ends:
        await end.send_all(asked)
    await trio.sleep(0.5)
    held = await ground.held() - before - limits.window_bytes
    # Of each answer: the page, what is copied of it on its way, and what was written and not taken.
    least, most = count * (limits.page_bytes // 2), count * (3 * limits.page_bytes)
    if not ground.alone:
        least = -most  # a kernel or a proxy has taken some, and other cells' windows may be let go meanwhile
    for end in ends:
        end.reset()
    assert least <= held <= most, f"{held} bytes are counted of {count} answers of {limits.page_bytes} bytes"
    await _given_back(
        ground, before + limits.window_bytes + ground.big_bytes + (0 if ground.alone else limits.replay_bytes)
    )


async def _given_back(ground: Ground, most: int) -> None:
    async def back() -> bool:
        return await ground.held() <= most

    await ground.wait_for("what was held is given back", back, ground.limits.write_seconds + 2)


async def leaving(ground: Ground) -> None:
    async with ground.client(member="stays"):
        for n in range(3):
            async with ground.client(member=f"goes-{n}") as client:
                await client.until("live")
        await ground.publish(1)

        async def gone() -> bool:
            followers: int = (await ground.look())["followers"]
            return followers <= 1

        await ground.wait_for("nothing is left of who went", gone, 6)


async def plain(ground: Ground) -> None:
    keep = ground.limits.keep_events
    first, *_ = await ground.publish(*range(keep))
    await ground.publish(keep)
    async with ground.client("plain sse", after=first) as client:
        await client.until("live")
        await client.until("beat", within=ground.limits.beat_seconds + ground.slack)
        client.cut()
        await ground.publish(keep + 1, keep + 2)
        await client.reconnect()
        await ground.publish(keep + 3)
        await hear(client, *range(1, keep + 4))
    async with ground.client("plain sse", after="zzzzzzzz.5") as client:
        await client.expect("gap", reason="epoch")
    wrong = await ground.ask(f"{ground.url}?format=csv")
    assert (wrong.status, wrong.json["error"]) == (400, "format")


async def states(ground: Ground) -> None:
    keep = ground.limits.keep_events
    first, _ = await ground.publish(0, 1)
    async with ground.client(wants="snapshot=1") as client:
        assert (await client.until("snapshot"))["data"] == [0, 1], client.dialogue()
        await ground.publish(2)
        await hear(client, 2)
        client.cut()
        await ground.publish(3)
        await client.reconnect()
        await hear(client, 2, 3)
        assert [message["type"] for message in client.heard].count("snapshot") == 1, client.dialogue()
    await ground.publish(*range(4, keep + 50))
    async with ground.client(wants="snapshot=1", after=first) as client:
        assert (await client.until("snapshot"))["data"] == list(range(50, keep + 50)), client.dialogue()
        await ground.publish("behind it")
        await hear(client, "behind it")
        assert "gap" not in [message["type"] for message in client.heard], client.dialogue()


async def folds(ground: Ground) -> None:
    first, *_ = await ground.publish(*"abcd", as_texts=True)
    async with ground.client(wants="fold=1", after=first) as client:
        await _hear_text(client, "bcd")
        assert [event.get("folded") for event in client.events] == [3], client.dialogue()
        await ground.publish(*"ef", as_texts=True)
        await _hear_text(client, "bcdef")
        client.cut()
        await ground.publish(*"ghi", as_texts=True)
        await client.reconnect()
        await _hear_text(client, "bcdefghi")
        assert client.events[-1].get("folded") == 3, client.dialogue()
        assert sum(event.get("folded", 1) for event in client.events) == 8, client.dialogue()


async def _hear_text(client: Client, text: str) -> None:
    while len(heard := "".join(event["data"] for event in client.events)) < len(text):
        assert (await client.next(within=10)) is not None, client.dialogue()
    assert heard == text, client.dialogue()


async def refusal(ground: Ground) -> None:
    assert (await ground.ask("/cells/forbidden/events")).status == 403
    foreign = await ground.ask(origin="http://evil.example", cookie="a=b")
    assert (foreign.status, foreign.json["error"]) == (403, "origin")
    wrong = await ground.ask(f"{ground.url}?after=a.b.c")
    assert (wrong.status, wrong.json["error"]) == (400, "cursor")


async def isolation(ground: Ground) -> None:
    async with ground.client() as well:
        await well.until("live")
        for bug in ("crash", "cancelled", "crash"):
            assert (await ground.ask(f"/cells/{bug}/events")).status == 500
            if ground.cell.transport == "websocket":
                async with _socket(ground, f"/{bug}") as client:
                    await client.say(type="message", data=1)
                    assert (await client.ended())[0] == 1011
        await ground.publish("the others go on")
        await hear(well, "the others go on")


async def goodbye(ground: Ground) -> None:
    times = []
    (cursor,) = await ground.publish(1)
    if ground.cell.transport == "long poll":
        times = await _long_polls_are_answered(ground, cursor)
    else:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(ground.client(after=cursor)) for _ in range(3)]
            for client in clients:
                await client.until("live")
            await ground.stop()
            for client in clients:
                times.append((await client.until("bye", within=5))["retry"])
                while await client.next(within=5) is not None:
                    pass
                if isinstance(client, WebSocketClient):
                    assert client.code == 1012
    assert all(0 <= time <= 5_000 for time in times), times
    assert len(set(times)) > 1, times


async def many(ground: Ground) -> None:
    """Two channels of this cell, of which one alone is published to by :meth:`Ground.publish`."""
    other = f"{ground.channel}-other"
    urls = ["/cells/forbidden/events", f"/cells/{other}/events", ground.url]
    async with ground.reach.client(ground.cell.transport, "/many", follow=urls) as client:
        await client.until("refused")
        while len(client.cursors) < 2:
            await client.next(within=10)
        for number in range(3):
            await ground.publish(number)
            await _publish_to(ground, other, f"other {number}")
            client.cut()
            await client.reconnect()
            while len(client.events) < 2 * (number + 1):
                assert (await client.next(within=10)) is not None, client.dialogue()
    by_channel: dict[str, list[Any]] = {f"cells/{name}": [] for name in (ground.channel, other)}
    for event in client.events:
        by_channel[event["channel"]].append(event["data"])
    assert [*by_channel.values()] == [[0, 1, 2], ["other 0", "other 1", "other 2"]], client.dialogue()


async def _publish_to(ground: Ground, channel: str, *data: Any) -> None:
    assert (await ground.reach.post(f"/cells/{channel}", json=list(data))).status == 200


async def _long_polls_are_answered(ground: Ground, cursor: str) -> list[int]:
    """When those come back that wait as the server ends: they are answered then, by its own clock, and not when
    their time is over, which is long after."""
    times, answered = [], []
    polls, seconds = 3, ground.limits.wait_seconds
    before = (await ground.ask(f"{ground.url}?after={cursor}")).json["time"]

    async def poll() -> None:
        answer = await ground.ask(f"{ground.url}?after={cursor}&wait=60")
        assert answer.status == 200, answer
        times.append(answer.json["retry"])
        answered.append(answer.json["time"])

    async def all_wait() -> bool:
        return bool((await ground.look())["watchers"] == polls)

    async with trio.open_nursery() as nursery:
        for _ in range(polls):
            nursery.start_soon(poll)
        await ground.wait_for("all polls wait", all_wait, seconds / 2)
        began = trio.current_time()
        await ground.stop()
    assert trio.current_time() - began < 1 or not ground.alone
    assert max(answered) - before < 1_000 * seconds, f"asked after {before}, answered at {answered}"
    return times


async def _send_at_once(client: WebSocketClient, events: list[ws.Event]) -> None:
    """Send frames in one piece: what the server says to the first is read when all are out."""
    await client.stream.send_all(b"".join(client._wire.send(event) for event in events))


def _socket(ground: Ground, path: str) -> WebSocketClient:
    return ground.reach.websocket(path)


async def message_bytes(ground: Ground) -> None:
    async with _socket(ground, "/talk") as client:
        await client.say(type="message", data="x" * (ground.limits.message_bytes // 2))
        assert (await client.until("message"))["data"]["echo"][:2] == "xx"
        await client.say(type="message", data="x" * ground.limits.message_bytes)
        assert (await client.ended())[0] == 1009, client.dialogue()


async def message_fragments(ground: Ground) -> None:
    async with _socket(ground, "/talk") as client:
        piece = ws.TextMessage(" ", message_finished=False)
        await _send_at_once(client, [piece] * (ground.limits.message_fragments + 1))
        assert (await client.ended())[0] == 1008, client.dialogue()


async def control_per_second(ground: Ground) -> None:
    async with _socket(ground, "/talk") as client:
        # Five seconds' worth may come at once. Twenty are sent: a slow machine that reads them allows fewer anew.
        await _send_at_once(client, [ws.Ping()] * int(20 * ground.limits.control_per_second))
        assert (await client.ended())[0] == 1008, client.dialogue()


async def message_depth(ground: Ground) -> None:
    async with _socket(ground, "/talk") as client:
        deep: Any = 1
        for _ in range(ground.limits.message_depth):
            deep = [deep]
        await client.say(type="message", data=deep)
        assert (await client.ended())[0] == 1008, client.dialogue()


async def follows(ground: Ground) -> None:
    others = [f"{ground.channel}-{n}" for n in range(ground.limits.follows)]
    async with _socket(ground, "/talk") as client:
        for channel in (ground.channel, *others[1:]):
            assert (await client.follow(f"/cells/{channel}/events"))["type"] == "open"
        with pytest.raises(RefusedError):
            await client.follow(f"/cells/{others[0]}/events")
        await ground.publish("still there")
        await client.until("event", data="still there")


async def header_bytes(ground: Ground) -> None:
    most = ground.limits.header_bytes
    assert (await ground.ask("/cells/forbidden/events", **_pads(most - 2_000))).status == 403
    for size in (most, 8 * most):
        try:
            status = (await ground.ask(**_pads(size))).status
        except trio.BrokenResourceError:
            continue  # it was not read to its end
        assert status in (400, 431), status


def _pads(size: int) -> dict[str, str]:
    """Headers of so many bytes; no line is longer than the 8 KiB that proxies take."""
    return {f"x-pad-{n}": "x" * min(4_000, size - n) for n in range(0, size, 4_000)}


async def body_bytes(ground: Ground) -> None:
    most = ground.limits.body_bytes
    answer = await ground.reach.post("/body", bytes(most // 2))
    assert answer.json == {"bytes": most // 2}
    answer = await ground.reach.post("/body", bytes(most + (64 << 10)))
    assert answer.status == 413


DIALOGUES: Final[dict[str, Dialogue]] = {
    dialogue.__name__: cast("Dialogue", dialogue)
    for dialogue in (
        order,
        gaps,
        beats,
        silence,
        stall,
        budget,
        leaving,
        plain,
        states,
        folds,
        refusal,
        isolation,
        goodbye,
        many,
        message_bytes,
        message_fragments,
        message_depth,
        control_per_second,
        follows,
        header_bytes,
        body_bytes,
    )
}
