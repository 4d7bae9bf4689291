"""One client of the simulation: it connects, listens, and comes back from its cursor; every word is recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from typing import TYPE_CHECKING

import trio

from triolet.testing.network import ClientEnd, Line, Network

from .history import Asked, Ended, Malformed, Message, Weather
from .plan import STREAMS, ClientPlan
from .stage import channel_name
from .wires import MalformedError

if TYPE_CHECKING:
    from .world import World

__all__ = ["Client", "CutShortError", "Talk"]

COMES_BACK_SECONDS = 0.1


class _SilenceError(Exception):
    """Nothing was heard for longer than a client waits."""


class CutShortError(Exception):
    """The connection ended in the middle of something; the message says of what."""


class Talk:
    """One connection of a client's: its number and its end. ``over`` once the client has no use for it any more."""

    def __init__(self, number: int, end: ClientEnd, asked: Asked) -> None:
        self.number = number
        self.end = end
        self.asked = asked
        self.over = False


class Client(ABC):
    """One client, as long as the play lasts. It is a station of the network: faults can be about it.

    Attributes:
        cursors: by channel, where it would go on from; None is "from now".
        away_until: when it connects again. ``stalled_until``: when it reads again. ``pause``: between two reads.
    """

    def __init__(self, world: World, plan: ClientPlan, address: str) -> None:
        self.world = world
        self.plan = plan
        self.address = address
        self.server = plan.server
        self.cursors: dict[str, str | None] = {channel_name(number): plan.start for number in plan.channels}
        self.had: list[str] = []
        self.away_until = plan.comes_at
        self.stalled_until = 0.0
        self.pause = plan.pause
        self.talk: Talk | None = None
        self.line = Line(
            plan.latency,
            plan.bandwidth or inf,
            server_bytes=max(1, plan.kernel - plan.kernel // 2),
            client_bytes=max(1, plan.kernel // 2),
        )
        self._attempt = trio.CancelScope()

    @property
    def network(self) -> Network:
        """What it connects through."""
        return self.world.network

    @property
    def patience(self) -> float:
        """Seconds of silence after which it takes the connection for lost."""
        limits = self.world.plan.limits
        return 3 * limits.beat_seconds if self.plan.transport in STREAMS else limits.wait_seconds + 5

    @property
    def at_once(self) -> bool:
        """Whether it goes on without a break: a poll that was answered."""
        return False

    @property
    def channel(self) -> str:
        """The one channel that all but sockets follow."""
        return channel_name(self.plan.channels[0])

    async def live(self) -> None:
        """Connect, and come back whenever it is over."""
        while True:
            await self._until("away_until")
            with trio.CancelScope() as self._attempt:
                await self._once()
            if self.plan.roams:
                self.server = (self.server + 1) % self.world.plan.servers
            if not self.at_once:
                self.away_until = max(self.away_until, self.world.history.now + COMES_BACK_SECONDS)

    @abstractmethod
    async def converse(self, talk: Talk) -> None:
        """Ask and listen, until the connection ends."""

    @abstractmethod
    def ask(self, number: int) -> Asked:
        """What is asked for now."""

    @property
    @abstractmethod
    def caught_up(self) -> bool:
        """Whether it has heard everything there is."""

    def hear(self, message: Message) -> None:
        """Record a message, and keep the cursor as a good client does."""
        talk = self.talk
        assert talk is not None
        self.world.hear(talk.number, message)
        kind = message["type"]
        if kind in ("open", "live"):
            self._at(message["channel"], message["cursor"])
        elif kind == "event":
            self._at(message.get("channel", self.channel), message["id"])
        elif kind == "gap" and message["reason"] != "conflated":
            self._at(message["channel"], message["to"])
        elif kind == "bye":
            self._told_to_come_back(message["retry"])

    def go_on_from(self, channel: str, cursor: str | None) -> None:
        """Forget where it stood in a channel."""
        self.cursors[channel] = cursor

    def leave(self, how: str, seconds: float) -> None:
        """Lose the connection, if there is one, in some way; and stay away."""
        self.away_until = self.world.history.now + seconds
        if self.talk is not None:
            self.world.history.add(Ended(self.world.history.now, self.talk.number, f"left: {how}"))
            self.talk.over = True
            if how != "silent":
                self.go(self.talk, how)
            self.talk = None
        self._attempt.cancel()

    def go(self, talk: Talk, how: str) -> None:
        """Let go of the client's end."""
        if how == "fin":
            talk.end.connection.client.close()
        else:
            talk.end.reset()

    def stall(self, seconds: float) -> None:
        """Read nothing for so long."""
        now = self.world.history.now
        self.stalled_until = now + seconds
        self.world.history.add(Weather(now, self.plan.name, "stall", self.stalled_until))

    def brighten(self) -> None:
        """From now on there is nothing to keep it from reading and coming back."""
        self.stalled_until = self.away_until = self.world.history.now
        self.pause = 0

    async def read(self, talk: Talk) -> bytes:
        """What has come next; nothing at the end."""
        await self._until("stalled_until")
        if self.pause:
            await trio.sleep(self.pause)
        with trio.move_on_after(self.patience):
            return await talk.end.receive_some()
        raise _SilenceError

    async def send(self, talk: Talk, data: bytes) -> None:
        """Send a request."""
        with trio.move_on_after(self.patience):
            await talk.end.send_all(data)
            return
        raise _SilenceError

    async def _until(self, name: str) -> None:
        """Wait until a time of ours, which may be put off, or moved closer, meanwhile."""
        # Any step of the world may move the time meanwhile.
        while (rest := getattr(self, name) - self.world.history.now) > 1e-6:  # noqa: ASYNC110
            await trio.sleep(min(rest, 1))

    async def _once(self) -> None:
        number = self.world.next_connection()
        asked = self.ask(number)
        self.world.history.add(asked)
        talk = self.talk = Talk(number, self.world.dial(self), asked)
        how = "end"
        try:
            await self.converse(talk)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            how = "reset"
        except _SilenceError:
            how = "left: it was silent"
        except CutShortError as error:
            how = f"end within {error}"
        except MalformedError as error:
            how = "malformed"
            self.world.history.add(Malformed(self.world.history.now, number, str(error)))
        if not talk.over:
            self.world.history.add(Ended(self.world.history.now, number, how))
            talk.over = True
            talk.end.reset()
        self.talk = None

    def _at(self, channel: str | None, cursor: str) -> None:
        if channel is not None:
            self.cursors[channel] = cursor
            self.had.append(cursor)

    def _told_to_come_back(self, retry: int | None) -> None:
        if retry is not None:
            self.away_until = self.world.history.now + retry / 1000
