"""Who watches: how many clients follow a channel now, in this process and in the others of its log.

In this process the windows know it exactly. Of the others nothing is known until somebody asks: a process in which a
task or a hook is interested says so on the channel of what is only for now, for a lease, and the others tell it how
many watch there: when that changes, and again while it asks. So nothing is said where nobody asks, and a process that
dies is forgotten with its lease. What is known of others is late by a moment. That nobody watches is said only where
all had the time to answer.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, NamedTuple, TypeAlias

import trio

from ..bounds import WATCH_AWAY_SECONDS, WATCH_LEASE_SECONDS, WATCH_NAMES, WATCH_TELL_SECONDS
from ..errors import only_exceptions, where
from ..event import OWN_PREFIX
from ..hub import Hub
from ..identity.control import NowControl
from ..pattern import Pattern

__all__ = ["Hook", "WatchHook", "Watching"]

logger = logging.getLogger("triolet")

WatchHook: TypeAlias = Callable[[str, int], Awaitable[object]]
"""The app's: it is called with a channel, and how many watch that."""


class Hook(NamedTuple):
    """An app's function, and the channels that it is called for."""

    pattern: Pattern
    call: WatchHook


class Watching:
    """How many watch each channel, as one process knows it.

    Args:
        hub: knows it of this process.
        control: asks the others, and is asked; None where there are none.
        hooks: are called when a channel goes from nobody to somebody, and back.
        nursery: where they are.

    Bounds: a name for each channel that somebody is interested in, and a number for each process where it is watched;
    ``WATCH_NAMES`` names in one message.
    """

    def __init__(self, hub: Hub, control: NowControl | None, hooks: list[Hook], nursery: trio.Nursery) -> None:
        self._hub = hub
        self._control = control
        self._hooks = _Hooks(self, hooks, nursery)
        self._process = secrets.token_urlsafe(9)
        self._wanted: Counter[str] = Counter()  # what tasks of this process are interested in
        self._asked = _Asked()
        self._elsewhere: dict[str, dict[str, tuple[int, float]]] = {}
        self._unasked: dict[str, None] = {}
        self._untold: dict[str, None] = {}
        self._changed: dict[str, trio.Event] = {}
        self._some = trio.Event()
        self._away_until = 0.0
        hub.windows.on_watchers = self._look
        if control is not None:
            control.on("watch", self._hear_asked)
            control.on("watched", self._hear_told)

    # --- for the app

    def count(self, channel: str) -> int:
        """How many watch a channel: here, and as far as that is known, in other processes."""
        now = trio.current_time()
        return self._here(channel) + sum(
            [count for count, until in self._elsewhere.get(channel, {}).values() if until > now]
        )

    async def unwatched(self, channel: str, seconds: float) -> None:
        """Wait until nobody has watched a channel for so many seconds, in any process.

        Cancellation: nothing is left behind.
        """
        with self._interest(channel):
            since = trio.current_time() + (0 if self._control is None else 4 * WATCH_TELL_SECONDS)
            while True:
                changed = self.changed(channel)
                if self.count(channel):
                    await changed.wait()
                    since = trio.current_time()
                    continue
                since = max(since, self._away_until)
                with trio.move_on_at(since + seconds):
                    await changed.wait()
                    since = max(since, trio.current_time())
                    continue
                if not self.is_uncertain:
                    return
                since = trio.current_time()

    @property
    def is_uncertain(self) -> bool:
        """Whether others could not have said that somebody watches there."""
        return self._control is not None and (self._hub.stale or trio.current_time() < self._away_until)

    def changed(self, channel: str) -> trio.Event:
        """What is set when the number of a channel changes the next time."""
        return self._changed.setdefault(channel, trio.Event())

    async def run(self) -> None:
        """Ask others, and answer them, for ever."""
        renew_at = trio.current_time()
        while self._control is not None:
            with trio.move_on_at(renew_at if self._wanted or self._asked.names or self._hooks.texts else float("inf")):
                await self._some.wait()
            self._some = trio.Event()
            await trio.sleep(WATCH_TELL_SECONDS)  # what comes together is told together
            now = trio.current_time()
            if self._hub.stale:
                self._away_until = now + WATCH_LEASE_SECONDS
            if now >= renew_at:
                renew_at = now + WATCH_LEASE_SECONDS / 3
                self._expire(now)
                self._unasked.update(dict.fromkeys([*self._wanted, *self._hooks.texts]))
                self._untold.update(dict.fromkeys(self._watched(self._asked.matches)))
            for names in _some_of(self._unasked):
                self._control.say({"type": "watch", "process": self._process, "names": names})
            for names in _some_of(self._untold):
                counts = {name: self._here(name) for name in names}
                self._control.say({"type": "watched", "process": self._process, "counts": counts})

    # --- what others say

    def _hear_asked(self, message: Mapping[str, Any]) -> None:
        if message["process"] == self._process:
            return
        for name in self._asked.take(message["names"]):
            found = self._watched(Pattern(name).matches) if "*" in name else [name] if self._here(name) else []
            self._untold.update(dict.fromkeys(found))
        self._some.set()

    def _hear_told(self, message: Mapping[str, Any]) -> None:
        process = message["process"]
        if process == self._process:
            return
        until = trio.current_time() + WATCH_LEASE_SECONDS
        for channel, count in message["counts"].items():
            if channel not in self._wanted and not self._hooks.matches(channel):
                continue
            known = self._elsewhere.setdefault(channel, {})
            before = known.pop(process, (0, 0.0))[0]
            if count > 0:
                known[process] = count, until
            if not known:
                del self._elsewhere[channel]
            if count != before:
                self._notice(channel)

    # --- inside

    @contextmanager
    def _interest(self, channel: str) -> Iterator[None]:
        self._wanted[channel] += 1
        self._unasked[channel] = None
        self._some.set()
        try:
            yield
        finally:
            self._wanted[channel] -= 1
            if not self._wanted[channel]:
                del self._wanted[channel]
                if not self._hooks.matches(channel):
                    self._changed.pop(channel, None)
                    self._elsewhere.pop(channel, None)

    def _here(self, channel: str) -> int:
        audience = self._hub.windows.find(channel)
        return 0 if audience is None else audience.watchers

    def _watched(self, matches: Callable[[str], bool]) -> list[str]:
        """The channels that are watched here, of those that match."""
        windows = [audience.window.channel for audience in self._hub.windows if audience.watchers]
        return [channel for channel in windows if matches(channel)]

    def _look(self, channel: str) -> None:
        """Hear that the number of this process has changed."""
        if self._asked.names and self._asked.matches(channel):
            self._untold[channel] = None
            self._some.set()
        self._notice(channel)

    def _notice(self, channel: str) -> None:
        changed = self._changed.pop(channel, None)
        if changed is not None:
            changed.set()
        self._hooks.look(channel)

    def _expire(self, now: float) -> None:
        self._asked.expire(now)
        for channel, known in list(self._elsewhere.items()):
            dead = [process for process, (_, until) in known.items() if until <= now]
            for process in dead:
                del known[process]
            if not known:
                del self._elsewhere[channel]
            if dead:
                self._notice(channel)


class _Asked:
    """What other processes are interested in: names of channels and patterns, each until its lease is over."""

    def __init__(self) -> None:
        self.names: dict[str, float] = {}
        self._patterns: dict[str, Pattern] = {}

    def take(self, names: Sequence[str]) -> list[str]:
        """Take what a process is interested in. Return what was not asked for before."""
        until = trio.current_time() + WATCH_LEASE_SECONDS
        fresh = [name for name in names if name not in self.names]
        self.names.update(dict.fromkeys(names, until))
        self._patterns.update({name: Pattern(name) for name in fresh if "*" in name})
        return fresh

    def matches(self, channel: str) -> bool:
        """Whether somebody is interested in a channel."""
        return channel in self.names or any(pattern.matches(channel) for pattern in self._patterns.values())

    def expire(self, now: float) -> None:
        """Forget those whose lease is over."""
        for name in [name for name, until in self.names.items() if until <= now]:
            del self.names[name]
            self._patterns.pop(name, None)


class _Hooks:
    """The app's functions, each channel's in a task of its own: so they are called one after the other, and a slow one
    holds up no other channel."""

    def __init__(self, watching: Watching, hooks: list[Hook], nursery: trio.Nursery) -> None:
        self._watching = watching
        self._hooks = hooks
        self._nursery = nursery
        self._context = copy_context()
        self._told: set[str] = set()
        self._deciding: set[str] = set()

    @property
    def texts(self) -> list[str]:
        """The patterns."""
        return [hook.pattern.text for hook in self._hooks]

    def matches(self, channel: str) -> bool:
        """Whether one is called for a channel."""
        return not channel.startswith(OWN_PREFIX) and any(hook.pattern.matches(channel) for hook in self._hooks)

    def look(self, channel: str) -> None:
        """Look whether a channel has gone from nobody to somebody, or back."""
        if self._hooks and channel not in self._deciding and self.matches(channel) and self._differs(channel):
            self._deciding.add(channel)
            self._context.run(self._nursery.start_soon, self._decide, channel)

    def _differs(self, channel: str) -> bool:
        return (self._watching.count(channel) > 0) != (channel in self._told)

    async def _decide(self, channel: str) -> None:
        try:
            while self._differs(channel):
                if channel in self._told:
                    changed = self._watching.changed(channel)
                    with trio.move_on_after(WATCH_AWAY_SECONDS):
                        await changed.wait()
                        continue
                    if self._watching.is_uncertain:
                        continue
                    self._told.remove(channel)
                else:
                    self._told.add(channel)
                count = self._watching.count(channel)
                for hook in self._hooks:
                    if hook.pattern.matches(channel):
                        await _call(hook, channel, count)
        finally:
            self._deciding.discard(channel)


async def _call(hook: Hook, channel: str, count: int) -> None:
    try:
        with only_exceptions():
            await hook.call(channel, count)
    except Exception as error:
        logger.error("a watched hook failed: %s", where(error))
        logger.debug("its error", exc_info=error)


def _some_of(names: dict[str, None]) -> Iterator[list[str]]:
    """Take all names, as many at a time as one message has."""
    while names:
        some = list(names)[:WATCH_NAMES]
        for name in some:
            del names[name]
        yield some
