"""Reducers: a channel's state, made of its events one after the other, and kept beside the log.

The state is kept as an event of a hidden channel, of which one event is kept (``triolet.snapshot/…``): so each log
keeps it as it keeps events, and no log needs to know of it. Whoever asks is given the kept state with what came since.
So a kept state that is old costs time, and nothing else, and two processes that keep the same one do no harm.

What is kept must not be older than what retention keeps of the channel. So a process that serves keeps it up to date
(:class:`Keeper`), by the log's tail: after so many events, and before those that it does not have become too old.
"""

from __future__ import annotations

import logging
import math
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from heapq import heappop, heappush
from inspect import iscoroutinefunction
from random import Random
from typing import Any, Final

import msgspec
import trio

from ..bounds import LOG_RETRY_SECONDS, REDUCER_NAME_CHARACTERS, SNAPSHOT_SECONDS, SNAPSHOT_SPREAD_SECONDS
from ..errors import ConfigError, CursorError, LogError, SnapshotError, named, only_exceptions, str_of, where
from ..event import DELETED, OWN_PREFIX, Cursor, Draft, Event
from ..limits import SNAPSHOTS, Limits
from ..log.checked import append_checked, channels_checked, head_checked, read_checked, status_checked
from ..log.contract import EventLog, Page
from ..log.steps import listening
from ..pattern import Pattern
from ..value import encode_json
from .snapshots import Snapshot, check_size, failed

__all__ = ["Keeper", "Reducer"]

logger = logging.getLogger("triolet.hub")

OLDEST: Final = Cursor("", 0)
"""Asks for all that is kept."""

_decode: Final = msgspec.json.Decoder().decode


class Reducer:
    """Makes a channel's state of its events, and keeps it beside the log.

    ::

        def add(cart: dict, event: Event) -> dict:
            cart[event.key] = event.data
            return cart

        carts = Reducer(add, initial={}, name="carts", channels="carts/*")

        @live.channel("/carts/<cart_id>/events", snapshot=carts)
        async def cart_events(cart_id: str) -> str:
            return f"carts/{cart_id}"

    Args:
        reduce: an ordinary function of the state and the next event, that returns the new state: any JSON value. It may
            change what it is given. It is called in the event loop, again and again, so it must be quick, and depend on
            nothing else. An event on which it raises is passed over: that is logged, and counted in ``missed``; what it
            has changed by then stays.
        initial: the state before the first event: a JSON value.
        name: under which the state is kept, in all processes of the log. Give another one where ``reduce`` changes its
            mind: the states are then made anew, of what retention has kept.
        channels: of which channels the state is kept up to date, as a pattern. It is made of other channels as well,
            when it is asked for.
        every: after how many events it is kept anew.

    Raises:
        ConfigError: the app's fault; one of them cannot be.
        DataError: the app's fault; ``initial`` is no JSON value, or ``name`` no text that can be encoded.
    """

    __slots__ = ("_initial", "_reduce", "channels", "every", "name")

    is_shared = True

    def __init__(
        self,
        reduce: Callable[[Any, Event], Any],
        *,
        initial: Any = None,
        name: str,
        channels: str = "*",
        every: int = 256,
    ) -> None:
        if not callable(reduce) or iscoroutinefunction(reduce):
            raise ConfigError(
                f"a Reducer is made of an ordinary function of a state and an event, not of {reduce!r:.80}"
            )
        if not isinstance(name, str) or not 1 <= len(name) <= REDUCER_NAME_CHARACTERS:
            raise ConfigError(f"Reducer(name=…) is text of 1 to {REDUCER_NAME_CHARACTERS} characters, not {name!r:.60}")
        if type(every) is not int or every < 1:
            raise ConfigError(f"Reducer(every=…) is a number of events, at least 1, not {every!r:.60}")
        encode_json(name)
        self._reduce = reduce
        self._initial = encode_json(initial)
        self.name = name
        self.channels = Pattern(channels)
        self.every = every

    async def take(self, log: EventLog, limits: Limits, channel: str) -> Snapshot:
        """Return a channel's state of now: what was kept, with what came since.

        Raises:
            SnapshotError: the app's fault; the state is no JSON value, or too large.
            LogError: the log cannot be read.

        Bounds: ``limits.snapshot_seconds``. What is kept is made without that bound.

        Cancellation: nothing is lost.
        """
        with trio.move_on_after(limits.snapshot_seconds):
            return await self._go_on(log, limits, channel, await self._kept(log, channel))
        raise failed(channel, f"{self!r} was not done in limits.snapshot_seconds")

    async def keep(self, log: EventLog, limits: Limits, channel: str, least: int = 1) -> int:
        """Keep a channel's state of now, if so many events at least have come since it was kept.

        Returns:
            How many events the kept state does not have.

        Raises:
            SnapshotError, LogError: as :meth:`take`.

        Cancellation: it is kept, or the one before is.
        """
        kept, head = await self._kept(log, channel), await head_checked(log, channel)
        if kept is not None and kept.cursor.epoch == head.epoch and 0 <= head.offset - kept.cursor.offset < least:
            return head.offset - kept.cursor.offset
        made = await self._go_on(log, limits, channel, kept)
        said = {
            "name": self.name,
            "channel": channel,
            "cursor": str(made.cursor),
            "missed": made.missed,
            "json": made.json.decode(),  # as a text: a state may be nested as deep as an event, and this is around it
        }
        await append_checked(log, self._place(channel), [Draft.of(said)])
        return 0

    def _place(self, channel: str) -> str:
        return _written_at([self.name, channel])

    async def _kept(self, log: EventLog, channel: str) -> Snapshot | None:
        for said in await _read_kept(log, self._place(channel)):
            try:
                if (said["name"], said["channel"]) == (self.name, channel):
                    return Snapshot(Cursor.parse(said["cursor"]), _kept(said), said["missed"])
            except (CursorError, KeyError, TypeError, msgspec.DecodeError):  # not of ours: as if there were none
                continue
        return None

    async def _go_on(self, log: EventLog, limits: Limits, channel: str, kept: Snapshot | None) -> Snapshot:
        made = _Making(self._initial) if kept is None else _Making(kept.json, kept.cursor, kept.missed)
        head = None
        while made.cursor != head:
            page = await read_checked(log, channel, made.cursor, limit=limits.page_events, max_bytes=limits.page_bytes)
            head = page.head
            if page.gap is not None and page.gap.reason != "expired":  # another life of the log: what was is no more
                made = _Making(self._initial)
                if page.gap.reason == "future":
                    continue
            lost = _lost(page, made.cursor)
            deleted = (await status_checked(log, channel)).deleted if lost != 0 and log.can_end else None
            if deleted is not None and deleted.offset > made.cursor.offset:
                made = _Making(self._initial)
                if deleted.offset > _first(page):  # since the page was read
                    continue
                lost = max(0, _first(page) - 1 - deleted.offset)  # 0 too where it is in the page
            made.miss(lost)
            for event in page.events:
                if event.ends and event.json == DELETED:
                    made = _Making(self._initial)
                elif not event.ends:
                    self._take(made, event)
            made.cursor = page.events[-1].cursor if page.events else page.head
        state, cursor, missed = made.state, made.cursor, made.missed
        try:
            json = encode_json(state)
        except Exception as error:
            raise failed(channel, f"what {named(self._reduce)} returned {str_of(error)}") from error
        return check_size(channel, Snapshot(cursor, json, missed), limits)

    def _take(self, made: _Making, event: Event) -> None:
        try:
            with only_exceptions():
                made.state = self._reduce(made.state, event)
        except Exception as error:
            logger.error("the reducer %r failed on %s: %s", self.name, event.cursor, where(error))
            made.miss(1)

    def __repr__(self) -> str:
        return f"Reducer({self.name!r})"


async def _read_kept(log: EventLog, place: str) -> list[Any]:
    """Return what a hidden channel holds, the newest first. Raises LogError."""
    page = await read_checked(log, place, Cursor("", 0), limit=1 << 10, max_bytes=1 << 40)
    found = []
    for event in reversed(page.events):
        with suppress(msgspec.DecodeError):
            found.append(_decode(event.json))
    return found


def _kept(said: Any) -> bytes:
    # Logs hold states of before they were texts, too; what they were made of may be gone.
    return msgspec.json.encode(_decode(said["json"]) if "json" in said else said["state"])


def _written_at(named: list[str]) -> str:
    """Return the hidden channel of something with names: they may be as long as any channel's, and no prefix has room
    beside them."""
    digest = sha256(encode_json(named)).digest()
    return f"{SNAPSHOTS}{urlsafe_b64encode(digest).decode().rstrip('=')}"


class _Making:
    """A state that is being made: up to where, and how many events are not in it."""

    __slots__ = ("cursor", "missed", "state")

    def __init__(self, json: bytes, cursor: Cursor = OLDEST, missed: int | None = 0) -> None:
        self.state = _decode(json)
        self.cursor = cursor
        self.missed = missed

    def miss(self, count: int | None) -> None:
        """So many events are not in it."""
        self.missed = None if count is None or self.missed is None else self.missed + count


def _lost(page: Page, after: Cursor) -> int | None:
    """How many events are missing before a page; None where nobody knows."""
    if page.gap is not None and page.gap.reason == "expired":
        return page.gap.missed
    if after != OLDEST:
        return 0
    return _first(page) - 1


def _first(page: Page) -> int:
    """Offset of a page's first event, or of the next that comes."""
    return page.events[0].offset if page.events else page.head.offset + 1


class Keeper:
    """Keeps the states of reducers up to date, as one process: all processes of a log may do so at once.

    Args:
        log: open while :meth:`run` runs.
        limits: of the log.
        reducers: whose states are kept.
        random: draws how long a process waits, so that another one may have done it meanwhile.

    Bounds: an entry for each channel that has grown since its state was kept.
    """

    def __init__(self, log: EventLog, limits: Limits, reducers: Sequence[Reducer], random: Random) -> None:
        self._log = log
        self._limits = limits
        self._reducers = reducers
        self._random = random
        self._grown: dict[tuple[Reducer, str], int] = {}
        self._due: dict[tuple[Reducer, str], float] = {}
        self._line: list[tuple[float, int, tuple[Reducer, str]]] = []
        self._number = 0
        self._some = trio.Event()

    async def run(self) -> None:
        """Keep until cancelled.

        Cancellation: what is kept is a little older.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            nursery.start_soon(self._look_at_all)  # something may have come while nobody served
            nursery.start_soon(self._keep_all)

    async def _listen(self) -> None:
        with listening(self._log) as steps:
            async for events in steps:
                if not events:  # some of any channel were lost
                    await self._look_at_all()
                for event in events:
                    for what in self._meant(event.channel):
                        self._note(what, event)

    async def _look_at_all(self) -> None:
        """Have the states of all channels looked at, one after the other. A log that has no list of them cannot."""
        names = [""]
        while names and self._log.can_end:
            try:
                names = await channels_checked(self._log, after=names[-1])
            except LogError:
                await trio.sleep(LOG_RETRY_SECONDS)
                continue
            for name in names:
                for what in self._meant(name):
                    self._put(what, trio.current_time() + self._random.uniform(0, SNAPSHOT_SECONDS))

    def _meant(self, channel: str) -> list[tuple[Reducer, str]]:
        if channel.startswith(OWN_PREFIX):
            return []
        return [(reducer, channel) for reducer in self._reducers if reducer.channels.matches(channel)]

    def _note(self, what: tuple[Reducer, str], event: Event) -> None:
        grown = self._grown[what] = self._grown.get(what, 0) + 1
        if grown == 1:
            self._put_in_time(what)
        if grown == what[0].every or event.ends:
            self._put(what, trio.current_time() + self._random.uniform(0, SNAPSHOT_SPREAD_SECONDS))

    def _put_in_time(self, what: tuple[Reducer, str]) -> None:
        """Have it kept before retention drops what it does not have."""
        seconds = min(SNAPSHOT_SECONDS, self._limits.kept(what[1]).seconds / 4)
        self._put(what, trio.current_time() + seconds)

    def _put(self, what: tuple[Reducer, str], at: float) -> None:
        if at < self._due.get(what, math.inf):
            self._due[what] = at
            self._number += 1
            heappush(self._line, (at, self._number, what))
            self._some.set()

    async def _keep_all(self) -> None:
        while True:
            self._some = trio.Event()
            with trio.move_on_at(self._line[0][0] if self._line else math.inf):
                await self._some.wait()
            while self._line and self._line[0][0] <= trio.current_time():
                at, _, what = heappop(self._line)
                if self._due.get(what) == at:
                    await self._keep_one(what)

    async def _keep_one(self, what: tuple[Reducer, str]) -> None:
        reducer, channel = what
        grown = self._grown.pop(what, 0)
        del self._due[what]
        try:
            # Where many have come, all processes are about to do this: then another one's is good enough.
            least = max(1, reducer.every // 4) if grown >= reducer.every else 1
            lacks = await reducer.keep(self._log, self._limits, channel, least)
        except LogError:
            self._put(what, trio.current_time() + LOG_RETRY_SECONDS)
        except SnapshotError:  # the app's fault; it is logged, and the next event tries again
            return
        except Exception as error:  # or no other state would be kept any more
            logger.error("the state of %r is not kept: %s", channel, where(error))
        else:
            if lacks:
                self._put_in_time(what)
