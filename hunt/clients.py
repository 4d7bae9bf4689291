"""The clients of a play: they connect, listen, and come back from their cursors, with the clients of Triolet's own test
kit on the wire; every word is recorded."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from math import inf
from typing import Any

import h11
import trio
from wsproto import events as ws
from wsproto.utilities import LocalProtocolError

from triolet.testing import client_poll, client_sse, client_websocket
from triolet.testing.clients import Client
from triolet.testing.http import Answer, RefusedError, ask, read_answer
from triolet.testing.network import ClientEnd, Line
from triolet.testing.reach import Reach
from triolet.testing.strict import MalformedError, read_page

from .gate import Gate, SilenceError
from .history import Answered, Asked, Ended, Heard, Malformed, Message, Said, Weather
from .identities import token_of
from .names import Names
from .plan import PRESENCE, STREAMS, ClientPlan, channel_name, url_path
from .setting import World
from .steps import Talk

__all__ = ["Player"]

COMES_BACK_SECONDS = 0.1
BANNED_SECONDS = 0.5
"""After which whoever was refused asks again."""
HALF_A_FRAME = b"\x81\x8e\x00\x00\x00"


class Player:
    """One client, as long as the play lasts. It is a station of the network: faults can be about it.

    Attributes:
        cursors: by channel, where it would go on from; None is "from now".
        away_until: when it connects again. ``stalled_until``: when it reads again. ``pause``: between two reads.
        line: the connection that it has now, if any. ``is_calm``: its credentials last for ever from now on.
    """

    command_seconds = 8.0
    """After which whoever asked for a command asks again."""

    def __init__(self, world: World, plan: ClientPlan, address: str) -> None:
        self.world, self.plan, self.address = world, plan, address
        self.history, self.network = world.history, world.network
        self.server = plan.server
        self.numbers = {channel_name(number): number for number in plan.channels}
        self.cursors: dict[str, str | None] = dict.fromkeys(self.numbers, plan.start)
        self.had: list[str] = []
        self.opened: set[str] = set()
        self.away_until, self.stalled_until, self.pause = plan.comes_at, 0.0, plan.pause
        self.tag: str | None = None
        self.line: _Ear | None = None
        self.is_calm = False
        self._said = 0
        self._replies: dict[str, Message] = {}
        self._beside: Callable[..., Any]
        self._attempt = trio.CancelScope()
        self._kind = KINDS[plan.transport]

    @property
    def patience(self) -> float:
        """Seconds of silence after which it takes the connection for lost."""
        limits = self.world.plan.limits
        return 3 * limits.beat_seconds if self.plan.transport in STREAMS else limits.wait_seconds + 5

    @property
    def channel(self) -> str:
        """The one channel that all but sockets follow."""
        return channel_name(self.plan.channels[0])

    @property
    def is_there(self) -> bool:
        """Whether it is connected, or polls."""
        return self.line is not None or self.plan.transport not in STREAMS

    def behind(self, untold: Collection[str]) -> list[str]:
        """The channels of which it has not heard everything there is, but for some of which nobody tells."""
        heads = {channel: str(self.world.head(channel)) for channel in self.cursors if channel not in untold}
        return [channel for channel, head in heads.items() if self.cursors[channel] != head or not self.is_there]

    def url(self, channel: str) -> str:
        """Where it follows a channel."""
        member = self.plan.member and self.numbers[channel] < PRESENCE
        return url_path(self.plan, self.numbers[channel]) + (f"?member={self.plan.name}" if member else "")

    def credential(self) -> tuple[dict[str, str], float]:
        """A new one, as a header, and until when it is good."""
        plan = self.plan
        until = self.history.now + plan.lasts if plan.lasts and not self.is_calm else None
        if not plan.subject:
            return {}, inf
        return {"authorization": f"Bearer {token_of(plan.subject, plan.name, until)}"}, inf if until is None else until

    async def live(self) -> None:
        """Connect, and come back whenever it is over."""
        while True:
            await self.until("away_until")
            answered = False
            with trio.CancelScope() as self._attempt:
                answered = await self._once()
            if self.plan.roams:
                self.server = (self.server + 1) % self.world.plan.servers
            if not answered:
                self.away_until = max(self.away_until, self.history.now + COMES_BACK_SECONDS)

    async def _once(self) -> bool:
        """Ask and listen, until the connection ends. Returns whether it was a poll that was answered well."""
        number, asks_for = self.world.next_connection(), None if self.plan.transport == "socket" else self.channel
        after = None if asks_for is None else self.cursors[asks_for]
        wait = {"long poll": self.world.plan.limits.wait_seconds, "short poll": 0}.get(self.plan.transport)
        tag = self.tag if wait == 0 else None
        headers, until = self.credential()
        asked = (number, self.plan.name, self.server, self.plan.transport, asks_for, after, wait, tag, until)
        self.history.add(Asked(self.history.now, *asked))
        ear = self.line = self._kind(self, number, self.world.hosts[self.server])
        ear.headers = headers
        async with trio.open_nursery() as nursery:
            self._beside = nursery.start_soon
            nursery.start_soon(ear.write)
            how = await self._listen(ear)
            nursery.cancel_scope.cancel()
        if self.line is ear:
            self.history.add(Ended(self.history.now, number, how))
            ear.leave()
            self.line = None
        return how == "answered" and ear.status == 200

    async def _listen(self, ear: _Ear) -> str:
        """Returns how it ended."""
        try:
            await ear.connect()
            self.history.add(Answered(self.history.now, ear.number, ear.status))
            how = await ear.read()
        except RefusedError as error:
            self.history.add(Answered(self.history.now, ear.number, error.status or 0))
            if error.status == 403:
                self.away_until = self.history.now + BANNED_SECONDS
            if self.plan.transport in STREAMS:
                return "end"
            self.away_until = self.history.now + 1
            return "answered"
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return "reset"
        except SilenceError:
            return "left: it was silent"
        except MalformedError as error:
            self.history.add(Malformed(self.history.now, ear.number, str(error)))
            return "malformed"
        except h11.RemoteProtocolError:
            return "end within an answer"
        return "end within it" if "within" in how else how if how == "answered" else "end"

    def hear(self, ear: _Ear, message: Message) -> None:
        """Record a message, and keep the cursor as a good client does."""
        if self.line is not ear:
            return
        if message["type"] == "refused" and "channel" not in message:  # a follow was
            asked = next((name for name in self.numbers if self.url(name) == message["url"]), None)
            message = {**message, "type": "not let in", "channel": asked}
        self.history.add(Heard(self.history.now, ear.number, message))
        kind, channel = message["type"], message.get("channel") or self.channel
        if kind in ("refused", "not let in") and self.plan.transport == "socket":
            self.opened.discard(channel)
            self._beside(self._follow_again, ear, channel)
        elif kind == "expiring" and "refused" not in message and self.plan.renews is not None:
            self._beside(self._renew, ear, message)
        elif kind == "reply":
            self._replies[message["id"]] = message
        elif kind == "beat" and self.plan.way == "f":
            self.cursors |= {at: cursor for at, cursor in message["cursors"].items() if at in self.cursors}
        if kind == "bye" and message["retry"] is not None:
            self.away_until = self.history.now + message["retry"] / 1000
        field = {"open": "cursor", "live": "cursor", "event": "id", "gap": "to", "page": "cursor"}.get(kind)
        is_of_a_channel = message.get("channel", "") is not None and channel in self.cursors
        if field is not None and is_of_a_channel and message.get("reason") != "conflated":
            self.cursors[channel] = message[field]
            self.had.append(message[field])
        if kind == "open" and message["channel"] is not None:
            self.opened.add(message["channel"])

    async def _follow_again(self, ear: _WebSocketEar, channel: str) -> None:
        """It was not let in, or is not any more: it asks again in a while."""
        await trio.sleep(BANNED_SECONDS)
        if channel in self.cursors and channel not in self.opened and ear.up:
            await ear.follow(channel)

    async def _renew(self, ear: _Ear, warning: Message) -> None:
        """Bring a new credential, on the connection or by its key; at another server, where it roams."""
        await trio.sleep(self.plan.renews or 0)
        headers, until = self.credential()
        if self.line is not ear:
            return
        self.history.add(Said(self.history.now, ear.number, {"type": "auth", "until": until}))
        if isinstance(ear, _WebSocketEar):
            await ear.whisper(type="auth", token=headers["authorization"].partition(" ")[2])
            return
        host = self.world.hosts[(self.server + self.plan.roams) % self.world.plan.servers]
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            body = {"key": warning["key"]}
            await host.request("POST", "/triolet/renew", headers, json=body, address=self.address)

    async def command(self, id: str, url: str, data: Any) -> Message | None:
        """Ask for a command over the WebSocket. None: there is none, or it has ended."""
        line = self.line
        if not isinstance(line, _WebSocketEar) or not line.up:
            return None
        await line.whisper(type="command", id=id, url=url, data=data)
        while self.line is line:
            if (reply := self._replies.pop(id, None)) is not None:
                return reply
            await trio.sleep(0.1)
        return None

    async def until(self, name: str) -> None:
        """Wait until a time of ours, which may be put off, or moved closer, meanwhile."""
        # Any step of the world may move the time meanwhile.
        while (rest := getattr(self, name) - self.history.now) > 1e-6:  # noqa: ASYNC110
            await trio.sleep(min(rest, 1))

    # --- what befalls it

    def go_on_from(self, channel: str, cursor: str | None) -> None:
        """Forget where it stood in a channel."""
        self.cursors[channel] = cursor
        self.tag = None

    def leave(self, how: str, seconds: float) -> None:
        """Lose the connection, if there is one, in some way; and stay away."""
        self.away_until = self.history.now + seconds
        if self.line is not None:
            self.history.add(Ended(self.history.now, self.line.number, f"left: {how}"))
            self.line.leave(how)
            self.line = None
        self._attempt.cancel()

    def stall(self, seconds: float) -> None:
        """Read nothing for so long."""
        self.stalled_until = self.history.now + seconds
        self.history.add(Weather(self.history.now, self.plan.name, "stall", self.stalled_until))

    def brighten(self) -> None:
        """From now on there is nothing to keep it from reading and coming back."""
        self.stalled_until = self.away_until = self.history.now
        self.pause = 0
        self.is_calm = True

    async def talk(self, step: Talk) -> None:
        """Do what only a socket does, or ping; the last channel that is followed stays."""
        channel, line = channel_name(step.channel), self.line
        if not isinstance(line, _WebSocketEar) or not line.up:
            return
        if step.what == "ping":
            await line.ping(step.count)
        elif step.what == "follow" and (channel not in self.cursors or channel in self.opened):
            self.numbers[channel] = step.channel
            self.cursors.setdefault(channel, self.plan.start)
            await line.follow(channel)
        elif step.what == "unfollow" and channel in self.opened and len(self.cursors) > 1:
            self.opened.discard(channel)
            del self.cursors[channel]
            await line.unfollow(channel)
        elif step.what == "say":
            for _ in range(step.count):
                self._said += 1
                await line.say(type="message", data=[self._said, "y" * step.size])
            for at, cursor in self.cursors.items():
                if cursor not in (None, "0"):
                    await line.say(type="ack", channel=at, cursor=cursor)


class _Ear(Client):
    """One connection of a player's: a client of the kit's that records what it hears.

    Attributes:
        status: of the answer, where it is a good one. ``up``: it listens.
    """

    status = 200
    up = False

    def __init__(self, player: Player, number: int, reach: Reach, **options: Any) -> None:
        plan, start = player.plan, None
        if player.cursors.get(player.channel) is not None:
            start = plan.start
        halves = max(1, plan.kernel - plan.kernel // 2), max(1, plan.kernel // 2)
        line = Line(plan.latency, plan.bandwidth or inf, *halves)
        path = "/talk" if plan.transport == "socket" else player.url(player.channel)
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


class _WebSocketEar(_Ear, client_websocket.WebSocketClient):
    """A WebSocket on a channel's URL, or, of a ``socket``, one that follows channels by theirs."""

    status = 101

    def __init__(self, player: Player, number: int, reach: Reach) -> None:
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


class _SseEar(_Ear, client_sse.SseClient):
    """An event stream; ``sse behind``: on a connection on which something else was asked first."""

    def __init__(self, player: Player, number: int, reach: Reach) -> None:
        super().__init__(player, number, reach)
        self.cursor = player.cursors[player.channel]

    async def connect(self) -> None:
        if self.player.plan.transport == "sse behind":
            end = self.dial()
            await read_answer(end, *await ask(end, "GET", "/page", {}))
        await super().connect()

    def receive(self, message: Message) -> None:
        super().receive({**message, "last_id": self.last_event_id})


class _PollEar(_Ear, client_poll.LongPollClient):
    """Asks once: a long poll, or a short one with the last answer's tag."""

    answer: Answer

    def __init__(self, player: Player, number: int, reach: Reach) -> None:
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
            player.away_until = player.history.now + page["retry"] / 1000
            player.hear(self, {**page, "type": "page"})
        return "answered"

    def hang_up(self, end: ClientEnd) -> None:
        """When it is recorded."""


KINDS: dict[str, Any] = {
    "websocket": _WebSocketEar,
    "socket": _WebSocketEar,
    "sse": _SseEar,
    "sse behind": _SseEar,
    "long poll": _PollEar,
    "short poll": _PollEar,
}
