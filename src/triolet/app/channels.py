"""What an app says to its channels, and asks of them: publishing, ends, deletion, and which there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from ..bounds import CHANNELS_LISTED
from ..connection.watching import Hook, WatchHook
from ..errors import ConfigError, DataError
from ..event import OWN_PREFIX, Cursor, Draft, Event, check_channel, encode_json
from ..hub import Feed, Reducer
from ..identity.control import check_follows
from ..limits import Limits
from ..log import EventLog
from ..log.checked import channels_checked, delete_checked
from ..pattern import Pattern
from .publishing import drafts_of, ending_of, publishable
from .service import Service

__all__ = ["Channels", "check_unwatched"]

Watcher = TypeVar("Watcher", bound=WatchHook)

LAST_OWN: Final = OWN_PREFIX + "\U0010ffff" * 62
"""Comes behind the names of all channels of Triolet's own."""


class Channels(ABC):
    """The part of :class:`Triolet` that speaks to channels and asks about them, in an app and in a script."""

    limits: Limits
    _hooks: list[Hook]

    @property
    @abstractmethod
    def service(self) -> Service:
        """The log and hub of the present app. Raises NotServingError."""

    def _at_home(self, what: str) -> Service:
        """The same, in the run that serves. Raises WrongThreadError in another."""
        service = self.service
        service.check_home(what)
        return service

    async def publish(
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
            channel: 1 to 255 bytes of text, and none of Triolet's own (``triolet.…``).
            data: any JSON value, at most ``limits.event_bytes`` encoded.
            name: what kind of event it is; what ``EventSource`` calls its type.
            key: what it is about: of several with one key, the last says all.
            dedupe: a repeated publish with the same text returns the first event and appends nothing.
            fold: how it goes together with the event of the same name and key before it, for clients that come back:
                ``concat``, ``latest``, ``merge`` or ``sum``.
            within: an ``apsw.Connection`` to the file of a log in SQLite, in a transaction of the app's own that was
                begun by ``BEGIN IMMEDIATE``: the event is part of it. Followers hear of it some milliseconds after the
                app has committed (see :meth:`~triolet.sqlite.log.SqliteLog.append_within`); after a rollback it never
                was. While it is open await no other publish: all others wait for its end.

        Returns:
            The event, with its cursor. Of one ``within=`` it is right if that is committed.

        Raises:
            DataError, ChannelNameError: it cannot be published; the message says why.
            ConfigError: there is no ``within=`` with this log, or this connection will not do; the message says why.
            ChannelEnded: the channel has ended (:meth:`end`); nothing was stored.
            LogError: it was not stored, and is announced to nobody.
            LogUncertain: the log went away meanwhile; it may be stored. A repeat with the same ``dedupe`` is safe.
            NotServingError: the app is not being served.
            WrongThreadError: called from another thread or event loop than the app's; nothing was published.

        Where a follower's policy is ``block`` and it is too far behind, this waits first, as long as that says; not so
        ``within=`` a transaction.

        Cancellation: it is stored or not; repeat with ``dedupe`` to be sure.
        """
        draft = Draft.of(data, name=name, key=key, dedupe=dedupe, fold=fold)
        events = await self.publish_many(channel, [draft], within=within)
        return events[0]

    async def publish_many(self, channel: str, items: Sequence[Any], *, within: object | None = None) -> list[Event]:
        """Append events to a channel in order, all or none, and return them.

        Args:
            channel: as for :meth:`publish`.
            items: data, or ``Draft.of(data, name=…, key=…, dedupe=…)``.
            within: as for :meth:`publish`.

        Raises:
            DataError, ChannelNameError, ConfigError, ChannelEnded, LogError, NotServingError: as :meth:`publish`.
        """
        service = self._at_home("Triolet.publish")
        channel = publishable(channel)
        drafts = drafts_of(items, self.limits)
        if within is not None:
            return await service.hub.publish_within(within, channel, drafts)
        return await service.hub.publish(channel, drafts)

    def follow(self, channel: str, after: Cursor | str | int | None = None) -> Feed:
        """Follow a channel in a task of the server's own, in an app or in a script.

        ::

            async with live.follow("orders/A123", after=0) as events:
                async for item in events:
                    if isinstance(item, Event):
                        ...
            print(events.end.data)     # the channel has ended

        Args:
            channel: its name.
            after: the cursor to go on from, as text, a :class:`Cursor` or a bare offset; -50 is the newest 50 events
                and what comes; None is "from now".

        Returns:
            An async context manager (:class:`Feed`), and in its block an async iterator over :class:`Event`,
            :class:`Gap` and :class:`Live`, until the channel ends.

        Raises:
            ChannelNameError, CursorError: no such name or cursor can be.
        """
        cursor = None if after is None else Cursor.parse_after(str(after))
        return Feed(check_follows(check_channel(channel)), cursor, lambda: self._at_home("Triolet.follow").hub)

    async def state(self, channel: str, reducer: Reducer) -> tuple[Any, Cursor]:
        """Return a channel's state of now, as a reducer makes it, and the cursor of the newest event that is in it.

        ::

            @app.get("/carts/<cart_id>")
            async def show(cart_id: str):
                cart, cursor = await live.state(f"carts/{cart_id}", carts)
                return await render_template("cart.html", cart=cart, after=cursor)

        A page that is made of it, and follows from that cursor on (``?after=``), has no seam: no event between the two
        is lost, and none is counted twice. A client that asks by ``?snapshot=1`` is given the same.

        Raises:
            ConfigError: the app's fault; it is no Reducer.
            SnapshotError: the app's fault; the state is no JSON value, or too large.
            ChannelNameError: no channel can be called so.
            LogError: the log cannot be read.
            NotServingError, WrongThreadError: as :meth:`publish`.

        Bounds: ``limits.snapshot_seconds`` and ``limits.snapshot_bytes``.

        Cancellation: nothing is lost.
        """
        if not isinstance(reducer, Reducer):
            raise ConfigError(f"live.state takes a channel and a Reducer, which makes its state, not {reducer!r:.60}")
        log = self._at_home("Triolet.state").log
        made = await reducer.take(log, self.limits, check_channel(channel))
        return msgspec.json.decode(made.json), made.cursor

    # --- who watches

    def watchers(self, channel: str) -> int:
        """How many clients follow a channel at this moment: streams, WebSockets' follows, and long polls that wait.
        Short polls and the server's own tasks (:meth:`follow`) are none.

        Of this process that is exact. Of others it is what they said last, and they say it only while a task of this
        process waits in :meth:`unwatched` for the channel, or a hook of :meth:`watched` is interested in it.

        Raises:
            ChannelNameError: no channel can be called so.
            NotServingError, WrongThreadError: as :meth:`publish`.
        """
        return self._at_home("Triolet.watchers").life.watching.count(check_channel(channel))

    async def unwatched(self, channel: str, seconds: float) -> None:
        """Wait until nobody has watched a channel for so many seconds, in any process.

        ::

            with trio.CancelScope() as running:
                nursery.start_soon(work, running)
                await live.unwatched("answers/42", 30)
                running.cancel()

        Others are asked while this waits, and have a second to answer at first. While the log is away nobody knows of
        others, so it goes on waiting; a process that dies is forgotten after 15 seconds.

        Args:
            channel: its name.
            seconds: at least 1.

        Raises:
            ConfigError: no such time can be.
            ChannelNameError: no channel can be called so.
            NotServingError, WrongThreadError: as :meth:`publish`.

        Cancellation: nothing is left behind.
        """
        check_unwatched(seconds)
        await self._at_home("Triolet.unwatched").life.watching.unwatched(check_channel(channel), seconds)

    def watched(self, pattern: str) -> Callable[[Watcher], Watcher]:
        """Call a function when a channel goes from nobody who watches it to somebody, and back.

        ::

            @live.watched("answers/*")
            async def watched(channel: str, count: int) -> None:
                ...             # count is 0: nobody watches any more

        It counts the clients of all processes, as :meth:`watchers` does, and is called in each of them: somebody is
        told at once (of other processes within a second), nobody when it has been so for two seconds. Of one channel it
        is called one time after the other, outside of any request. An error of its own is logged.

        Args:
            pattern: which channels: ``*`` stands for any characters. Triolet's own are none of them.

        Raises:
            ConfigError: it is no pattern, or what is to be called is no function.
        """
        meant = Pattern(pattern)

        def register(function: Watcher) -> Watcher:
            if not callable(function):
                raise ConfigError(f"a watched hook is an async function of a channel and a count, not {function!r:.60}")
            self._hooks.append(Hook(meant, function))
            return function

        return register

    # --- what is only for now, and ends

    def tell(self, channel: str, data: Any, *, name: str = "message", key: str | None = None) -> None:
        """Tell something that is only for now ("Ann is typing") to whoever is live in a channel, or waits in a long
        poll, at this moment, in all processes.

        It is no event: nothing of it is stored, it has no cursor, and who comes later, or back, has missed it. It waits
        for nothing and delays no event: a client that catches up, or does not read, is passed over, and so are other
        processes while the log is away. An ``allow=`` function is asked about it, as about an event at the channel's
        newest cursor.

        Args:
            channel: as for :meth:`publish`.
            data: any JSON value, at most ``limits.tell_bytes`` encoded.
            name: what kind of thing it is.
            key: what it is about.

        Raises:
            DataError, ChannelNameError: it cannot be told; the message says why.
            NotServingError: the app is not being served.
            WrongThreadError: called from another thread or event loop than the app's; nothing was told.

        Bounds: ``limits.tells_per_second`` for this process. What is more is told to nobody, and counted
        (``triolet_tells_total``).
        """
        service = self._at_home("Triolet.tell")
        draft = Draft.of(data, name=name, key=key)
        if len(draft.json) > self.limits.tell_bytes:
            raise DataError(f"{len(draft.json)} bytes of JSON are more than limits.tell_bytes")
        service.life.telling.tell(publishable(channel), draft)

    async def end(self, channel: str, data: Any = None) -> Event:
        """End a channel: with its last event, behind which nothing is stored.

        Whoever follows it, in all processes, and whoever comes later, is told so, and does not come back: an event
        stream or WebSocket at the channel's own URL ends (1000, ``ended``), on a socket that follows several the
        follow is over, and the answer to a poll says so. What is kept of the channel can be read as before. Nobody is
        kept from hearing of the end, whatever his ``allow=`` or policy says.

        To end twice is to end once: the first end stays, with its data, and is returned.

        Args:
            channel: as for :meth:`publish`.
            data: any JSON value that clients get with the end: an outcome, say.

        Raises:
            ConfigError: this log knows no ends (see :class:`EventLog`).
            DataError, ChannelNameError, LogError, LogUncertain, NotServingError, WrongThreadError: as :meth:`publish`.
                A repeat is safe.

        Cancellation: it has ended or not; a repeat is safe.
        """
        events = await self.publish_many(channel, [ending_of(self.log, data)])
        return events[0]

    async def delete(self, channel: str) -> Event:
        """Forget all events of a channel, in one step and for good, whether it has ended or not.

        Followers are told of an end, with the data ``{"outcome": "deleted"}``; a cursor into what was deleted is a gap.
        The channel can be published to again, and goes on with the offsets that it had.

        Returns:
            The event that stands in the place of all others until the next is published.

        Raises:
            ConfigError: this log cannot delete.
            ChannelNameError, NotServingError, WrongThreadError: as :meth:`publish`.
            LogError: nothing was deleted.
            LogUncertain: the log went away meanwhile; it may be deleted. A repeat is safe.

        Cancellation: it was deleted or not; a repeat is safe.
        """
        service = self._at_home("Triolet.delete")
        return await delete_checked(service.log, publishable(channel))

    async def channels(self, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
        """Return the names of channels of which events are kept, in the order of their UTF-8 bytes. Triolet's own are
        not among them.

        Args:
            prefix: with which their names begin.
            after: the name to go on behind: the last of the page before.
            limit: most names, from 1 to 1,000.

        Raises:
            ConfigError: there is no such limit, or this log does not tell; or one of the others is no text.
            DataError: one of these is no text that can be encoded.
            LogError: the log cannot be read.
            NotServingError, WrongThreadError: as :meth:`publish`.

        Cancellation: nothing is lost.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= CHANNELS_LISTED:
            raise ConfigError(f"a page of channels has 1 to {CHANNELS_LISTED} names, not {limit!r:.60}")
        for part, text in (("prefix", prefix), ("after", after)):
            if not isinstance(text, str):
                raise ConfigError(f"live.channels({part}=…) is a text, as names of channels are, not {text!r:.60}")
            encode_json(text)
        service = self._at_home("Triolet.channels")
        if prefix.startswith(OWN_PREFIX):
            return []
        found: list[str] = []
        while len(found) < limit and (page := await channels_checked(service.log, prefix, after, limit)):
            found += [name for name in page if not name.startswith(OWN_PREFIX)]
            after = LAST_OWN if page[-1].startswith(OWN_PREFIX) else page[-1]
        return found[:limit]

    @property
    def log(self) -> EventLog:
        """The present app's log, to read from: ``await live.log.head(channel)``, ``live.log.read(…)``.

        Raises:
            NotServingError: the app is not being served.
        """
        return self.service.log


def check_unwatched(seconds: float) -> None:
    """Refuse what is no time for which nobody watches. Raises ConfigError."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 1:
        raise ConfigError(f"a channel is unwatched for at least 1 second, not {seconds!r:.60}")
