"""The audience of one channel: its live followers in flat lists, the early ones, the watched ones, and the polls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import trio

from ..event import Event
from ..wire.codec import Codec
from .follower import Follower, State
from .policies import Step, holds_publishers
from .window import Window

__all__ = ["Audience", "LiveGroup", "Park", "Recipients", "next_round"]

Park: TypeAlias = Callable[[], Awaitable[object]]
"""Where a poll waits until it is cancelled. It may raise before, where its client has gone."""

Hear: TypeAlias = Callable[[Event], bool]
"""Takes what a waiting poll is told, or says that it is not for its client."""

Recipients: TypeAlias = "tuple[list[Follower], list[Callable[[Any], int]], int]"
"""The followers that a round is written to, their outlets' ``send``, and the group's version at that moment."""


class LiveGroup:
    """The live followers of one channel and codec, and beside them their outlets' ``send``: two flat lists, so
    that a round is one loop of calls into the kernel. ``version`` changes whenever a follower leaves."""

    __slots__ = ("followers", "sends", "version")

    def __init__(self) -> None:
        self.followers: list[Follower] = []
        self.sends: list[Callable[[Any], int]] = []
        self.version = 0

    def add(self, follower: Follower) -> None:
        """Put a follower at the end."""
        # A follower knows its index, so that `remove` need not search: a thousand clients may leave at once.
        follower.index = len(self.followers)
        self.followers.append(follower)
        self.sends.append(follower.outlet.send)

    def recipients(self) -> Recipients:
        """Return copies of both lists as they are now, and the version with them."""
        # Two slices, made once a round. The lists themselves may change at each of the round's checkpoints.
        return self.followers[:], self.sends[:], self.version

    def remove(self, follower: Follower) -> None:
        """Remove a follower, and put the last one into its place: constant work, whichever leaves."""
        index = follower.index
        last, send = self.followers.pop(), self.sends.pop()
        if last is not follower:
            last.index = index
            self.followers[index], self.sends[index] = last, send
        follower.index = -1
        self.version += 1


class Audience:
    """All followers and polls of one channel. A follower says only which state it is in; all lists are kept here.

    Bounds: one place for each follower. The events themselves are bounded by the window.

    Attributes:
        window: the channel's newest events.
        live: the followers that the pump writes to, by their codec.
        filtered: the live followers that are in no group, for each is written its own: their clients may not see every
            event, or follow many channels over an event stream.
        early: followers that have read further than the present round, and wait for the next.
        watched: followers that are behind and whose policy may make publishers wait.
        rounds: how many rounds have begun.
        listeners: how many followers and waiting polls there are: while there is one the window stays in memory.
        watchers: those of them that are clients, and wait for more: neither short polls nor the server's own tasks.
    """

    __slots__ = (
        "_parked",
        "_room",
        "early",
        "filtered",
        "listeners",
        "live",
        "rounds",
        "watched",
        "watchers",
        "window",
    )

    def __init__(self, window: Window) -> None:
        self.window = window
        self.live: dict[Codec, LiveGroup] = {}
        self.filtered: dict[Follower, None] = {}  # a dict and not a set, whose order differs from run to run
        self.early: dict[Follower, None] = {}
        self.watched: dict[Follower, None] = {}  # a dict, as above
        self.rounds = 0
        self.listeners = 0
        self.watchers = 0
        self._parked: dict[trio.CancelScope, Hear | None] = {}
        self._room: trio.Event | None = None

    @property
    def live_followers(self) -> int:
        """Number of followers that the pump writes to."""
        return sum(len(group.followers) for group in self.live.values()) + len(self.filtered)

    @property
    def present(self) -> list[Follower]:
        """Those that have read all that there is: the live, and the early."""
        live = [follower for group in self.live.values() for follower in group.followers]
        return [*live, *self.filtered, *self.early]

    # --- called by followers

    def moved(self, follower: Follower, before: State | None) -> None:
        """Put a follower into the lists of its new state, and remove it from those of its former state.

        Args:
            before: the state that it had; None if it has just been made.
        """
        if before is State.LIVE and follower.filter is None:
            self.live[follower.codec].remove(follower)
        elif before is State.LIVE:
            del self.filtered[follower]
        if follower.state is State.LIVE and follower.filter is None:
            self._group(follower.codec).add(follower)
        elif follower.state is State.LIVE:
            self.filtered[follower] = None
        if follower.state is State.ENDED:  # no round may come for long, and until then its connection would be held
            self.early.pop(follower, None)
        if follower.state is State.BEHIND:
            if holds_publishers(follower.policy):
                self.watched[follower] = None
        elif follower in self.watched:
            # It caught up, or ended: either way no publisher may go on waiting for it.
            del self.watched[follower]
            self._look_again()

    def advanced(self, follower: Follower) -> None:
        """Have waiting publishers look again: a follower that is behind was sent something."""
        if follower in self.watched:
            self._look_again()

    def wait_for_round(self, follower: Follower) -> None:
        """Have a follower told when the next round begins."""
        self.early[follower] = None

    # --- for the pump

    def recipients(self) -> list[tuple[Codec, LiveGroup, Recipients]]:
        """Return all live followers that see every event, as they are now, codec by codec."""
        return [(codec, group, group.recipients()) for codec, group in self.live.items() if group.followers]

    def all_fall_behind(self) -> None:
        """Make all live followers fall behind: the window has a hole, and their writers read from the log."""
        for group in self.live.values():
            for follower in group.followers[:]:  # a copy: `fall_behind` takes each out of the list itself
                follower.fall_behind()
        for follower in list(self.filtered):
            follower.fall_behind()

    def wake(self) -> None:
        """Wake the polls that wait, and the followers that had read past the last round: there is more to read."""
        early, self.early = self.early, {}
        for follower in early:
            follower.owner.fell_behind(follower)
        # Counted, besides the scopes that are cancelled: a poll that was reading from the log during the round sees by
        # the number that it missed one, and reads again instead of waiting.
        self.rounds += 1
        parked, self._parked = self._parked, {}
        for scope in parked:
            scope.cancel()

    # --- for polls and publishers

    def park(self, scope: trio.CancelScope, hear: Hear | None = None) -> None:
        """Have the next round cancel this, until :meth:`unpark`; and so what is told, where ``hear`` takes it."""
        self._parked[scope] = hear

    def unpark(self, scope: trio.CancelScope) -> None:
        """Cancel this no more."""
        self._parked.pop(scope, None)

    def tell(self, event: Event) -> int:
        """Tell the polls that wait something that is only for now: they wait no longer. Return how many took it.

        Args:
            event: what is told, in the form of an event. It has no place in the channel.
        """
        took = [scope for scope, hear in list(self._parked.items()) if hear is not None and hear(event)]
        for scope in took:
            del self._parked[scope]
            scope.cancel()
        return len(took)

    async def room(self, look_seconds: float) -> None:
        """Wait while the policy of a watched follower makes publishers wait.

        Args:
            look_seconds: how often policies are asked again although no follower was sent anything.

        Cancellation: nothing is lost.
        """
        # Every policy is asked, and not only until the first says BLOCK: to be asked is also how a follower notices
        # that its time is over (`block` then says DISCONNECT). The timeout is there for the same reason: that time
        # passes without a call of `_look_again`.
        while [follower for follower in list(self.watched) if _holds_up(follower)]:
            if self._room is None:
                self._room = trio.Event()
            with trio.move_on_after(look_seconds):
                await self._room.wait()

    # --- for the windows

    def rest(self) -> None:
        """Let go of what only followers need: the last listener has left."""
        self.live.clear()
        self.window.rest()

    def _group(self, codec: Codec) -> LiveGroup:
        group = self.live.get(codec)
        if group is None:
            group = self.live[codec] = LiveGroup()
        return group

    def _look_again(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None


async def next_round(audiences: Sequence[Audience], park: Park, hears: Sequence[Hear | None] | None) -> None:
    """Wait until the next round of any of some channels begins.

    Args:
        audiences: the channels' own.
        park: where the caller's task waits meanwhile; a round cancels it. So one task can wait for a round and for its
            client's end at once.
        hears: for each of them what is asked to take what is told meanwhile. Where it does, the wait is over too. None:
            nothing is.

    Raises:
        Exception: what ``park`` raises.

    Cancellation: nothing is lost.
    """
    with trio.CancelScope() as parked:
        for audience, hear in zip(audiences, hears or [None] * len(audiences), strict=True):
            audience.park(parked, hear)
        try:
            await park()
        finally:
            for audience in audiences:
                audience.unpark(parked)


def _holds_up(follower: Follower) -> bool:
    """Tell whether publishers have to wait for a follower.

    An error of its policy does not reach them: the follower's own writer asks the policy too, and meets it there.
    """
    try:
        return follower.judge() is Step.BLOCK
    except Exception:
        return False
