"""What an app says to its channels, and asks of them: publishing, ends, deletion, and which there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from ..bounds import CHANNELS_LISTED
from ..errors import ConfigError
from ..event import OWN_PREFIX, Draft, Event
from ..limits import Limits
from ..log import EventLog
from .publishing import check_drafts, publishable
from .service import Service

__all__ = ["Channels"]

LAST_OWN: Final = OWN_PREFIX + "\U0010ffff" * 62
"""Comes behind the names of all channels of Triolet's own."""


class Channels(ABC):
    """The part of :class:`Triolet` that speaks to channels and asks about them, in an app and in a script."""

    limits: Limits

    @property
    @abstractmethod
    def service(self) -> Service:
        """The log and hub of the present app. Raises NotServingError."""

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
        service = self.service
        service.check_home("Triolet.publish")
        channel = publishable(channel)
        drafts = [item if isinstance(item, Draft) else Draft.of(item) for item in items]
        check_drafts(drafts, self.limits)
        if within is not None:
            return await service.hub.publish_within(within, channel, drafts)
        return await service.hub.publish(channel, drafts)

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
        if not self.log.can_end:
            raise ConfigError(f"{type(self.log).__name__} knows no ends: see triolet.log.EventLog.delete")
        events = await self.publish_many(channel, [Draft.ending(data)])
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
        service = self.service
        service.check_home("Triolet.delete")
        return await service.log.delete(publishable(channel))

    async def channels(self, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
        """Return the names of channels of which events are kept, in the order of their UTF-8 bytes. Triolet's own are
        not among them.

        Args:
            prefix: with which their names begin.
            after: the name to go on behind: the last of the page before.
            limit: most names, from 1 to 1,000.

        Raises:
            ConfigError: there is no such limit, or this log does not tell.
            LogError: the log cannot be read.
            NotServingError, WrongThreadError: as :meth:`publish`.

        Cancellation: nothing is lost.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= CHANNELS_LISTED:
            raise ConfigError(f"a page of channels has 1 to {CHANNELS_LISTED} names, not {limit!r:.60}")
        service = self.service
        service.check_home("Triolet.channels")
        if prefix.startswith(OWN_PREFIX):
            return []
        found: list[str] = []
        while len(found) < limit and (page := await service.log.channels(prefix, after, limit)):
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
