"""What goes out together to a partition of a RedisLog: its groups, how they are sent, and how they are answered."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import trio

from ..errors import ChannelEnded, LogBroken
from ..event import DELETED, END, Cursor, Draft, Event
from ..log.contract import Kept, check_repeated
from ..log.jobs import Append, Claim, Commit, Delete, Job, Writes, weight_of
from .partition import Argument, Partition, events_of
from .scripts import decode_row, encode_row

__all__ = ["Batch", "Waiting", "result_of", "time_in"]

TOMBSTONE: Final = Draft(DELETED, END, None, END)
"""What takes the place of events that are deleted."""
REFUSED: Final = 2
"""The answer to a commit of which a channel has ended; which one comes next to it."""


class Waiting:
    """A job on its way: what is to be done, and then what became of it."""

    __slots__ = ("done", "drafts", "error", "give_up_at", "job", "result", "size")

    def __init__(self, job: Job, give_up_at: float) -> None:
        self.job = job
        self.drafts, self.size = weight_of(job)
        self.give_up_at = give_up_at
        self.done = trio.Event()
        self.result: Any = None
        self.error: Exception | None = None

    def succeed(self, result: Any) -> None:
        self.result = result
        self.done.set()

    def fail(self, error: Exception) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


class Batch:
    """What goes out together: groups, which are done in their order.

    Sent again it is the same, with all its jobs, also those whose callers do not wait any more: under its number Redis
    may have done it, and answers with what it did then.
    """

    __slots__ = ("_appends", "groups", "number", "size", "was_sent")

    def __init__(self, number: int) -> None:
        self.number = number
        self.size = 0
        self.groups: list[_Appends | _Single] = []
        self.was_sent = False
        self._appends: _Appends | None = None

    def add(self, waiting: Waiting) -> None:
        """Add a job behind the others."""
        self.size += waiting.size
        if isinstance(waiting.job, Append):
            if self._appends is None:
                self._appends = _Appends()
                self.groups.append(self._appends)
            self._appends.add(waiting, waiting.job)
            # What another appends after an end is refused for itself, and so is a section of its own.
            if waiting.job.drafts[-1].name == END:
                self._appends = None
            return
        # What is appended after these, to the same channels, must come after them.
        if isinstance(waiting.job, Commit | Delete):
            self._appends = None
        self.groups.append(_Single(waiting))

    def succeed(self, epoch: str, at: float, results: Sequence[Any]) -> None:
        """Answer the callers.

        Args:
            epoch: the epoch in which it was stored.
            at: when it was stored, in seconds since 1970.
            results: one for each group.
        """
        for group, result in zip(self.groups, results, strict=True):
            group.succeed(epoch, at, result)

    def fail(self, error: Exception) -> None:
        """Fail all its jobs: nothing of it is stored, or it is not known."""
        for group in self.groups:
            for member in group.members:
                member.fail(error)

    def expire(self, now: float, error: Exception) -> bool:
        """Fail the jobs whose time is over, and return whether others still wait."""
        members = [member for group in self.groups for member in group.members]
        for member in members:
            if member.give_up_at <= now:
                member.fail(error)
        return not all(member.done.is_set() for member in members)


class _Appends:
    """Appends, by channel, so that the script looks each of them up once. The order within a channel stays."""

    def __init__(self) -> None:
        self._channels: dict[str, list[tuple[Waiting, Append]]] = {}

    @property
    def members(self) -> list[Waiting]:
        """Those that wait."""
        return [waiting for members in self._channels.values() for waiting, _ in members]

    def add(self, waiting: Waiting, job: Append) -> None:
        """Add one behind the others."""
        self._channels.setdefault(job.channel, []).append((waiting, job))

    def write(self, partition: Partition, keys: list[str], args: list[Argument]) -> None:
        """Write keys and arguments."""
        args.append("append")
        drafts = [
            (channel, [draft for _, job in members for draft in job.drafts])
            for channel, members in self._channels.items()
        ]
        _write_sections(partition, keys, args, drafts)

    def succeed(self, epoch: str, at: float, results: Sequence[Any]) -> None:
        """Answer the callers. See _placed for what there is of each channel; bytes are an error."""
        for (channel, members), result in zip(self._channels.items(), results, strict=True):
            if isinstance(result, bytes):
                for waiting, _ in members:
                    waiting.fail(_broken(result))
                continue
            events = _placed(epoch, channel, [draft for _, job in members for draft in job.drafts], at, result)
            may_be_refused = not isinstance(result, int) and 0 in result
            start = 0
            for waiting, job in members:
                own = events[start : start + len(job.drafts)]
                if may_be_refused and not all(event.cursor.offset for event in own):
                    waiting.fail(ChannelEnded(channel))
                else:
                    waiting.succeed(own)
                start += len(job.drafts)


class _Single:
    """A deletion, a claim, a commit or a release."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    @property
    def members(self) -> list[Waiting]:
        """The one that waits."""
        return [self._waiting]

    def write(self, partition: Partition, keys: list[str], args: list[Argument]) -> None:
        """Write keys and arguments."""
        job = self._waiting.job
        assert not isinstance(job, Append)
        if isinstance(job, Delete):
            args.append("delete")
            _write_sections(partition, keys, args, [(job.channel, [TOMBSTONE])])
            return
        keys.append(partition.once_key(job.key))
        if isinstance(job, Claim):
            args += ["claim", job.print, job.holder, job.seconds]
        elif isinstance(job, Commit):
            args += ["commit", job.holder, job.answer, job.seconds]
            _write_sections(partition, keys, args, _not_empty(job.writes))
        else:
            args += ["release", job.holder]

    def succeed(self, epoch: str, at: float, result: Any) -> None:
        """Answer the caller; bytes are an error."""
        job = self._waiting.job
        if isinstance(result, bytes):
            self._waiting.fail(_broken(result))
        elif isinstance(job, Delete):
            self._waiting.succeed(_placed(epoch, job.channel, [TOMBSTONE], at, result)[0])
        else:
            self._waiting.succeed(result)


def _broken(said: bytes) -> LogBroken:
    return LogBroken(f"something else has a key of the channel's: {said.decode()}")


def _not_empty(writes: Writes) -> Writes:
    return [(channel, drafts) for channel, drafts in writes if drafts]


def _write_sections(partition: Partition, keys: list[str], args: list[Argument], writes: Writes) -> None:
    args.append(len(writes))
    for channel, drafts in writes:
        keys += partition.keys(channel)
        args += [channel, partition.kept_apart(channel), len(drafts)]
        for draft in drafts:
            args += [encode_row(draft.name, draft.json, draft.key, draft.fold), len(draft.json), draft.dedupe or ""]


def result_of(job: Job, result: Any) -> Any:
    """Return what a caller is told, from what the script answered to its group."""
    # In the caller's task, and not in the lane's: one that repeats a commit with other writes harms nobody else.
    if isinstance(job, Append | Delete):
        return result
    if result[0] == REFUSED:
        raise ChannelEnded(result[1].decode())
    if not result[0]:
        _, print, is_answered, answer = result
        return Kept(print, answer if is_answered else None)
    return _stored_of(job, result[1]) if isinstance(job, Commit) else None


def _stored_of(job: Commit, stored: Any) -> list[list[Event]]:
    """Return the events of a commit, from epoch, time, places (see _placed) and counts."""
    epoch, stamp, places, counts = stored
    writes = _not_empty(job.writes)
    check_repeated(writes, counts)
    placed = iter(
        [
            _placed(epoch.decode(), channel, drafts, time_in(stamp), result)
            for (channel, drafts), result in zip(writes, places, strict=True)
        ]
    )
    return [next(placed) if drafts else [] for _, drafts in job.writes]


def time_in(stamp: bytes) -> float:
    """Return the time that Redis puts in front of a row: two bytes of MessagePack, and a double."""
    (at,) = struct.unpack(">xxd", stamp)
    return float(at)


def _placed(epoch: str, channel: str, drafts: Sequence[Draft], at: float, result: Any) -> list[Event]:
    """Return the events of one channel.

    Args:
        epoch, channel, drafts: what they are of.
        at: when the new ones were stored.
        result: a number is the first offset. A list says that a ``dedupe`` was known: it has for each draft its offset
            and, if that is an earlier event's, what is stored of it. An offset of 0: it is not stored, for the channel
            has ended.
    """
    if isinstance(result, int):
        return [
            Event(Cursor(epoch, offset), channel, draft.name, draft.json, draft.key, at, draft.fold)
            for offset, draft in enumerate(drafts, result)
        ]
    return [
        events_of(epoch, channel, offset, [decode_row(earlier)])[0]
        if earlier
        else Event(Cursor(epoch, offset), channel, draft.name, draft.json, draft.key, at, draft.fold)
        for draft, offset, earlier in zip(drafts, result[::2], result[1::2], strict=True)
    ]
