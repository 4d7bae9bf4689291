"""A model of what Redis does for a RedisLog: hints, batches, epochs, ends and deletions, as the scripts keep them, and
retention by count and age, as they read. It has room for all events, and drops none but those that are deleted.

tests/e2e/redis/test_model.py holds it against the scripts themselves: the same calls to both give the same answers.
"""

from __future__ import annotations

import copy
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
from coredis.exceptions import ResponseError

from triolet.event import END
from triolet.redis.append import APPEND
from triolet.redis.channels import LIST
from triolet.redis.scripts import LOOK, PROBE, READ, decode_row

__all__ = ["Channel", "Data", "Entry", "Scripts", "Watcher"]

EPOCHS, PASTS = 64, 16
STAMP = b"\x94\xcb"
"""What stands before the time in a row: an array of four, and that a double follows."""

_pack = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True)
class Entry:
    """An entry of a stream."""

    offset: int
    blob: bytes
    size: int
    unique: str

    @property
    def at(self) -> float:
        """When it was stored."""
        at: float = struct.unpack_from(">d", self.blob, len(STAMP))[0]
        return at


@dataclass
class Channel:
    """What there is of a channel. ``pasts``: term, and up to where it had come in it. ``gone``: how many events were
    deleted. ``word``: what the newest entry is, ``E``: the channel's end, ``D``: what stands for those deleted, which
    is kept until ``upto``. ``deleted``: where the newest such entry is or was; 0: nothing was deleted."""

    term: int
    gone: int = 0
    word: str = ""
    upto: float = math.inf
    deleted: int = 0
    pasts: list[tuple[int, int]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    dedupes: dict[str, Entry] = field(default_factory=dict)

    @property
    def head(self) -> int:
        """The newest offset."""
        return self.gone + len(self.entries)

    def forget(self) -> None:
        """Delete all there is."""
        self.gone, self.word, self.upto = self.head, "", math.inf
        self.entries.clear()
        self.dedupes.clear()

    def oldest(self, now: float, events: int, seconds: float) -> int:
        """Offset of the oldest event that is kept: an end is."""
        if self.word == "D":
            return self.head + (self.upto < now)
        oldest = max(self.gone + 1, self.head - events + 1)
        top = self.head - (self.word == "E")
        while oldest <= top and self.entries[oldest - self.gone - 1].at < now - seconds:
            oldest += 1
        return min(oldest, top + 1)

    def repeated(self, drafts: Sequence[Sequence[Any]]) -> list[Any]:
        """The places of what is there already, with their blobs; 0 for a draft that is not."""
        known = [self.dedupes.get(str(unique)) for _, _, unique in drafts]
        return [part for entry in known for part in ((entry.offset, entry.blob) if entry else (0, b""))]


@dataclass
class Data:
    """All of one partition. ``writers``: each one's last batch, its number and answer. ``once``: by key print, holder,
    when it ends, whether it is answered, the answer and what was stored. ``listed``: in which term the list of channels
    was found whole."""

    replid: str = ""
    seq: int = 0
    base: int = 0
    epochs: list[str] = field(default_factory=list)
    channels: dict[str, Channel] = field(default_factory=dict)
    writers: dict[str, tuple[int, list[Any]]] = field(default_factory=dict)
    once: dict[str, list[Any]] = field(default_factory=dict)
    listed: int = 0

    @property
    def epoch(self) -> str:
        """The present one."""
        return self.epochs[-1]

    @property
    def term(self) -> int:
        """Its number."""
        return self.base + len(self.epochs)

    def copy(self) -> Data:
        """What a replica has that hears of nothing from here on."""
        return copy.deepcopy(self)


class _Batch:
    """What is left to do of a batch: its keys, and its arguments."""

    def __init__(self, now: float, keep_seconds: float, keys: Iterator[str], args: Iterator[Any]) -> None:
        self.now = now
        self.keep_seconds = keep_seconds
        self.stamp = STAMP + struct.pack(">d", now)
        self.keys = keys
        self.args = args
        self.news: list[bytes] = []
        self.kept: list[float | None] = []

    def take(self, count: int) -> list[Any]:
        """The next arguments."""
        return list(islice(self.args, count))


class Watcher:
    """Is told of what is stored, at the moment when it is. Does nothing by itself."""

    def began(self, epoch: str, parent: str, heads: dict[str, int]) -> None:
        """An epoch begins, after another ("" where none is known), with channels that have come so far."""

    def stored(self, epoch: str, channel: str, entry: Entry) -> None:
        """An event was stored."""


class Scripts:
    """Runs scripts on data.

    Args:
        clock: the server's.
        publish: gives a hint, on a channel of Redis's.
        watcher: is told of what is stored.

    Attributes:
        data: all there is. ``replid``: of the server's life.
    """

    def __init__(
        self, clock: Callable[[], float], publish: Callable[[str, bytes], None], watcher: Watcher | None = None
    ) -> None:
        self.data = Data()
        self.replid = "0"
        self._clock = clock
        self._publish = publish
        self._watcher = watcher or Watcher()
        runs = (
            (APPEND, self._append),
            (READ, self._read),
            (LIST, self._channels),
            (LOOK, self._look),
            (PROBE, self._probe),
        )
        self._runs = {name: run for script, run in runs for name in (script.sha, script.text)}

    def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script, by its sha or its text. Raises ResponseError where it answers an error."""
        return self._runs[script](keys, args)

    def _open(self, candidate: str, known: Sequence[Any] = ("", 0)) -> Data:
        """``known`` is what the asker knows: an epoch, and how many hints there were in it at least."""
        data = self.data
        went_back = bool(data.epochs) and data.epoch == str(known[0]) and data.seq < int(known[1])
        if data.replid != self.replid or not data.epochs or went_back:
            parent = data.epochs[-1] if data.epochs else ""
            data.epochs.append(candidate)
            data.replid = self.replid
            if len(data.epochs) > EPOCHS:
                del data.epochs[0]
                data.base += 1
            self._watcher.began(candidate, parent, {name: each.head for name, each in data.channels.items()})
        return data

    def _now(self, args: Sequence[Any]) -> float:
        return float(args[1]) if args[1] else math.floor(self._clock() * 1_000_000) / 1_000_000

    def _look(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        data = self._open(str(args[0]), args[2:4])
        return [data.epoch.encode(), data.seq]

    def _probe(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        self._publish(str(args[1]), b"")
        return 1

    def _append(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        data = self._open(str(args[0]), args[9:11])
        number, writer = int(args[3]), keys[1]
        before = data.writers.get(writer)
        if before is not None and before[0] == number:
            return before[1]
        if before is not None and before[0] > number:
            raise ResponseError(f"TRIOLET batch {number} comes after {before[0]}")
        now = self._now(args)
        batch = _Batch(now, float(args[5]), iter(keys[2:]), iter(args[11:]))
        results = [getattr(self, f"_do_{kind}")(batch) for kind in batch.args]
        if batch.news:
            data.seq += 1
            self._publish(str(args[8]), b"\x93" + _pack(data.epoch) + _pack(data.seq) + _array(batch.news))
        reply = [data.epoch.encode(), data.seq, batch.stamp, results]
        data.writers[writer] = (number, reply)
        return reply

    def _do_append(self, batch: _Batch) -> list[Any]:
        return self._store(self._sections(batch), batch)[0]

    def _do_delete(self, batch: _Batch) -> int:
        ((name, ((body, _, _),)),) = self._sections(batch)
        seconds = batch.kept.pop() or batch.keep_seconds
        channel = self.data.channels.setdefault(name, Channel(self.data.term))
        channel.forget()
        blob = batch.stamp + bytes(body)
        channel.entries.append(Entry(channel.head + 1, blob, len(blob), ""))
        channel.word, channel.upto = "D", round(batch.now + seconds, 3)
        channel.deleted = channel.head
        self._tell(name, channel.head, batch)
        return channel.head

    def _do_claim(self, batch: _Batch) -> list[Any]:
        key, (print, holder, seconds) = next(batch.keys), batch.take(3)
        it = self._once(key, batch)
        if it is None:
            it = self.data.once[key] = [bytes(print), bytes(holder), 0.0, 0, b"", None]
        elif it[3] or it[1] != holder:
            return [0, it[0], it[3], it[4]]
        it[2] = batch.now + float(seconds)
        return [1]

    def _do_commit(self, batch: _Batch) -> list[Any]:
        key, (holder, answer, seconds) = next(batch.keys), batch.take(3)
        it = self._once(key, batch)
        sections = self._sections(batch)
        if it is None or it[1] != holder or it[3]:
            if it is None:
                return [0, b"", 0, b""]
            return [1, it[5]] if it[1] == holder else [0, it[0], it[3], it[4]]
        for name, drafts in sections:
            known = self.data.channels.get(name)
            if known and known.word == "E" and 0 in known.repeated(drafts):
                return [2, name.encode()]
        results, counts = self._store(sections, batch)
        it[2:] = batch.now + float(seconds), 1, bytes(answer), [self.data.epoch.encode(), batch.stamp, results, counts]
        return [1, it[5]]

    def _do_release(self, batch: _Batch) -> list[Any]:
        key, (holder,) = next(batch.keys), batch.take(1)
        it = self._once(key, batch)
        if it is not None and it[1] == holder and not it[3]:
            del self.data.once[key]
        return [1]

    def _once(self, key: str, batch: _Batch) -> list[Any] | None:
        """What is kept of a key, if it is not over."""
        it = self.data.once.get(key)
        if it is not None and it[2] <= batch.now:
            del self.data.once[key]
            return None
        return it

    def _sections(self, batch: _Batch) -> list[tuple[str, list[list[Any]]]]:
        """Channels, and what is to be done in each. Notes for how long their events are kept, where that is apart."""
        sections = []
        for _ in range(int(next(batch.args))):
            next(batch.keys), next(batch.keys)
            name, kept, count = batch.take(3)
            batch.kept.append(float(str(kept).split()[1]) if kept else None)
            sections.append((str(name), [batch.take(3) for _ in range(int(count))]))
        return sections

    def _store(self, sections: Sequence[tuple[str, list[list[Any]]]], batch: _Batch) -> tuple[list[Any], list[int]]:
        """Append to channels. Returns their places, and how many drafts each had."""
        results: list[Any] = []
        for name, drafts in sections:
            known = self.data.channels.get(name)
            if known and known.word == "E":
                results.append(known.repeated(drafts))
                continue
            first, places = self._add(name, drafts, batch.stamp)
            new = self.data.channels[name].head + 1 - first
            if new:
                self._tell(name, first, batch)
            results.append(places if new < len(drafts) else first)
        return results, [len(drafts) for _, drafts in sections]

    def _tell(self, name: str, first: int, batch: _Batch) -> None:
        """Announce a channel's events from an offset on."""
        channel = self.data.channels[name]
        if channel.term != self.data.term:
            channel.pasts = [*channel.pasts, (channel.term, first - 1)][-PASTS:]
            channel.term = self.data.term
        new = channel.entries[first - 1 - channel.gone :]
        for entry in new:
            self._watcher.stored(self.data.epoch, name, entry)
        batch.news.append(b"\x93" + _pack(name) + _pack(first) + _array([entry.blob for entry in new]))

    def _add(self, name: str, drafts: Sequence[Sequence[Any]], stamp: bytes) -> tuple[int, list[Any]]:
        """Store drafts (row without its time, size, dedupe). Returns the next offset there was, and the places of all:
        with a blob where one is a repetition."""
        channel = self.data.channels.setdefault(name, Channel(self.data.term))
        if channel.word == "D":
            channel.forget()
        first = channel.head + 1
        places: list[Any] = []
        for body, size, unique in drafts:
            earlier = channel.dedupes.get(str(unique))
            if earlier is None:
                blob = stamp + bytes(body)
                is_end = unique == END and decode_row(blob)[1] == END
                entry = Entry(channel.head + 1, blob, len(blob) if is_end else int(size), str(unique))
                channel.entries.append(entry)
                channel.dedupes |= {entry.unique: entry} if unique else {}
                channel.word = "E" if is_end else ""
            places += [channel.head, b""] if earlier is None else [earlier.offset, earlier.blob]
        return first, places

    def _read(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        data = self._open(str(args[0]))
        epoch, after, limit, max_bytes = str(args[6]), int(args[7]), int(args[8]), int(args[9])
        channel = data.channels.get(str(args[5])) or Channel(data.term)
        head, now = channel.head, self._now(args)
        if limit == 0:
            is_told = channel.word and channel.upto >= now
            return [data.epoch.encode(), data.seq, head, channel.entries[-1].blob if is_told else b"", channel.deleted]
        upto, oldest = _good_upto(data, channel, epoch), channel.oldest(now, int(args[3]), float(args[4]))
        position = max(min(after, head) if upto == -1 or upto >= after else upto, oldest - 1)
        blobs: list[bytes] = []
        size = 0
        for entry in channel.entries[position - channel.gone :][:limit]:
            size += entry.size
            if size > max_bytes and blobs:
                break
            blobs.append(entry.blob)
        return [data.epoch.encode(), data.seq, head, oldest, upto, position, _array(blobs), position]

    def _channels(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        data = self._open(str(args[0]))
        cursor, least, most, limit, step = bytes(args[4]), bytes(args[5]), bytes(args[6]), int(args[7]), int(args[8])
        if data.listed != data.term and cursor != b"end":
            data.listed = data.term
            return [data.epoch.encode(), data.seq, b"end"]
        behind = least[1:] + b"\0" * (least[:1] == b"(")
        some = [name for name in sorted(map(str.encode, data.channels)) if behind <= name < most[1:]][:step]
        found = some[:limit]
        last = found[-1] if len(found) == limit or len(some) == step else b""
        return [data.epoch.encode(), data.seq, b"", found, last]


def _good_upto(data: Data, channel: Channel, epoch: str) -> int:
    """Up to where a cursor of an epoch is good; -1: of the present one, -2: nobody knows."""
    if epoch in ("", data.epoch):
        return -1
    if epoch not in data.epochs:
        return -2
    term = data.base + data.epochs.index(epoch) + 1
    if not channel.entries:
        return 0
    if term >= channel.term:
        return channel.head
    upto = [offset for past, offset in channel.pasts if past <= term]
    return upto[-1] if upto else 0 if len(channel.pasts) < PASTS else -2


def _array(parts: list[bytes]) -> bytes:
    return b"\xdd" + struct.pack(">I", len(parts)) + b"".join(parts)
