"""One client's position in one channel, and the flat lists of those who are live."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import trio

from ..event import Cursor
from ..wire.codec import Codec
from .policies import Lag, Step, holds_publishers
from .subscription import Subscription

if TYPE_CHECKING:
    from .window import Window

__all__ = ["Audience", "Follower", "LiveGroup", "Owner", "State", "Writable"]


class Writable(Protocol):
    """What the hub needs of an outlet."""

    @property
    def send(self) -> Callable[[Any], int]:
        """Take a batch, as ``socket.send`` does: how much was taken, BlockingIOError or another OSError."""

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be taken."""

    @property
    def pending(self) -> int:
        """Bytes that wait to be taken."""

    @property
    def progress_at(self) -> float:
        """Trio's time when something was last taken of what waits."""

    def keep(self, batch: Any, taken: int) -> None:
        """Remember what ``send`` did not take of a batch."""

    def fail(self) -> None:
        """The peer is gone."""


class Owner(Protocol):
    """Whose follower it is: a connection."""

    def fell_behind(self, follower: Follower) -> None:
        """There is work for the writer."""

    def stepped(self, follower: Follower, step: Step, lag: Lag) -> None:
        """The policy says something new about a follower."""


class State(Enum):
    """Where a follower is. Live means: at ``window.flushed``, with an empty outlet, written to by the pump."""

    BEHIND = "behind"
    LIVE = "live"
    ENDED = "ended"


class Follower:
    """One client's position in one channel.

    While it is live the pump writes to it; while it is behind its connection's writer does, from
    ``position``. Its owner is told when there is work for the writer, and what the policy says.

    ``opened`` and ``announced``: whether the client has been told where the stream begins, and that it is up to date;
    ``told``: that publishers wait for it. ``logged`` has a bit for each step that was logged.
    """

    __slots__ = (
        "announced",
        "behind_since",
        "came_at",
        "codec",
        "index",
        "logged",
        "opened",
        "outlet",
        "owner",
        "policy",
        "position",
        "state",
        "step",
        "told",
        "url",
        "window",
    )

    def __init__(
        self,
        window: Window,
        subscription: Subscription,
        codec: Codec,
        outlet: Writable,
        owner: Owner,
    ) -> None:
        self.window = window
        self.codec = codec
        self.outlet = outlet
        self.came_at = window.cursor
        self.position = self.came_at if subscription.after is None else subscription.after
        self.owner = owner
        self.url = subscription.url
        self.policy = subscription.policy
        self.state = State.BEHIND
        self.step = Step.CATCH_UP
        self.behind_since = trio.current_time()
        self.opened = False
        self.announced = False
        self.told = False
        self.logged = 0
        self.index = -1
        self._watch()

    @property
    def channel(self) -> str:
        return self.window.channel

    def would_be_live(self, position: Cursor) -> bool:
        """Whether nothing more is to be read at a position."""
        return position.offset == self.window.flushed and position.epoch == self.window.epoch

    def go_live(self) -> bool:
        """Become live if caught up. No await lies between the check and its effect, so nothing falls between.

        Returns False where there is more to read, or (``position`` is past the round being written) to wait for.
        """
        if not self.would_be_live(self.position) or not self.outlet.empty:
            return False
        group = self.window.live.get(self.codec)
        if group is None:
            group = self.window.live[self.codec] = LiveGroup()
        group.add(self)
        self.state = State.LIVE
        self.step = Step.CATCH_UP
        self.told = False
        self.window.unwatch(self)
        return True

    def fall_behind(self) -> None:
        """Stop being live: the outlet is full. The writer goes on from ``position``."""
        if self.state is State.LIVE:
            self.window.live[self.codec].remove(self)
            self.state = State.BEHIND
            self.announced = False
            self.behind_since = trio.current_time()
            self._watch()
            self.owner.fell_behind(self)

    def advance(self, position: Cursor) -> None:
        """It was sent everything up to here."""
        self.position = position
        if self in self.window.watched:
            self.window.look_again()

    def wait_for_round(self) -> None:
        """Be told when the next round begins: this follower has read further than the present one."""
        self.window.early.append(self)

    def end(self) -> None:
        """Follow no longer. Synchronous, so nothing can cancel it."""
        if self.state is State.LIVE:
            self.window.live[self.codec].remove(self)
        self.state = State.ENDED
        self.window.unwatch(self)

    @property
    def events_behind(self) -> int:
        """Events of the channel that it was not sent yet. Where it stands in another life of the log: all."""
        known = self.position.epoch in ("", self.window.epoch)
        return max(0, self.window.head - (self.position.offset if known else 0))

    def lag(self) -> Lag:
        """How far it is behind."""
        now = trio.current_time()
        events, pending = self.events_behind, self.outlet.pending
        known = self.position.epoch in ("", self.window.epoch)
        came_at = self.came_at.offset if self.came_at.epoch == self.window.epoch else 0
        return Lag(
            events,
            max(0, came_at - (self.position.offset if known else 0)),
            0.0 if self.state is State.LIVE else now - self.behind_since,
            now - self.outlet.progress_at if pending else 0.0,
            pending,
        )

    def _watch(self) -> None:
        if holds_publishers(self.policy):
            self.window.watched[self] = None

    def judge(self) -> Step:
        """Ask the policy what to do now, and tell the owner where that is something new."""
        if self.policy is None or self.state is not State.BEHIND:
            return Step.CATCH_UP
        lag = self.lag()
        step = self.policy(lag)
        if step is not self.step:
            self.step = step
            self.owner.stepped(self, step, lag)
        return step


Audience: TypeAlias = "tuple[list[Follower], list[Callable[[Any], int]], int]"


class LiveGroup:
    """The live followers of one window and codec, and beside them their outlets' ``send``: two flat lists, so
    that a round is one loop of calls into the kernel. ``version`` changes whenever somebody leaves."""

    __slots__ = ("followers", "sends", "version")

    def __init__(self) -> None:
        self.followers: list[Follower] = []
        self.sends: list[Callable[[Any], int]] = []
        self.version = 0

    def add(self, follower: Follower) -> None:
        follower.index = len(self.followers)
        self.followers.append(follower)
        self.sends.append(follower.outlet.send)

    def audience(self) -> Audience:
        """Who is live now, and the group's version with them."""
        return self.followers[:], self.sends[:], self.version

    def remove(self, follower: Follower) -> None:
        """Put the last one into its place: constant work, whoever leaves."""
        index = follower.index
        last, send = self.followers.pop(), self.sends.pop()
        if last is not follower:
            last.index = index
            self.followers[index], self.sends[index] = last, send
        follower.index = -1
        self.version += 1
