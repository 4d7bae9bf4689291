"""The suite of transports: ours keep every promise, and who breaks one is caught at it."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import trio
from quart import abort
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Triolet
from triolet.testing.client_poll import ShortPollClient
from triolet.testing.client_sse import SseClient
from triolet.testing.client_websocket import WebSocketClient
from triolet.testing.clients import TRANSPORTS, Client, Message
from triolet.testing.http import RefusedError
from triolet.testing.network import ClientEnd
from triolet.testing.reach import Reach
from triolet.testing.transports import TRANSPORT_CHECKS, TransportCheck, check_transport


def name_of(check: TransportCheck) -> str:
    """What a check is about."""
    return check.__name__.removeprefix("_check_")


OF_A_PLACE_IN_COMMENTS = ("opening", "gaps", "stalls")
"""Checks of which a client comes back that has seen no event: in a plain stream only comments say where it stood."""

OURS = [
    pytest.param(check, transport, id=f"{name_of(check)}-{transport}")
    for check in TRANSPORT_CHECKS
    for transport in (*TRANSPORTS, "follow", "plain sse")
    if transport != "plain sse" or name_of(check) not in OF_A_PLACE_IN_COMMENTS
]


@pytest.mark.parametrize(("check", "transport"), OURS)
async def test_ours_keep_every_promise(check: TransportCheck, transport: str, autojump_clock: MockClock) -> None:
    await check(lambda reach, path, after: reach.client(transport, path, after=after), None)


# --- doubles, each of which breaks one promise


class HearsNoOpen(SseClient):
    def hear(self, message: Message) -> None:
        if message["type"] != "open":
            super().hear(message)


class OpensAnywhere(WebSocketClient):
    def hear(self, message: Message) -> None:
        super().hear({**message, "cursor": "e.0"} if message["type"] == "open" else message)


class SkipsTheFirst(SseClient):
    def hear(self, message: Message) -> None:
        if message.get("id") != "e.5":
            super().hear(message)


class NeverUpToDate(WebSocketClient):
    def hear(self, message: Message) -> None:
        super().hear({**message, "type": "beat", "cursors": {}} if message["type"] == "live" else message)


class FramesByLine(SseClient):
    """As one whose wire is lines of text."""

    def hear(self, message: Message) -> None:
        if isinstance(message.get("data"), str):
            message["data"] = message["data"].partition("\n")[0]
        super().hear(message)


class Mislabels(WebSocketClient):
    def hear(self, message: Message) -> None:
        super().hear({**message, "channel": "another"} if message["type"] == "event" else message)


class RepeatsAtTheSeam(WebSocketClient):
    def hear(self, message: Message) -> None:
        super().hear(message)
        if message["type"] == "live" and self._last is not None:
            super().hear(self._last)
        self._last = message if message["type"] == "event" else None

    _last: Message | None = None


class Swaps(SseClient):
    """Two events that come together, in the wrong order."""

    def hear(self, message: Message) -> None:
        if message.get("id") == "e.40":
            self._first = message
            return
        super().hear(message)
        if message.get("id") == "e.41":
            super().hear(self._first)

    _first: Message


class KeepsGapsToItself(SseClient):
    def hear(self, message: Message) -> None:
        if message["type"] != "gap":
            super().hear(message)


class CountsGapsWrongly(WebSocketClient):
    def hear(self, message: Message) -> None:
        super().hear({**message, "missed": 0} if message["type"] == "gap" else message)


class Beatless(SseClient):
    def hear(self, message: Message) -> None:
        if message["type"] != "beat":
            super().hear(message)


class BeatsAhead(WebSocketClient):
    def hear(self, message: Message) -> None:
        super().hear({**message, "cursors": {"checked": "e.2"}} if message["type"] == "beat" else message)


class DiesOfSilence(ShortPollClient):
    async def read(self) -> str:
        with trio.move_on_after(300):
            return await super().read()
        return "forgotten"


class SaysNoTimeToReturn(SseClient):
    def hear(self, message: Message) -> None:
        super().hear({**message, "retry": None} if message["type"] == "bye" else message)


class SpeaksAfterItsBye(WebSocketClient):
    def hear(self, message: Message) -> None:
        super().hear(message)
        if message["type"] == "bye":
            super().hear(self._opened)
        elif message["type"] == "open":
            self._opened = message

    _opened: Message


class SaysAnotherReason(SseClient):
    def hear(self, message: Message) -> None:
        super().hear({**message, "code": 1000, "reason": "done"} if message["type"] == "bye" else message)


class NeverEnds(SseClient):
    async def read(self) -> str:
        await super().read()
        await trio.sleep_forever()
        raise AssertionError


class ComesBackTooFar(SseClient):
    """Goes on from what has come, in place of what was taken."""

    _newest: str | None = None

    def hear(self, message: Message) -> None:
        super().hear(message)
        self._newest = message.get("id", self._newest)

    def keep_cursor(self, message: Message) -> None:
        super().keep_cursor(message)
        self.cursor = self._newest or self.cursor


class ComesBackTooEarly(WebSocketClient):
    def keep_cursor(self, message: Message) -> None:
        if message["type"] != "event" or int(message["id"][2:]) % 5:
            super().keep_cursor(message)


class LeavesItsConnection(SseClient):
    def dial(self) -> ClientEnd:
        return self.reach.connect(address=self.address)


class InStep(SseClient):
    """As one whose server sends to one after the other, and waits for each."""

    crowd: ClassVar[list[InStep]] = []
    patience: ClassVar[float] = math.inf
    count: int

    async def read(self) -> str:
        self.count = 0
        self.crowd.append(self)
        assert self._stream is not None
        while (block := await self._stream.block()) is not None:
            if "data" in block:
                self.count += 1
                with trio.move_on_after(self.patience):
                    while self.count > 10 + min(one.count for one in self.crowd if one.closed is None):  # noqa: ASYNC110
                        await trio.sleep(0.5)
                self.hear(self._message(block))
        return "the stream ended"


class Dawdles(InStep):
    patience = 1


class StaysBehind(SseClient):
    """Something of it is followed for ever, whatever becomes of its client."""

    async def connect(self) -> None:
        await super().connect()
        await SseClient(self.reach, self.path).__aenter__()


class ReturnsToNow(WebSocketClient):
    async def reconnect(self) -> None:
        self.cursor = None
        await super().reconnect()


class TakesARefusalForQuiet(SseClient):
    async def connect(self) -> None:
        try:
            await super().connect()
        except RefusedError:
            self.hear({"type": "open", "channel": "secret", "cursor": "e.0"})
            self._stream = None

    async def read(self) -> str:
        return "nothing came" if self._stream is None else await super().read()


class TellsAnotherStatus(SseClient):
    async def connect(self) -> None:
        try:
            await super().connect()
        except RefusedError as error:
            error.status = 500
            raise


BROKEN: dict[str, list[tuple[type[Client], str]]] = {
    "opening": [(HearsNoOpen, "the first message is open"), (OpensAnywhere, "where a stream after None starts")],
    "replay": [(SkipsTheFirst, "one hears what was published after it"), (NeverUpToDate, "expected  live")],
    "what_comes": [(kind, "names and data come as they were published") for kind in (FramesByLine, Mislabels)],
    "order": [
        (RepeatsAtTheSeam, "one hears every event once, in order"),
        (Swaps, "one hears every event once, in order"),
    ],
    "gaps": [(KeepsGapsToItself, "is announced, once: expired"), (CountsGapsWrongly, "is announced, once: expired")],
    "quiet": [
        (Beatless, "on a connection that is kept, quiet times have beats"),
        (BeatsAhead, "a beat carries how far one was sent the channel"),
        (DiesOfSilence, "the connection had ended: forgotten"),
    ],
    "end": [
        (NeverEnds, "a server that drains ends its connections"),
        (SaysNoTimeToReturn, "it says when to come back"),
        (SpeaksAfterItsBye, "bye is said once, and last"),
        (SaysAnotherReason, "bye says why"),
    ],
    "return": [
        (ComesBackTooFar, "misses nothing, and hears nothing twice"),
        (ComesBackTooEarly, "misses nothing, and hears nothing twice"),
    ],
    "leaving": [(LeavesItsConnection, "of who has left neither a connection nor a follower is left")],
    "stalls": [
        (InStep, "one hears all beside others that have stalled, but event 60 did not come"),
        (Dawdles, "one hears as soon beside five that have stalled"),
        (StaysBehind, "who takes nothing for stall_seconds is followed no longer"),
        (ReturnsToNow, "who had stalled misses nothing"),
    ],
    "refusal": [
        (TakesARefusalForQuiet, "who may not follow is refused"),
        (TellsAnotherStatus, "who may not follow is told so, and not 500"),
    ],
}


DOUBLES = [
    pytest.param(check, double, promise, id=f"{name_of(check)}-{double.__name__}")
    for check in TRANSPORT_CHECKS
    for double, promise in BROKEN[name_of(check)]
]


@pytest.mark.parametrize(("check", "double", "promise"), DOUBLES)
async def test_who_breaks_a_promise_is_caught(
    check: TransportCheck, double: type[Client], promise: str, autojump_clock: MockClock
) -> None:
    InStep.crowd.clear()
    with pytest.raises(AssertionError, match=promise):
        await check(lambda reach, path, after: double(reach, path, after=after), None)
    InStep.crowd.clear()


def test_every_check_has_a_double_that_fails_it() -> None:
    assert [name_of(check) for check in TRANSPORT_CHECKS] == list(BROKEN)


async def test_a_transport_brings_its_own_route(autojump_clock: MockClock) -> None:
    def prepare(app: QuartTrio, live: Triolet) -> None:
        @live.channel("/mine/<name>")
        async def mine(name: str) -> str:
            if name == "secret":
                abort(403)
            return name

    def of_mine(reach: Reach, path: str, after: str | None) -> Client:
        return reach.sse(path.replace("/channels/", "/mine/"), after=after)

    await check_transport(of_mine, prepare)


async def test_without_a_virtual_clock_it_says_what_it_needs() -> None:
    with pytest.raises(RuntimeError, match="give the test pytest-trio's autojump_clock"):
        await check_transport(lambda reach, path, after: reach.sse(path, after=after))
