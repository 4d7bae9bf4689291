"""The connections of a play's clients: clients of Triolet's own test kit, which have all that they hear recorded."""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from math import inf
from typing import Any

import trio
from wsproto import events as ws
from wsproto.utilities import LocalProtocolError

from triolet.testing import client_poll, client_sse, client_websocket
from triolet.testing.clients import Client
from triolet.testing.http import Answer, ask, read_answer
from triolet.testing.many import read_many
from triolet.testing.network import ClientEnd, Line
from triolet.testing.reach import Reach
from triolet.testing.strict import MalformedError, read_page

from .gate import Gate, SilenceError
from .history import Message, Said
from .names import Names

__all__ = ["ENDED_SECONDS", "KINDS", "Ear", "WebSocketEar"]

HALF_A_FRAME = b"\x81\x8e\x00\x00\x00"
ENDED_SECONDS = 3.0
"""After which whoever was told that a channel has ended comes back all the same, as one who loads the page anew."""


class Ear(Client):
    """One connection of a player's: a client of the kit's that records what it hears.

    Attributes:
        status: of the answer, where it is a good one. ``up``: it listens.
    """

    status = 200
    up = False

    def __init__(self, player: Any, number: int, reach: Reach, **options: Any) -> None:
        plan, start = player.plan, None
        if player.cursors.get(player.channel) is not None:
            start = plan.start
        halves = max(1, plan.kernel - plan.kernel // 2), max(1, plan.kernel // 2)
        line = Line(plan.latency, plan.bandwidth or inf, *halves)
        path = {"socket": "/talk", "many sse": "/live", "many poll": "/live"}.get(plan.transport)
        path = path or player.url(player.channel)
        super().__init__(reach, path, after=start, address=player.address, line=line, **options)
        self.player, self.number = player, number
        self._outgoing: deque[bytes] = deque()
        self._wake_writer = trio.Event()
        self._gate: Gate | None = None

    def dial(self) -> ClientEnd:
        if self._gate is None:
            self._gate = Gate(super().dial(), self.player)
            self._ends[:] = [self._gate]
        return self._gate

    def receive(self, message: Message) -> None:
        """Record it; whether it may come is for the checker to say."""
        self.player.hear(self, message)

    def leave(self, how: str = "reset") -> None:
        """Let go of the connection."""
        if self._gate is None or how == "silent":
            return
        if how == "fin":
            self._gate.close()
        else:
            self._gate.reset()

    async def write(self) -> None:
        """Send what is to be sent, beside the reader: neither waits for the other."""
        try:
            while True:
                while self._outgoing:
                    await self.dial().send_all(self._outgoing.popleft())
                self._wake_writer = trio.Event()
                await self._wake_writer.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError, SilenceError):
            pass  # whoever reads finds out too, when it has read what came before

    def later(self, data: bytes) -> None:
        """Have bytes sent, behind those that wait already."""
        self._outgoing.append(data)
        self._wake_writer.set()


class WebSocketEar(Ear, client_websocket.WebSocketClient):
    """A WebSocket on a channel's URL, or, of a ``socket``, one that follows channels by theirs."""

    status = 101

    def __init__(self, player: Any, number: int, reach: Reach) -> None:
        super().__init__(player, number, reach, deflate=player.plan.deflate)
        self.cursor = None if player.plan.transport == "socket" else player.cursors[player.channel]
        self._pings = 0
        self._is_through = False
        self._names = Names(player.plan.start) if player.plan.names else None

    def receive(self, message: Message) -> None:
        if message["type"] in ("text", "bytes"):
            raise MalformedError(f"no message of the protocol: {message}")
        heard = message if self._names is None else self._names.take(message)
        if heard is not None:
            super().receive(heard)

    async def read(self) -> str:
        self.up = self._is_through = True
        self.player.opened.clear()
        if self.player.plan.transport == "socket":
            for channel in list(self.player.cursors):
                await self.follow(channel)
        try:
            return await super().read()
        finally:
            self.up = False

    async def follow(self, url: str, after: object = None, *, sub: str | None = None) -> Message:
        """Follow a channel, by its name, without waiting for the answer."""
        self.player.opened.discard(url)
        path, after = self.player.url(url), self.player.cursors[url]
        self._record({"type": "follow", "channel": url, "url": path, "after": after})
        plain = {"type": "follow", "url": path, "after": after}
        for said in [plain] if self._names is None else self._names.follow(url, path, after):
            await self.whisper(**said)
        return {}

    async def unfollow(self, channel: str) -> None:
        """Follow a channel no longer."""
        plain = {"type": "unfollow", "channel": channel}
        self._record(plain)
        for said in [plain] if self._names is None else self._names.unfollow(channel):
            await self.whisper(**said)

    async def say(self, **message: Any) -> None:
        self._record(message)
        await self.whisper(**message)

    async def whisper(self, **message: Any) -> None:
        """Say what is recorded elsewhere."""
        await self._say(json.dumps(message))

    async def ping(self, count: int) -> None:
        """Ping so many times."""
        for _ in range(count):
            self._pings += 1
            self._record({"type": "ping", "payload": str(self._pings)})
            await self._send(ws.Ping(str(self._pings).encode()))

    async def beat(self, event: ws.Ping | ws.Pong) -> None:
        kind = "ping" if isinstance(event, ws.Ping) else "pong"
        self.player.hear(self, {"type": kind, "payload": bytes(event.payload).decode("latin-1")})
        if not self.player.plan.mute:
            await super().beat(event)

    async def part(self, event: ws.CloseConnection) -> None:
        """Answer, and wait for the end: nothing more may come."""
        self.player.hear(self, {"type": "close", "code": int(event.code)})
        await self._send(event.response())
        self.up = False
        await trio.lowlevel.checkpoint()
        if data := await self.dial().receive_some():
            raise MalformedError(f"bytes behind the close frame: {data[:20]!r}")

    async def _send(self, event: ws.Event) -> None:
        with suppress(LocalProtocolError):  # the server has closed, which is read next
            await super()._send(event)

    async def transmit(self, end: ClientEnd, data: bytes) -> None:
        if self._is_through:
            self.later(data)
        else:
            await end.send_all(data)

    def leave(self, how: str = "reset") -> None:
        if how == "mid-frame" and self._gate is not None:
            kernel = self._gate.connection.client
            if kernel.writable and not kernel.reset:
                kernel.send(HALF_A_FRAME)
        super().leave(how)

    def _record(self, message: Message) -> None:
        self.player.history.add(Said(self.player.history.now, self.number, message))


class SseEar(Ear, client_sse.SseClient):
    """An event stream; ``sse behind``: on a connection on which something else was asked first."""

    def __init__(self, player: Any, number: int, reach: Reach) -> None:
        super().__init__(player, number, reach)
        self.cursor = player.cursors[player.channel]

    async def connect(self) -> None:
        if self.player.plan.transport == "sse behind":
            end = self.dial()
            await read_answer(end, *await ask(end, "GET", "/page", {}))
        await super().connect()

    def receive(self, message: Message) -> None:
        super().receive({**message, "last_id": self.last_event_id})


class PollEar(Ear, client_poll.LongPollClient):
    """Asks once: a long poll, or a short one with the last answer's tag."""

    answer: Answer

    def __init__(self, player: Any, number: int, reach: Reach) -> None:
        super().__init__(player, number, reach)
        self.tag = player.tag

    async def connect(self) -> None:
        is_long = self.player.plan.transport == "long poll"
        self.answer = await self.poll(self.player.cursors[self.player.channel], "" if is_long else None)
        self.status = self.answer.status

    async def read(self) -> str:
        player, limits = self.player, self.player.world.plan.limits
        if self.status == 304:
            player.away_until = player.history.now + limits.poll_seconds
            player.hear(self, {"type": "not modified"})
        else:
            page = read_page(self.answer.body)
            player.tag = self.tag
            player.away_until = player.history.now + (page["retry"] or 0) / 1000
            player.hear(self, {**page, "type": "page"})
        return "answered"

    def hang_up(self, end: ClientEnd) -> None:
        """When it is recorded."""


class ManySseEar(Ear, client_sse.SseClient):
    """An event stream of many channels."""

    def __init__(self, player: Any, number: int, reach: Reach) -> None:
        super().__init__(player, number, reach, follow=[player.url_asked(name) for name in player.cursors])
        self.start, self.cursor = None, player.place

    def receive(self, message: Message) -> None:
        super().receive({**message, "place": getattr(message, "place", None)})


class ManyPollEar(Ear, client_poll.LongPollClient):
    """A long poll of many channels; what it is answered is recorded as a page of each of them."""

    answer: Answer

    def __init__(self, player: Any, number: int, reach: Reach) -> None:
        super().__init__(player, number, reach, follow=[player.url_asked(name) for name in player.cursors])
        self.start = None

    async def connect(self) -> None:
        self.answer = await self.poll(self.player.place, "")
        self.status = self.answer.status

    async def read(self) -> str:
        player, body = self.player, read_many(self.answer.body)
        wait = ENDED_SECONDS if body["retry"] is None else body["retry"] / 1000
        player.away_until = player.history.now + wait
        for refused in body["refused"]:
            player.hear(self, refused)
        for one in body["follows"]:
            player.hear(self, self._page(body, one, is_last=one is body["follows"][-1]))
        return "answered"

    @staticmethod
    def _page(body: Message, one: Message, *, is_last: bool) -> Message:
        def of(name: str) -> list[Message]:
            return [told for told in body.get(name, ()) if told["channel"] == one["channel"]]

        gaps, ends, states = of("gaps"), of("ends"), of("snapshots")
        page = {"type": "page", "channel": one["channel"], "events": of("events"), "gap": gaps[0] if gaps else None}
        page |= {"end": ends[0]} if ends else {}
        page |= {"snapshot": states[0]} if states else {}
        page |= {"place": body["cursor"]} if is_last else {}
        page |= {"stale": True} if body.get("stale") else {}
        return {**page, "cursor": one["cursor"], "live": body["live"], "retry": body["retry"], "last": is_last}

    def hang_up(self, end: ClientEnd) -> None:
        """When it is recorded."""


KINDS: dict[str, Any] = {
    "websocket": WebSocketEar,
    "socket": WebSocketEar,
    "sse": SseEar,
    "sse behind": SseEar,
    "long poll": PollEar,
    "short poll": PollEar,
    "many sse": ManySseEar,
    "many poll": ManyPollEar,
}
