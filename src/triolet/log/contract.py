"""The contract of a log. All logs (memory, SQLite, Redis, and one of a user's own) are held to it by one conformance
suite, ``triolet.testing.check_log``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Final, Protocol, runtime_checkable

import msgspec

from ..bounds import LOG_PATIENCE_SECONDS
from ..errors import ChannelEnded, ConfigError, DataError
from ..event import END, Cursor, Draft, Event, Gap

__all__ = [
    "NOTHING_KEPT",
    "EventLog",
    "JoinsTransactions",
    "Kept",
    "Page",
    "Status",
    "check_order",
    "check_repeated",
    "resume",
]


class Page(msgspec.Struct, frozen=True):
    """What a read returned.

    Attributes:
        events: the events after the cursor, in order, without a hole.
        gap: what was lost before ``events``; None if nothing was.
        head: the newest event's cursor at the moment of reading. The page was cut short by a bound exactly when its
            last event is before it.
    """

    events: tuple[Event, ...]
    gap: Gap | None
    head: Cursor


class Status(msgspec.Struct, frozen=True):
    """How far a channel has come.

    Attributes:
        head: the newest event's cursor. It stays when retention has dropped that event.
        end: the event that has ended the channel, which is then its newest; None: it goes on.
        deleted: where the event stands, or stood, that took the place of what was deleted last; None: nothing was. It
            stays when the channel goes on, for those who keep something that they have made of its events.
    """

    head: Cursor
    end: Event | None = None
    deleted: Cursor | None = None


class Kept(msgspec.Struct, frozen=True):
    """What a log keeps under a key: the answer of what was done, or that it is being done.

    Attributes:
        print: the fingerprint of what was asked, as it was claimed; empty where nothing is kept (any more).
        answer: what was answered; None while it is still running, by another holder.
    """

    print: bytes
    answer: bytes | None


NOTHING_KEPT: Final = Kept(b"", None)
"""What a commit returns whose claim has lapsed, where nobody has claimed the key since."""


class EventLog(ABC):
    """The store of channels. What an acknowledgement means is in each log's own docstring.

    A channel exists as soon as it is named: its head is then ``<epoch>.0``.
    """

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[EventLog]:
        """Open the log for the time of an ``async with`` block. All other methods need it open.

        Raises:
            LogError: the store's fault; it cannot be opened, and the message says what to do.
        """

    @abstractmethod
    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Store drafts in order, all or none, and return them as events.

        A draft whose ``dedupe`` the channel still remembers is not stored again: the event returned for it
        is the first one. It is remembered at least as long as that event is kept.

        Args:
            channel: its name, checked by the caller.
            drafts: the events to store. An empty sequence stores nothing.

        Returns:
            One event for each draft, in their order.

        Raises:
            ChannelEnded: the app's fault; the channel has ended, and one of the drafts at least is no repeat. Nothing
                was stored.
            LogError: the store's fault; nothing was stored, and nothing will be announced.
            LogUncertain: the store went away; the events may be stored. A repeat with the same ``dedupe`` is safe.

        Cancellation: all were stored and announced, or none; which of the two is not known.
        """

    @abstractmethod
    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        """Return the events after a cursor. If some of them are lost the page says so: see Page and :func:`resume`.

        Args:
            channel: its name.
            after: the cursor that the client has.
            limit: most events.
            max_bytes: most bytes of their data.

        Raises:
            LogError: the store's fault; it cannot be read.

        Bounds: ``limit`` and ``max_bytes``, but one event at least if there is one.

        Cancellation: nothing is lost.
        """

    @abstractmethod
    async def head(self, channel: str) -> Cursor:
        """Return the cursor of the newest event. It stays when retention has dropped that event.

        Raises:
            LogError: the store's fault; it cannot be read.

        Cancellation: nothing is lost.
        """

    @abstractmethod
    def tail(self) -> AbstractContextManager[AsyncIterator[Sequence[Event]]]:
        """Listen to what is appended from now on, by any process, in order within each channel.

        Each step yields the events that came since the last one. An empty step tells a listener that it has lost some,
        before those that are left: what was lost may be any channel's newest, so it asks the log. An empty step also
        tells of a new epoch that begins while the log is open, and no event of the earlier one comes after it.

        Raises:
            NotServingError: the app's fault; the log is not open.

        Bounds: a listener that stays behind loses the oldest events. No append ever waits for a listener.

        Cancellation: nothing is lost; what was not taken comes with the next step.
        """

    # --- ends, and which channels there are: a log of one's own may leave these out, and its channels then never end

    @property
    def can_end(self) -> bool:
        """Whether there are :meth:`status`, :meth:`delete` and :meth:`channels`, and :meth:`append` keeps to ends."""
        return type(self).delete is not EventLog.delete

    async def status(self, channel: str) -> Status:
        """Return how far a channel has come, and whether it has ended: what :meth:`head` says, and the end.

        A channel ends by an event of :meth:`Draft.ending`. Retention never drops that one: who comes late still hears
        of the end.

        Raises:
            LogError: the store's fault; it cannot be read.

        Cancellation: nothing is lost.
        """
        return Status(await self.head(channel))

    async def delete(self, channel: str) -> Event:
        """Forget all events of a channel, and what their ``dedupe`` said, in one step. Its head stays, so that a cursor
        into what was deleted is a gap.

        One event takes their place, of the name :data:`END` and the data ``{"outcome": "deleted"}``: followers in all
        processes hear of it as of an end. The channel takes events again, and the first one drops it.

        Returns:
            That event.

        Raises:
            ConfigError: the app's fault; this log cannot delete.
            LogError: the store's fault; nothing was deleted.
            LogUncertain: the store went away; it may be deleted. A repeat is safe.

        Cancellation: it was deleted and announced, or not; which of the two is not known.
        """
        raise _without_ends(self)

    async def channels(self, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
        """Return the names of channels of which an event is kept, in the order of their UTF-8 bytes.

        Args:
            prefix: with which their names begin.
            after: the name to go on behind; empty for the first page.
            limit: most names, at least 1.

        Raises:
            ConfigError: the app's fault; this log does not tell.
            LogError: the store's fault; it cannot be read.

        Bounds: ``limit`` names. One of which retention has just dropped the last event may be among them.

        Cancellation: nothing is lost.
        """
        raise _without_ends(self)

    # --- what happens once: a log of one's own may leave these out, and its app then has no commands

    @property
    def can_commit(self) -> bool:
        """Whether there are :meth:`claim`, :meth:`commit` and :meth:`release`."""
        return type(self).commit is not EventLog.commit

    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        """Begin what is to happen once, whichever process is asked for it, and however often.

        Args:
            key: names it, in 32 bytes: a SHA-256.
            print: the fingerprint of what is asked, in 32 bytes; it is given back with what is kept.
            holder: names who does it, in 1 to 64 bytes. Claiming again with the same holder renews the claim.
            seconds: after which the claim lapses by itself, should its holder have died.

        Returns:
            None where the key is held by this holder now; else what is kept, or is running, there.

        Raises:
            ConfigError: the app's fault; this log has no such thing.
            LogError: the store's fault. The key may be held all the same, until its seconds are over; a repeat with the
                same holder is safe.

        Cancellation: it is held or not; which of the two is not known. :meth:`release` it, or let it lapse.
        """
        raise _without_commands(self)

    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Sequence[tuple[str, Sequence[Draft]]]
    ) -> list[list[Event]] | Kept:
        """Store events of any channels, and the answer under the key, in one transaction: all of it or nothing.

        Repeated with the same holder and the same writes it takes effect once, and returns the same events.

        Args:
            key: what was claimed.
            holder: who has claimed it.
            answer: what a repeat is answered.
            seconds: how long the answer is kept; afterwards the key may be claimed anew.
            writes: channels, checked by the caller, and what is to be appended to them, in this order. As in
                :meth:`append`, a draft whose ``dedupe`` its channel remembers is not stored again.

        Returns:
            For each of the writes its events, one for each draft. Or, where the key is not held by this holder, or not
            any more, what is kept there; then nothing was stored.

        Raises:
            ChannelEnded: the app's fault; one of the channels has ended. Nothing was stored, and the key is held as
                before.
            ConfigError: the app's fault; this log has no such thing, or cannot store such writes together.
            DataError: the app's fault; it is repeated with other writes.
            LogError: the store's fault; nothing was stored, nothing will be announced, and the key is held as before.
            LogUncertain: the store went away; all of it may be stored. A repeat is safe.

        Cancellation: all was stored and announced, or nothing; which of the two is not known.
        """
        raise _without_commands(self)

    async def release(self, key: bytes, holder: bytes) -> None:
        """Give a claim back: nothing has happened, and the next may claim. Does nothing where the key is not held by
        this holder, or is answered already.

        Raises:
            ConfigError: the app's fault; this log has no such thing.
            LogError: the store's fault; the claim lapses when its seconds are over.

        Cancellation: it was given back, or lapses when its seconds are over.
        """
        raise _without_commands(self)

    # --- for followers

    @property
    def stale(self) -> bool:
        """Whether the log is unavailable, so that followers may have been told less than there is.

        They stay connected, and are told in heartbeats. A log that cannot be unavailable need not override this.
        """
        return False

    # --- for all that wait for it

    @property
    def patience(self) -> float:
        """For how many seconds an answer of this log is waited for. Who waits is then told :class:`LogUncertain` where
        something may have been stored, and :class:`LogAway` elsewhere.

        Triolet's own logs bound that by themselves, each in its way, and say infinity.
        """
        return LOG_PATIENCE_SECONDS


@runtime_checkable
class JoinsTransactions(Protocol):
    """What a log may have besides: it stores within a transaction of the app's own, in the same file."""

    async def append_within(self, connection: object, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Append as :meth:`EventLog.append` does, to be committed or rolled back by the app."""


def _without_ends(log: EventLog) -> ConfigError:
    return ConfigError(
        f"{type(log).__name__} knows no ends and no list of its channels: give it status, delete and channels, see "
        "triolet.log.EventLog"
    )


def _without_commands(log: EventLog) -> ConfigError:
    return ConfigError(
        f"{type(log).__name__} keeps no answers, so an app with this log can have no commands: give it claim, commit "
        "and release, see triolet.log.EventLog"
    )


def resume(after: Cursor, epoch: str, oldest: int, head: int) -> tuple[int, Gap | None]:
    """Decide where reading goes on after a cursor, and what is lost.

    Every log decides this here, so that all of them tell the same gaps.

    Args:
        after: the cursor that the client has. An empty epoch means the present one; a bare 0 asks for the oldest kept.
        epoch: the log's present epoch.
        oldest: offset of the oldest event kept; ``head + 1`` if none is kept.
        head: offset of the newest event ever appended.

    Returns:
        The offset after which to read, and the gap to announce before it, if any.
    """
    # The order of these questions matters. Another epoch comes first: its offsets say nothing here. Then a cursor past
    # the end: to answer it with "nothing new" would hide that its client has seen events that are lost.
    had = Cursor(after.epoch or epoch, after.offset)
    if had.epoch != epoch:
        return oldest - 1, Gap(had, Cursor(epoch, oldest - 1), None, "epoch")
    if had.offset > head:
        return head, Gap(had, Cursor(epoch, head), None, "future")
    if had.offset >= oldest - 1:
        return had.offset, None
    if after == Cursor("", 0):
        return oldest - 1, None
    return oldest - 1, Gap(had, Cursor(epoch, oldest - 1), oldest - 1 - had.offset, "expired")


def with_hole(gap: Gap | None, after: Cursor, position: Cursor, start: int) -> Gap | None:
    """Return the gap before a page whose first events somebody has deleted from the store.

    Args:
        gap: what :func:`resume` has said.
        after: the cursor that the client has.
        position: where reading would go on.
        start: the offset before the first event that is left.
    """
    to, missed = Cursor(position.epoch, start), start - position.offset
    if gap is not None:
        return Gap(gap.after, to, None if gap.missed is None else gap.missed + missed, gap.reason)
    return None if after == Cursor("", 0) else Gap(position, to, missed, "expired")


def check_repeated(writes: Sequence[tuple[str, Sequence[Draft]]], counts: Sequence[int]) -> None:
    """Check that a commit which is repeated has as many writes, of as many drafts, as it had.

    Raises:
        DataError: the app's fault; it has others.
    """
    if [len(drafts) for _, drafts in writes] != list(counts):
        raise DataError(
            f"a commit is repeated with other writes than it had ({len(counts)}, of {sum(counts)} drafts); what was "
            "stored is as it was"
        )


def check_order(writes: Sequence[tuple[str, Sequence[Draft]]]) -> None:
    """Check that nothing comes after an end that it would be stored together with.

    Raises:
        ChannelEnded: the app's fault; something does.
    """
    ended: set[str] = set()
    for channel, drafts in writes:
        for draft in drafts:
            if draft.name == END:
                ended.add(channel)
            elif channel in ended:
                raise ChannelEnded(channel)
