"""The record of a channel: its members according to its events, with the sessions of dead processes ended there."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence

import trio

from ..bounds import PRESENCE_DRAFTS, PRESENCE_RECORDS
from ..counters import Metrics
from ..event import Cursor, Draft, Event
from ..limits import Limits
from ..log.checked import append_checked, read_checked
from ..log.contract import EventLog
from .leases import Leases
from .members import Present, Roster
from .statements import JOIN, Statement, process_of, read

__all__ = ["Record", "Records", "apply"]

logger = logging.getLogger("triolet.presence")


class Record:
    """The sessions of a channel, up to a cursor.

    Attributes:
        cursor: the place in the channel up to which it was read.
        present: each session's last statement and when it came, by its name, in the order in which they came.
        lock: held by the task that reads on.
        swept: the number of deaths (:attr:`.Leases.deaths`) at which dead processes were last looked for.
    """

    __slots__ = ("cursor", "lock", "present", "swept")

    def __init__(self) -> None:
        self.cursor = Cursor("", 0)
        self.present: dict[str, tuple[Statement, float]] = {}
        self.lock = trio.Lock()
        self.swept = -1

    def roster(self, channel: str) -> Roster:
        """Return the roster for the app, frozen."""
        sessions = [Present(said.member, said.info, said.session, since) for said, since in self.present.values()]
        return Roster(channel, self.cursor, tuple(sessions))


class Records:
    """The records of the channels that are looked at here.

    Args:
        log: where joins and leaves are read, and the leaves of dead processes' sessions are written.
        limits: how much is read at once.
        leases: which processes are dead.
        is_over: whether a session, by the channel where it is told and its name, is one of this process's own that is
            no longer there.
        metrics: where the leaves that are written here are counted.

    Bounds: the sessions of all processes in ``PRESENCE_RECORDS`` channels.
    """

    def __init__(
        self, log: EventLog, limits: Limits, leases: Leases, is_over: Callable[[str, str], bool], metrics: Metrics
    ) -> None:
        self._log = log
        self._limits = limits
        self._leases = leases
        self._is_over = is_over
        self._metrics = metrics
        self._records: OrderedDict[str, Record] = OrderedDict()

    def is_swept(self, channel: str) -> bool:
        """Tell whether no process can have died since dead ones were last looked for in a channel."""
        return self._record(channel).swept == self._leases.deaths

    async def sweep(self, channel: str) -> Record:
        """Bring a channel's record up to date, and end the sessions there that no process has any more: those of dead
        ones, and those of this one whose leave a log has lost.

        Raises:
            LogError: the store's fault; the log cannot be read or written.

        Cancellation: some of the leaves may be written; a repeat writes the others.
        """
        record = self._record(channel)
        # One task reads on at a time; the others that ask for this roster then find it read.
        async with record.lock:
            deaths = self._leases.deaths  # before the log is asked: a death after this is looked for the next time
            await self._catch_up(channel, record)
            lost = [said for said, _ in record.present.values() if self._leases.is_dead(process_of(said.session))]
            # Of one that is just going its writer says the same: `dedupe` keeps the first.
            over = [said for said, _ in record.present.values() if self._is_over(channel, said.session)]
            leaves = [said.leaves("lost") for said in lost] + [said.leaves("left") for said in over]
            for some in _parts(leaves):
                await append_checked(self._log, channel, some)
            self._metrics.statements["lost"] += len(lost)
            self._metrics.statements["left"] += len(over)
            if lost:
                logger.info("%d sessions of dead processes have left %s", len(lost), channel)
            if leaves:
                await self._catch_up(channel, record)
            if self._leases.judges:
                record.swept = deaths  # before, a process that was not heard of may have died or not
        return record

    def by_process(self) -> dict[str, int]:
        """Count the sessions of each process in the records, each as it was when it was last brought up to date."""
        return dict(Counter(process_of(name) for record in self._records.values() for name in record.present))

    def _record(self, channel: str) -> Record:
        record = self._records.setdefault(channel, Record())
        self._records.move_to_end(channel)
        while len(self._records) > PRESENCE_RECORDS:
            self._records.popitem(last=False)
        return record

    async def _catch_up(self, channel: str, record: Record) -> None:
        """Read on to the head. If something is missing in between, everything that is kept is read anew: in it each
        session that is still there was stated again."""
        limits = self._limits
        while True:
            page = await read_checked(
                self._log, channel, record.cursor, limit=limits.page_events, max_bytes=limits.page_bytes
            )
            if page.gap is not None:
                record.present.clear()
                record.cursor = Cursor("", 0)
                continue
            apply(record.present, page.events)
            record.cursor = page.events[-1].cursor if page.events else page.head
            if record.cursor == page.head:
                return


def apply(present: dict[str, tuple[Statement, float]], events: Sequence[Event]) -> None:
    """Bring a record's sessions up to date.

    Args:
        present: each session's last statement and when it came, by its name.
        events: the channel's next events. One that is no statement is passed over.
    """
    for event in events:
        statement = read(event)
        if statement is None:
            continue
        known = present.get(statement.session)
        if event.name == JOIN:
            present[statement.session] = statement, event.published_at if known is None else known[1]
        # A leave ends what was stated when it was decided. One that is late, of a process that was taken for dead
        # and has stated its session again since, must not end the session that came back.
        elif known is not None and known[0].stated <= statement.stated:
            del present[statement.session]


def _parts(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    for first in range(0, len(drafts), PRESENCE_DRAFTS):
        yield drafts[first : first + PRESENCE_DRAFTS]
