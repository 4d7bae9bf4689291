"""The conformance suite of transports: what a client hears whichever way it listens, checked over the whole server.

Whoever writes a transport of their own (a client, and a route for it) runs it in a test, as Triolet over its four::

    async def test_my_transport(autojump_clock: MockClock) -> None:
        await check_transport(lambda reach, path, after: MyClient(reach, path, after=after), prepare=add_my_routes)

or one check a test, for a report that names what broke::

    @pytest.mark.parametrize("check", TRANSPORT_CHECKS)
    async def test_my_transport(check: TransportCheck, autojump_clock: MockClock) -> None:
        await check(my_factory, add_my_routes)

It knows a transport from outside only, by what its client hears. The contract on the server's side is
``triolet.transports.contract.Transport``: how a connection opens, listens, beats and says goodbye; polls have none. A
transport that keeps that contract is served as Triolet's own are, and this suite says whether it keeps its promises.

It takes hours of virtual time, and none without a virtual clock. A broken promise is an AssertionError that says what
was promised; where a client did not hear what it should, with the dialogue.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import trio
from quart import abort
from quart_trio import QuartTrio
from trio.testing import MockClock

from ..app.extension import Triolet
from ..closing import RESTARTING
from ..event import Cursor, Draft, Event
from ..limits import Limits
from ..log import MemoryLog
from .clients import Client, Message
from .faults import cut, stalled
from .http import RefusedError
from .network import Line, Network
from .server import MemoryServer, serve
from .transcript import short

if TYPE_CHECKING:
    from .reach import Reach

__all__ = ["TRANSPORT_CHECKS", "Prepare", "TransportCheck", "TransportFactory", "check_transport"]

TransportFactory = Callable[["Reach", str, "str | None"], Client]
"""Makes a client, not yet opened: of a server, following the channel of a path, after a cursor (None: from now)."""

Prepare = Callable[[QuartTrio, Triolet], object]
"""Adds what a transport needs to the app of the suite. The channel of the path ``/channels/x`` is ``x``; who may not
follow it is told 403 where ``x`` is ``secret``."""

TransportCheck = Callable[[TransportFactory, "Prepare | None"], Awaitable[None]]
"""Checks one promise."""

CHANNEL: Final = "checked"
PATH: Final = f"/channels/{CHANNEL}"
EPOCH: Final = "e"
MINUTE: Final = 60.0
BIG: Final = "x" * 4_000
KERNEL_BYTES: Final = 8_000
"""What is held of what a client does not read: two of the big events."""

AWKWARD: Final[tuple[object, ...]] = (
    *(None, True, 0.1, "", [], {"a": {"b": []}}),
    *("\n\r\0 \u2028 \U0001f600", "data: x\n\nid: 9", "x" * 100_000),
)
"""Data that comes back changed from whoever frames or decodes it wrongly."""


async def check_transport(factory: TransportFactory, prepare: Prepare | None = None) -> None:
    """Check that a transport keeps every promise.

    Args:
        factory: see TransportFactory.
        prepare: see Prepare.

    Raises:
        AssertionError: a promise is broken; the message says which.
        RuntimeError: there is no virtual clock.
    """
    for check in TRANSPORT_CHECKS:
        await check(factory, prepare)


class _Subject:
    """A served app, and clients of it over the transport."""

    def __init__(self, server: MemoryServer, live: Triolet, factory: TransportFactory) -> None:
        self.server = server
        self.live = live
        self._factory = factory

    def client(self, after: str | None = None, path: str = PATH) -> Client:
        return self._factory(self.server, path, after)

    async def publish(self, *values: object) -> list[Event]:
        return await self.live.publish_many(CHANNEL, [Draft.of(value) for value in values])


@asynccontextmanager
async def _served(
    factory: TransportFactory, prepare: Prepare | None, limits: Limits | None = None, network: Network | None = None
) -> AsyncIterator[_Subject]:
    if not isinstance(trio.lowlevel.current_clock(), MockClock):
        raise RuntimeError("check_transport needs a virtual clock: give the test pytest-trio's autojump_clock")
    app = QuartTrio("checked")
    limits = limits or Limits()
    live = Triolet(app, log=MemoryLog(limits, epoch=EPOCH), limits=limits)

    @live.channel("/channels/<name>")
    async def followed(name: str) -> str:
        if name == "secret":
            abort(403)
        return name

    live.socket("/live")
    if prepare is not None:
        prepare(app, live)
    async with serve(app, network=network, grace=5) as server:
        yield _Subject(server, live, factory)


async def _hear(client: Client, last: int, promise: str) -> None:
    """Take messages up to the event of this offset."""
    with trio.move_on_after(MINUTE):
        while not (client.events and _offset(client.events[-1]["id"]) >= last):
            if await client.next() is None:
                break
        else:
            return
    raise AssertionError(f"{promise}, but event {last} did not come within a minute\n\n{client.dialogue()}")


def _offset(cursor: str) -> int:
    return int(cursor.rpartition(".")[2])


def _same(client: Client, expected: object, actual: object, promise: str) -> None:
    if actual != expected:
        raise AssertionError(f"{promise}:\n  expected {expected}\n  but got  {actual}\n\n{client.dialogue()}")


def _heard(client: Client, events: Sequence[Event], promise: str) -> None:
    """Check that these are the events that were heard, with all that they have."""
    expected = [(str(event.cursor), event.channel, event.name, event.data) for event in events]
    actual = [tuple(event.get(name) for name in ("id", "channel", "event", "data")) for event in client.events]
    if actual != expected:
        alike = next((n for n, (one, other) in enumerate(zip(expected, actual, strict=False)) if one != other), None)
        start = min(len(expected), len(actual)) if alike is None else alike
        parts = [_some(list_, start) for list_ in (expected, actual)]
        raise AssertionError(f"{promise}:\n  expected {parts[0]}\n  but got  {parts[1]}\n\n{client.dialogue()}")


def _some(told: Sequence[object], start: int) -> str:
    """Of many events those around the first that is not as it should be."""
    return f"{len(told)} events, from the {start + 1}. on {', '.join(map(short, told[start : start + 3])) or 'none'}"


# --- the beginning


async def _check_opening(factory: TransportFactory, prepare: Prepare | None) -> None:
    async with _served(factory, prepare) as subject:
        await subject.publish(1, 2, 3)
        for after, cursor in ((None, "e.3"), ("e.1", "e.1"), ("e.3", "e.3")):
            async with subject.client(after) as client:
                first = await client.next(within=MINUTE)
                promise = f"the first message is open, and says where a stream after {after} starts"
                kept = None if first is None else (first["type"], first.get("channel"), first.get("cursor"))
                _same(client, ("open", CHANNEL, cursor), kept, promise)
                _same(client, cursor, client.cursor, "who is cut off before any event can come back to there")


async def _check_replay(factory: TransportFactory, prepare: Prepare | None) -> None:
    async with _served(factory, prepare, Limits(page_events=7, window_events=5)) as subject:
        events = await subject.publish(*range(20))
        for after, start in ((None, 20), ("0", 0), ("4", 4), ("e.0", 0), ("e.4", 4), ("e.19", 19), ("e.20", 20)):
            async with subject.client(after) as client:
                await client.until("live")
                _heard(client, events[start:], f"after {after} one hears what was published after it, in order")
                kinds = [message["type"] for message in client.heard]
                promise = "then once that one is up to date, and of no gap"
                _same(client, ["open", *["event"] * (20 - start), "live"], kinds, promise)


async def _check_what_comes(factory: TransportFactory, prepare: Prepare | None) -> None:
    async with _served(factory, prepare) as subject, subject.client() as client:
        await client.until("live")
        events = await subject.publish(*AWKWARD)
        for name in ("a'b", "\u00c5\U0001f600", "%00", "triolet", "x" * 128):
            events.append(await subject.live.publish(CHANNEL, 0, name=name))
        promise = "names and data come as they were published"
        await _hear(client, events[-1].offset, promise)
        _heard(client, events, promise)


async def _check_order(factory: TransportFactory, prepare: Prepare | None) -> None:
    """Publishers that race, and clients which come while they do."""
    async with _served(factory, prepare, Limits(page_events=5, window_events=3)) as subject:
        published: list[Event] = []

        async def publish(number: int) -> None:
            for n in range(20):
                published.extend(await subject.publish(*[f"{number}: {n}"] * (1 + n % 3)))
                await trio.sleep(0.013 * number)

        clients: list[Client] = []

        async def listen(delay: float) -> None:
            await trio.sleep(delay)
            async with subject.client("0") as client:
                clients.append(client)
                with trio.move_on_after(MINUTE):
                    async for _ in client:
                        pass

        async with trio.open_nursery() as nursery:
            for number in (1, 2, 3):
                nursery.start_soon(publish, number)
            for n in range(12):
                nursery.start_soon(listen, 0.06 * n)
        published.sort(key=lambda event: event.offset)
        for client in clients:
            _heard(client, published, "one hears every event once, in order, whenever one comes")


# --- what is missing


async def _check_gaps(factory: TransportFactory, prepare: Prepare | None) -> None:
    async with _served(factory, prepare, Limits(keep_events=3, window_events=1)) as subject:
        events = await subject.publish(*range(10))
        for after, to, missed, reason in (
            ("e.2", "e.7", 5, "expired"),
            ("d.9", "e.7", None, "epoch"),
            ("e.99", "e.10", None, "future"),
        ):
            expected = {"from": after, "to": to, "missed": missed, "reason": reason}
            async with subject.client(after) as client:
                await client.until("live")
                gaps = [{name: message.get(name) for name in expected} for message in client.heard if _is_gap(message)]
                _same(client, [expected], gaps, f"what cannot be told after {after} is announced, once: {reason}")
                _heard(client, events[_offset(to) :], "and what is kept after it is told")
                _same(client, "e.10", client.cursor, "from there one goes on")


def _is_gap(message: Message) -> bool:
    return bool(message["type"] == "gap")


# --- quiet times


async def _check_quiet(factory: TransportFactory, prepare: Prepare | None) -> None:
    async with _served(factory, prepare) as subject, subject.client() as client:
        await subject.publish(1)
        await client.expect(within=MINUTE)
        for _ in range(10):
            ends, heard = client.ends, len(client.heard)
            await client.nothing_for(2 * MINUTE)
            beats = [message["cursors"] for message in client.heard[heard:] if message["type"] == "beat"]
            kept = any(end in client.ends for end in ends)
            _same(client, True, bool(beats) or not kept, "on a connection that is kept, quiet times have beats")
            _same(client, [{CHANNEL: "e.1"}] * len(beats), beats, "a beat carries how far one was sent the channel")
            _same(client, "e.1", client.cursor, "in quiet times one stays where one is")
        await subject.publish(2)
        await client.expect(within=MINUTE, data=2)


# --- ends, and coming back


async def _check_end(factory: TransportFactory, prepare: Prepare | None) -> None:
    async with _served(factory, prepare) as subject, subject.client() as client:
        await subject.publish(1)
        await client.expect(within=MINUTE)
        subject.server.stop.set()
        with trio.move_on_after(2 * MINUTE):
            async for _ in client:
                pass
        _same(client, True, client.closed is not None, "a server that drains ends its connections")
        assert RESTARTING.retry is not None
        low, high = RESTARTING.retry
        soon = client.retry is not None and low <= client.retry <= high
        _same(client, True, soon, f"it says when to come back, after {low} to {high} ms, and not {client.retry}")
        byes = [index for index, message in enumerate(client.heard) if message["type"] == "bye"]
        _same(client, [len(client.heard) - 1] * len(byes), byes, "bye is said once, and last")
        said = [(client.heard[index]["code"], client.heard[index]["reason"]) for index in byes]
        _same(client, [(RESTARTING.code, RESTARTING.reason)] * len(said), said, "bye says why")


async def _check_return(factory: TransportFactory, prepare: Prepare | None) -> None:
    """Networks that go at any moment, with and without notice, and a client that takes only a part of what came."""
    async with _served(factory, prepare, Limits(page_events=3, window_events=2)) as subject:
        events: list[Event] = []
        found: list[str] = []
        after: str | None = "0"
        for turn in range(12):
            events += await subject.publish(*range(turn % 4))
            async with subject.client(after) as client:
                await trio.sleep(0.4 * turn)
                events += await subject.publish(turn)
                with trio.move_on_after(5):
                    for _ in range(turn):
                        await client.next()
                with cut(client, fin=turn % 2 == 0):
                    events += await subject.publish(-turn)
                    await trio.sleep(3)
                found += [event["id"] for event in client.events]
                after = client.cursor
        async with subject.client(after) as client:
            await client.until("live")
            found += [event["id"] for event in client.events]
            expected = [str(event.cursor) for event in events]
            _same(client, expected, found, "who comes back to where it was misses nothing, and hears nothing twice")


async def _check_leaving(factory: TransportFactory, prepare: Prepare | None) -> None:
    async with _served(factory, prepare) as subject:
        for _ in range(5):
            async with subject.client() as client:
                await client.until("live")
        await trio.sleep(5)
        left = (subject.server.connections, subject.server.followers)
        _same(client, (0, 0), left, "of who has left neither a connection nor a follower is left")


async def _check_stalls(factory: TransportFactory, prepare: Prepare | None) -> None:
    network = Network(Line.holding(KERNEL_BYTES))
    async with _served(factory, prepare, Limits(stall_seconds=10), network) as subject:
        alone = await _seconds_to_hear(subject, ())
        lame = [subject.client() for _ in range(5)]
        async with AsyncExitStack() as stack:
            for client in lame:
                await stack.enter_async_context(client)
                await client.until("live")
            beside = await _seconds_to_hear(subject, lame)
            slower = f"one hears as soon beside five that have stalled: {alone:g} s alone, and {beside:g} s beside them"
            assert beside <= alone + 0.1, slower
            for client in lame:
                await _catch_up(subject, client)


async def _seconds_to_hear(subject: _Subject, lame: Sequence[Client]) -> float:
    """How long it takes until 30 big events were heard, while others have stalled, and what becomes of those."""
    async with subject.client() as client:
        await client.until("live")
        with stalled(*lame) if lame else nullcontext():
            began = trio.current_time()
            for n in range(30):
                await subject.publish([n, BIG])
            events = await _all(subject)
            promise = "one hears all beside others that have stalled"
            await _hear(client, events[-1].offset, promise)
            seconds = trio.current_time() - began
            _heard(client, events[-30:], promise)
            await trio.sleep(MINUTE)
            left = subject.server.followers - (1 if client.ends else 0)
            _same(client, True, left <= 0, "who takes nothing for stall_seconds is followed no longer")
    return seconds


async def _catch_up(subject: _Subject, client: Client) -> None:
    """One that had stalled: what it heard and what it hears when it comes back is everything."""
    while client.closed is None and (await client.next(within=MINUTE)) is not None:
        if client.cursor == str(await subject.live.log.head(CHANNEL)):
            break
    if client.closed is not None:
        while await client.next(within=MINUTE) is not None:
            pass
        await client.reconnect()
        await client.until("live")
    _heard(client, (await _all(subject))[-30:], "who had stalled misses nothing")


# --- who may


async def _check_refusal(factory: TransportFactory, prepare: Prepare | None) -> None:
    async with _served(factory, prepare) as subject:
        client = subject.client(path="/channels/secret")
        try:
            async with client:
                message = await client.next(within=MINUTE)
        except RefusedError as error:
            _same(client, True, error.status in (403, None), f"who may not follow is told so, and not {error.status}")
        else:
            raise AssertionError(f"who may not follow is refused, and does not hear {message}\n\n{client.dialogue()}")
        await trio.sleep(5)
        left = (subject.server.connections, subject.server.followers)
        _same(client, (0, 0), left, "of who was refused nothing is left")


async def _all(subject: _Subject) -> list[Event]:
    page = await subject.live.log.read(CHANNEL, Cursor("", 0), limit=1 << 20, max_bytes=1 << 30)
    return list(page.events)


TRANSPORT_CHECKS: Final[tuple[TransportCheck, ...]] = (
    _check_opening,
    _check_replay,
    _check_what_comes,
    _check_order,
    _check_gaps,
    _check_quiet,
    _check_end,
    _check_return,
    _check_leaving,
    _check_stalls,
    _check_refusal,
)
"""One check for each promise, in the order in which a new transport is best made to keep them."""
