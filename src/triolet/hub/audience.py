"""Everybody that waits for one channel's events: the live in flat lists, the early, the watched, and the polls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import trio

from ..wire.codec import Codec
from .follower import Follower, State
from .policies import Step, holds_publishers
from .window import Window

__all__ = ["Audience", "LiveGroup", "Recipients"]


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
        follower.index = len(self.followers)
        self.followers.append(follower)
        self.sends.append(follower.outlet.send)

    def recipients(self) -> Recipients:
        """Copy both lists as they are now, and the version with them."""
        return self.followers[:], self.sends[:], self.version

    def remove(self, follower: Follower) -> None:
        """Put the last follower into this one's place: constant work, whichever leaves."""
        index = follower.index
        last, send = self.followers.pop(), self.sends.pop()
        if last is not follower:
            last.index = index
            self.followers[index], self.sends[index] = last, send
        follower.index = -1
        self.version += 1


class Audience:
    """Everybody that hears one channel. A follower says only which state it is in; all lists are kept here.

    Attributes:
        window: the channel's newest events.
        live: the followers that the pump writes to, by their codec.
        early: followers that have read further than the present round, and wait for the next.
        watched: followers that are behind and may hold publishers up.
        rounds: how many rounds have begun.
        listeners: how many followers and waiting polls there are: while there is one the window stays in memory.
    """

    __slots__ = ("_changed", "_room", "early", "listeners", "live", "rounds", "watched", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.live: dict[Codec, LiveGroup] = {}
        self.early: list[Follower] = []
        self.watched: dict[Follower, None] = {}
        self.rounds = 0
        self.listeners = 0
        self._changed: trio.Event | None = None
        self._room: trio.Event | None = None

    # --- what followers tell

    def moved(self, follower: Follower, before: State | None) -> None:
        """Put a follower into the lists of its new state, and take it out of those of the one before."""
        if before is State.LIVE:
            self.live[follower.codec].remove(follower)
        if follower.state is State.LIVE:
            self._group(follower.codec).add(follower)
        if follower.state is State.BEHIND:
            if holds_publishers(follower.policy):
                self.watched[follower] = None
        elif follower in self.watched:
            del self.watched[follower]
            self._look_again()

    def advanced(self, follower: Follower) -> None:
        """A follower that is behind has got on: if publishers wait for it, they are to look again."""
        if follower in self.watched:
            self._look_again()

    def wait_for_round(self, follower: Follower) -> None:
        """Have a follower told when the next round begins."""
        self.early.append(follower)

    # --- for the pump

    def recipients(self) -> list[tuple[Codec, LiveGroup, Recipients]]:
        """All live followers as they are now, codec by codec."""
        return [(codec, group, group.recipients()) for codec, group in self.live.items() if group.followers]

    def all_fall_behind(self) -> None:
        """None of the live followers can be written to from the window: their writers read from the log."""
        for group in self.live.values():
            for follower in group.followers[:]:
                follower.fall_behind()

    def wake(self) -> None:
        """There is more to read: wake the polls that wait, and the followers that had read past the last round."""
        early, self.early = self.early, []
        for follower in early:
            if follower.state is State.BEHIND:
                follower.owner.fell_behind(follower)
        self.rounds += 1
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    # --- for polls and publishers

    async def next_round(self) -> None:
        """Wait until the next round begins. Cancelling loses nothing."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    async def room(self, look_seconds: float) -> None:
        """Wait while the policy of a watched follower holds publishers up.

        Args:
            look_seconds: how often policies are asked again though no follower has got on.

        Cancellation: nothing is lost.
        """
        while [follower for follower in list(self.watched) if _holds_up(follower)]:
            if self._room is None:
                self._room = trio.Event()
            with trio.move_on_after(look_seconds):
                await self._room.wait()

    # --- for the windows

    def rest(self) -> None:
        """The last listener has left."""
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


def _holds_up(follower: Follower) -> bool:
    """Whether publishers are to wait for a follower. Its policy's errors are not theirs: its writer meets them too."""
    try:
        return follower.judge() is Step.BLOCK
    except Exception:
        return False
