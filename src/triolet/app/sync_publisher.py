"""Publishing from programs without Trio: Flask, Django, Celery, threads and notebooks."""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import trio

from ..bounds import PUBLISHER_GOODBYE_SECONDS
from ..errors import ConfigError, LogAway, LogUncertain, NotServingError
from ..event import Draft, Event
from ..limits import Limits
from ..log import EventLog
from ..log.checked import append_checked, append_within_checked, delete_checked
from ..log.contract import JoinsTransactions
from ..sync.portal import Portal, PortalOver
from .apps import is_in_memory
from .open_log import open_log
from .publishing import drafts_of, ending_of, publishable

__all__ = ["SyncPublisher"]

logger = logging.getLogger("triolet")

T = TypeVar("T")

_all: Final[set[weakref.ref[SyncPublisher]]] = set()
"""Those of this process, which rest while it forks, and are closed at its end. No WeakSet, and no lock: another thread
may make one while these are gone through, and a lock that it holds at a fork stays locked in the child."""


class SyncPublisher:
    """Publishes from code that has no Trio: Flask, Django, Celery, a thread, a notebook. Each call waits until its
    event is in the log. Whoever serves the same log, in other processes, hears of it at once.

    ::

        publisher = SyncPublisher("redis://localhost/0")

        @app.post("/orders/<order_id>/pay")                    # Flask
        def pay(order_id):
            publisher.publish(f"orders/{order_id}", {"state": "paid"}, name="order-status")
            return "", 204

    Make one for the process, where its settings are. It opens the log with the first call, in a thread of its own, and
    any thread may call it, several at once. As a context manager it opens the log at once, and is closed at the end.

    In a process that is forked (Celery's workers, gunicorn with ``preload_app``, ``multiprocessing``) it rests: its
    connections are closed before each fork, when the calls that go on have ended, and each of the processes opens its
    own with its next call.

    Args:
        log: a URL, as ``Triolet(log=…)`` takes it: ``sqlite:///events.db``, ``redis://localhost/0``; or an
            :class:`EventLog` of your own. The same as the app's that serves it.
        limits: as the app has them. Of each channel the process that appends keeps ``keep_events``, ``keep_seconds``
            and ``keep_bytes``, or what ``keep`` says of it: with less here, events are dropped that the app would keep.
        timeout: the longest that a call waits, in seconds. It is more than ``limits.away_seconds`` and
            ``limits.lock_seconds`` by default, so that a log that is away or locked says so itself.

    Raises:
        ConfigError: there is no such log, or it is in memory, which no other process would hear of.

    Bounds: one thread, and the log's own connections and threads. It hears what all processes append, as each process
    with the log does.

    Cancellation: Ctrl-C ends a wait; what was being published is stored or not. A repeat with ``dedupe`` is safe.
    """

    def __init__(self, log: str | EventLog, *, limits: Limits | None = None, timeout: float = 10.0) -> None:
        if not isinstance(log, str | EventLog):
            raise ConfigError(f'log= is a URL, as "redis://localhost/0", or an EventLog, not {log!r:.60}')
        if is_in_memory(log):
            raise ConfigError(
                "a log in memory is known to its own process only, so nobody would hear of what is published here: "
                "use sqlite:///events.db or redis://localhost/0, here and in the app"
            )
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
            raise ConfigError(f"timeout= is a number of seconds above 0, not {timeout!r:.60}")
        if not isinstance(limits, Limits | None):
            raise ConfigError(f"limits= is a Limits, the app's, not {limits!r:.60}")
        self.limits = limits or Limits()
        self.timeout = timeout
        self._make: Callable[[], EventLog] = partial(_made, log, self.limits)
        self._make()  # what is wrong with the URL is said here
        self._closed = self._lost = False
        self._portal: Portal[EventLog] | None = None
        self._calls = 0
        self._forks = 0
        self._forget()
        _all.add(weakref.ref(self, _all.discard))

    def open(self) -> None:
        """Open the log now, and not with the first call: to find out at the start whether it can be, and before a
        transaction of the app's own begins (``within=``).

        Raises:
            LogError: it cannot be opened; the next call tries again.
            LogAway: it was not open within ``timeout``; it may be by the next call.
            NotServingError: the publisher is closed.
            RuntimeError: called in a task of Trio's.
        """
        with self._calling() as portal:
            self._opened(portal, self.timeout)

    def publish(
        self,
        channel: str,
        data: Any,
        *,
        name: str = "message",
        key: str | None = None,
        dedupe: str | None = None,
        fold: str | None = None,
        within: object | None = None,
    ) -> Event:
        """Append an event to a channel. When this returns it is in the log, and on its way to every follower.

        Args:
            channel, data, name, key, dedupe, fold: as for :meth:`Triolet.publish`.
            within: as there: an ``apsw.Connection`` to the file of a log in SQLite, in a transaction that was begun by
                ``BEGIN IMMEDIATE``. It is this thread's until it calls, and after. The publisher must be open before
                the transaction begins: see :meth:`open`.

        Returns:
            The event, with its cursor. Of one ``within=`` it is right if that is committed.

        Raises:
            DataError, ChannelNameError, ConfigError, ChannelEnded, LogError: as :meth:`Triolet.publish`; nothing was
                stored.
            LogAway: the log cannot be reached, or was not open within ``timeout``; nothing was stored.
            LogUncertain: the log went away meanwhile, or did not answer within ``timeout``; it may be stored. A repeat
                with the same ``dedupe`` is safe.
            NotServingError: the publisher is closed; nothing was stored.
            RuntimeError: called in a task of Trio's, which would stand still meanwhile: there is ``live.publish``.
        """
        draft = Draft.of(data, name=name, key=key, dedupe=dedupe, fold=fold)
        return self.publish_many(channel, [draft], within=within)[0]

    def publish_many(self, channel: str, items: Sequence[Any], *, within: object | None = None) -> list[Event]:
        """Append events to a channel in order, all or none, and return them.

        Args:
            channel: as for :meth:`publish`.
            items: data, or ``Draft.of(data, name=…, key=…, dedupe=…)``.
            within: as for :meth:`publish`.

        Raises:
            DataError, ChannelNameError, ConfigError, ChannelEnded, LogError, NotServingError, RuntimeError: as
                :meth:`publish`.
        """
        channel, drafts = publishable(channel), drafts_of(items, self.limits)
        if within is None:
            return self._ask(lambda log: append_checked(log, channel, drafts))
        return self._ask(lambda log: append_within_checked(_joining(log), within, channel, drafts), within=True)

    def end(self, channel: str, data: Any = None) -> Event:
        """End a channel: with its last event, behind which nothing is stored. See :meth:`Triolet.end`.

        Raises:
            ConfigError: this log knows no ends.
            DataError, ChannelNameError, LogError, NotServingError, RuntimeError: as :meth:`publish`. A repeat is safe.
        """
        channel = publishable(channel)
        events = self._ask(lambda log: append_checked(log, channel, drafts_of([ending_of(log, data)], self.limits)))
        return events[0]

    def delete(self, channel: str) -> Event:
        """Forget all events of a channel, in one step and for good. See :meth:`Triolet.delete`.

        Raises:
            ConfigError: this log cannot delete.
            ChannelNameError, LogError, NotServingError, RuntimeError: as :meth:`publish`. A repeat is safe.
        """
        channel = publishable(channel)
        return self._ask(lambda log: delete_checked(log, channel))

    def close(self) -> None:
        """Close the log, when the calls that go on have ended. A second time does nothing; whatever is called then
        raises NotServingError.

        Raises:
            Exception: what closing the log has failed with.

        Bounds: ``timeout`` for the calls, and ``timeout`` for the log.
        """
        self._closed = True
        portal = self._rest()
        if portal is not None and portal.failure is not None:
            raise portal.failure

    def __enter__(self) -> Self:
        """Open the log."""
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # --- a call

    def _ask(self, question: Callable[[EventLog], Awaitable[T]], *, within: bool = False) -> T:
        give_up_at = time.monotonic() + self.timeout
        with self._calling(within=within) as portal:
            log = self._opened(portal, self.timeout)

            async def bounded() -> T:
                with trio.move_on_after(max(0.0, give_up_at - time.monotonic())):
                    return await question(log)
                raise LogUncertain(
                    f"the log has not answered within {self.timeout:g} s: this may be stored. A repeat with the same "
                    "dedupe= is safe; without one it may be stored twice"
                )

            try:
                answer: T = portal.call(bounded)
            except PortalOver:
                raise LogUncertain("the log was closed meanwhile: this may be stored") from portal.failure
            return answer

    @contextmanager
    def _calling(self, *, within: bool = False) -> Iterator[Portal[EventLog]]:
        """Count a call as going on, for the time of a block, and give it the thread to call; a new one if need be."""
        if trio.lowlevel.in_trio_run():
            raise RuntimeError(
                "the calls of a SyncPublisher wait, which a task of Trio's must not: await live.publish there"
            )
        with self._turn:
            self._turn.wait_for(lambda: not self._forks, self.timeout)
            if self._closed:
                raise NotServingError("this publisher is closed: make another one, or close it later")
            if self._lost:
                raise NotServingError(
                    "this publisher's log could not be closed before this process was forked, and is the parent's: "
                    "close the publisher before the fork"
                )
            if within and not (self._portal is not None and self._portal.is_open):
                raise ConfigError(
                    "within= needs a publisher that is open, and the log cannot be opened while your transaction has "
                    "its file: call publisher.open() before BEGIN IMMEDIATE, once in each process"
                )
            portal = self._begun()
            self._calls += 1
        try:
            yield portal
        finally:
            with self._turn:
                self._calls -= 1
                self._turn.notify_all()

    def _opened(self, portal: Portal[EventLog], seconds: float) -> EventLog:
        try:
            return portal.opened(seconds)
        except TimeoutError:
            raise LogAway(f"the log was not open within {self.timeout:g} s: nothing was stored") from None
        except PortalOver:
            raise NotServingError("this publisher was closed before its log was open: nothing was stored") from None
        except BaseException:
            with self._turn:
                if self._portal is portal and portal.ended:
                    self._let_go()  # the next call tries anew; and its error holds the frames of this one
            raise

    # --- its life

    def _begun(self) -> Portal[EventLog]:
        """The thread; a new one where there is none, or where it has failed, as those were told that called it."""
        portal = self._portal
        if portal is not None and portal.told and not portal.close(self.timeout):
            raise LogAway("the log that was to be closed before a fork is not closed yet: nothing was stored")
        if portal is not None and portal.ended:
            self._let_go()
        if self._portal is None:
            make = self._make  # and not this object, which ends its thread when nobody has it any more
            self._portal = Portal("triolet.publisher", lambda: make().open(), PUBLISHER_GOODBYE_SECONDS)
            self._finalizer = weakref.finalize(self, self._portal.cancel)
            self._finalizer.atexit = False  # it is closed then, see below
        return self._portal

    def _let_go(self) -> Portal[EventLog] | None:
        portal, self._portal = self._portal, None
        if portal is not None:
            self._finalizer.detach()
        return portal

    def _rest(self) -> Portal[EventLog] | None:
        """Wait for the calls that go on, while no other can begin, and have the thread end. Returns what had it."""
        with self._turn:
            self._turn.wait_for(lambda: not self._calls, self.timeout)
            portal = self._let_go()
        if portal is not None and not portal.close(self.timeout):
            logger.error("a publisher's log did not close within %g s", self.timeout)
            with self._turn:
                self._portal = portal
        return portal

    def _begin_fork(self) -> None:
        with self._turn:
            self._forks += 1
        self._rest()

    def _end_fork(self) -> None:
        with self._turn:
            self._forks = max(0, self._forks - 1)  # it may have been made by another thread in between
            self._turn.notify_all()

    def _forget(self) -> None:
        """Be as new: at first, and in a process that was just forked, where no other thread is."""
        # SQLite remembers within a process which locks it has on a file, and a child inherits that memory and not the
        # locks. So a log that is still open here can be used in no way in the child.
        self._lost = self._lost or self._portal is not None
        self._turn = threading.Condition()
        self._portal = None
        self._calls = self._forks = 0


def _made(log: str | EventLog, limits: Limits) -> EventLog:
    return open_log(log, limits) if isinstance(log, str) else log


def _joining(log: EventLog) -> JoinsTransactions:
    if not isinstance(log, JoinsTransactions):
        raise ConfigError(f"within= is for a log in SQLite, and this one is a {type(log).__name__}")
    return log


def _for_all(what: Callable[[SyncPublisher], object]) -> None:
    for reference in list(_all):
        if (publisher := reference()) is not None:
            what(publisher)


os.register_at_fork(
    before=partial(_for_all, SyncPublisher._begin_fork),
    after_in_parent=partial(_for_all, SyncPublisher._end_fork),
    after_in_child=partial(_for_all, SyncPublisher._forget),
)
atexit.register(_for_all, SyncPublisher.close)
