"""One client's position in one channel, and the flat lists of those who are live."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..event import Cursor
from ..wire.codec import Codec

if TYPE_CHECKING:
    from .window import Window

__all__ = ["Audience", "Follower", "LiveGroup", "State", "Writable"]


class Writable(Protocol):
    """What the hub needs of an outlet."""

    @property
    def send(self) -> Callable[[Any], int]:
        """Take a batch, as ``socket.send`` does: how much was taken, BlockingIOError or another OSError."""

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be taken."""

    def keep(self, batch: Any, taken: int) -> None:
        """Remember what ``send`` did not take of a batch."""

    def fail(self) -> None:
        """The peer is gone."""


class State(Enum):
    """Where a follower is. Live means: at ``window.flushed``, with an empty outlet, written to by the pump."""

    BEHIND = "behind"
    LIVE = "live"
    ENDED = "ended"


class Follower:
    """One client's position in one channel.

    While it is live the pump writes to it; while it is behind its connection's writer does, from
    ``position``. ``fell_behind`` tells the connection that there is work for its writer.
    """

    __slots__ = (
        "announced",
        "codec",
        "fell_behind",
        "index",
        "opened",
        "outlet",
        "position",
        "state",
        "url",
        "window",
    )

    def __init__(
        self,
        window: Window,
        codec: Codec,
        outlet: Writable,
        after: Cursor | None,
        fell_behind: Callable[[Follower], None],
        url: str | None = None,
    ) -> None:
        self.window = window
        self.codec = codec
        self.outlet = outlet
        self.position = window.cursor if after is None else after
        self.fell_behind = fell_behind
        self.url = url
        self.state = State.BEHIND
        self.opened = False
        self.announced = False
        self.index = -1

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
        return True

    def fall_behind(self) -> None:
        """Stop being live: the outlet is full. The writer goes on from ``position``."""
        if self.state is State.LIVE:
            self.window.live[self.codec].remove(self)
            self.state = State.BEHIND
            self.announced = False
            self.fell_behind(self)

    def wait_for_round(self) -> None:
        """Be told when the next round begins: this follower has read further than the present one."""
        self.window.early.append(self)

    def end(self) -> None:
        """Follow no longer. Synchronous, so nothing can cancel it."""
        if self.state is State.LIVE:
            self.window.live[self.codec].remove(self)
        self.state = State.ENDED


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
