"""The clients of a play: they connect, listen, and come back from their cursors, with the clients of Triolet's own test
kit on the wire; every word is recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from math import inf
from typing import Any

import h11
import trio

from triolet.testing.http import RefusedError
from triolet.testing.strict import MalformedError

from .ears import ENDED_SECONDS, KINDS, Ear, WebSocketEar
from .gate import SilenceError
from .history import Answered, Asked, Ended, Heard, Malformed, Message, Said, Weather
from .identities import token_of
from .plan import PRESENCE, STREAMS, ClientPlan, channel_name, url_path
from .setting import World
from .steps import Talk

__all__ = ["BANNED_SECONDS", "Player"]

COMES_BACK_SECONDS = 0.1
FIELDS = {
    **dict.fromkeys(("open", "live", "page", "snapshot", "end"), "cursor"),
    **{"event": "id", "gap": "to"},
}
"""What of a message says where a client goes on from."""
BANNED_SECONDS = 0.5
"""After which whoever was refused asks again."""


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
        self.ended: set[str] = set()
        self.away_until, self.stalled_until, self.pause = plan.comes_at, 0.0, plan.pause
        self.tag: str | None = None
        self.line: Ear | None = None
        self.is_calm = False
        self._said = 0
        self._replies: dict[str, Message] = {}
        self.beside: Callable[..., Any]
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
        return [
            channel
            for channel, head in heads.items()
            if self.cursors[channel] != head or not (self.is_there or channel in self.ended)
        ]

    def url(self, channel: str) -> str:
        """Where it follows a channel."""
        member = self.plan.member and self.numbers[channel] < PRESENCE
        asks = [f"member={self.plan.name}"] * member + ["fold=1"] * self.plan.folds + ["snapshot=1"] * self.plan.state
        return url_path(self.plan, self.numbers[channel]) + (f"?{'&'.join(asks)}" if asks else "")

    def asks(self) -> tuple[str | None, str | None]:
        """The one channel that it asks for when it comes, and from where; of a socket there is none."""
        return (None, None) if self.plan.transport == "socket" else (self.channel, self.cursors[self.channel])

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
        number, longest = self.world.next_connection(), self.world.plan.limits.wait_seconds
        wait = {"long poll": longest, "many poll": longest, "short poll": 0}.get(self.plan.transport)
        tag = self.tag if wait == 0 else None
        headers, until = self.credential()
        asked = (number, self.plan.name, self.server, self.plan.transport, *self.asks(), wait, tag, until)
        self.history.add(Asked(self.history.now, *asked))
        self.asked(number)
        ear = self.line = self._kind(self, number, self.world.hosts[self.server])
        ear.headers = headers
        async with trio.open_nursery() as nursery:
            self.beside = nursery.start_soon
            nursery.start_soon(ear.write)
            how = await self._listen(ear)
            nursery.cancel_scope.cancel()
        if self.line is ear:
            self.history.add(Ended(self.history.now, number, how))
            ear.leave()
            self.line = None
        return how == "answered" and ear.status == 200

    def url_asked(self, channel: str) -> str:
        """Where it follows a channel, as its server repeats that."""
        return self.url(channel)

    def asked(self, number: int) -> None:
        """It has begun to ask. One that follows many channels says of which, here."""

    async def _listen(self, ear: Ear) -> str:
        """Returns how it ended."""
        try:
            await ear.connect()
            self.history.add(Answered(self.history.now, ear.number, ear.status))
            how = await ear.read()
        except RefusedError as error:
            self.history.add(Answered(self.history.now, ear.number, error.status or 0))
            if error.status == 403:
                self.away_until = self.history.now + BANNED_SECONDS
            if error.status == 204:
                self.ended.add(self.channel)
                self.away_until = self.history.now + ENDED_SECONDS
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

    def hear(self, ear: Ear, message: Message) -> None:
        """Record a message, and keep the cursor as a good client does."""
        if self.line is not ear:
            return
        if message["type"] == "refused" and "channel" not in message:  # a follow was
            asked = next((name for name in self.numbers if self.url_asked(name) == message["url"]), None)
            message = {**message, "type": "not let in", "channel": asked}
        self.history.add(Heard(self.history.now, ear.number, message))
        kind, channel = message["type"], message.get("channel") or self.channel
        ended = message.get("end") if kind == "page" else message if kind == "end" else None
        if ended:
            self.away_until = self.history.now + ENDED_SECONDS
        if kind in ("refused", "not let in", "end") and self.plan.transport == "socket":
            self.opened.discard(channel)
            self.beside(self._follow_again, ear, channel, ENDED_SECONDS if ended else BANNED_SECONDS)
        elif kind == "expiring" and "refused" not in message and self.plan.renews is not None:
            self.beside(self._renew, ear, message)
        elif kind == "reply":
            self._replies[message["id"]] = message
        elif kind == "beat" and self.plan.way == "f":
            self.cursors |= {at: cursor for at, cursor in message["cursors"].items() if at in self.cursors}
        if kind == "bye" and message["retry"] is not None:
            self.away_until = self.history.now + message["retry"] / 1000
        field = FIELDS.get(kind)
        is_of_a_channel = message.get("channel", "") is not None and channel in self.cursors
        place = None if field is None else message[field]  # of an open before a state there is none
        if place is not None and is_of_a_channel and message.get("reason") != "conflated":
            self.cursors[channel] = place
            self.had.append(place)
        if ended:
            self.ended.add(channel)
        elif field is not None:
            self.ended.discard(channel)
        if kind == "open" and message["channel"] is not None:
            self.opened.add(message["channel"])

    async def _follow_again(self, ear: WebSocketEar, channel: str, seconds: float) -> None:
        """It was not let in, or is not any more, or the channel has ended: it asks again in a while."""
        await trio.sleep(seconds)
        if channel in self.cursors and channel not in self.opened and ear.up:
            await ear.follow(channel)

    async def _renew(self, ear: Ear, warning: Message) -> None:
        """Bring a new credential, on the connection or by its key; at another server, where it roams."""
        await trio.sleep(self.plan.renews or 0)
        headers, until = self.credential()
        if self.line is not ear:
            return
        self.history.add(Said(self.history.now, ear.number, {"type": "auth", "until": until}))
        if isinstance(ear, WebSocketEar):
            await ear.whisper(type="auth", token=headers["authorization"].partition(" ")[2])
            return
        host = self.world.hosts[(self.server + self.plan.roams) % self.world.plan.servers]
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            body = {"key": warning["key"]}
            await host.request("POST", "/triolet/renew", headers, json=body, address=self.address)

    async def command(self, id: str, url: str, data: Any) -> Message | None:
        """Ask for a command over the WebSocket. None: there is none, or it has ended."""
        line = self.line
        if not isinstance(line, WebSocketEar) or not line.up:
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
        if not isinstance(line, WebSocketEar) or not line.up:
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
