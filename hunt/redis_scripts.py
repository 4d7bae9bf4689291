"""A model of what Redis does for a RedisLog: its keys, and the scripts that change them, as Python.

tests/e2e/redis/test_model.py holds it against the scripts themselves: the same calls to both give the same answers.
"""

from __future__ import annotations

import copy
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from coredis.exceptions import ResponseError

from triolet.redis.scripts import APPEND, LOOK, PROBE, READ

__all__ = ["Channel", "Data", "Entry", "Part", "Scripts", "Watcher"]

EPOCHS, PASTS = 64, 16
STAMP = b"\x94\xcb"
"""What stands before the time in a row: an array of four, and that a double follows."""
WRITER_SECONDS = 3_600

_pack = msgspec.msgpack.Encoder().encode


@dataclass
class Part:
    """What stands in the field ``""`` of the partition's hash."""

    partitions: int
    replid: str = ""
    seq: int = 0
    base: int = 0
    epochs: list[str] = field(default_factory=list)

    @property
    def epoch(self) -> str:
        """The present one."""
        return self.epochs[-1]

    @property
    def term(self) -> int:
        """Its number."""
        return self.base + len(self.epochs)


@dataclass
class Channel:
    """What stands in the field of a channel. ``pasts``: term, and up to where it had come in it."""

    head: int
    term: int
    bytes: int = 0
    pasts: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """An entry of a stream."""

    offset: int
    blob: bytes
    size: int
    unique: str

    @property
    def time(self) -> float:
        """When it was stored."""
        (at,) = struct.unpack_from(">d", self.blob, 2)
        return float(at)


@dataclass
class Data:
    """All keys of one partition, by their names. ``expires``: when each goes, in ms since 1970."""

    part: Part | None = None
    channels: dict[str, Channel] = field(default_factory=dict)
    streams: dict[str, list[Entry]] = field(default_factory=dict)
    dedupes: dict[str, dict[str, int]] = field(default_factory=dict)
    writers: dict[str, tuple[int, list[Any]]] = field(default_factory=dict)
    expires: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Data:
        """What a replica has that hears of nothing from here on."""
        return copy.deepcopy(self)


class Watcher:
    """Is told of what is stored, at the moment when it is. Does nothing by itself."""

    def began(self, epoch: str, parent: str, heads: dict[str, int]) -> None:
        """An epoch begins, after another ("" where none is known), with channels that have come so far."""

    def stored(self, epoch: str, channel: str, entry: Entry) -> None:
        """An event was stored."""


class _Call:
    """One run of a script: Redis refuses its first write where memory is full, and none after that."""

    def __init__(self, scripts: Scripts) -> None:
        self.now = scripts.clock()
        self.milliseconds = math.floor(self.now * 1000)
        self._scripts = scripts
        self._has_written = False

    def write(self, *, frees: bool = False) -> None:
        if self._scripts.is_full and not self._has_written and not frees:
            raise ResponseError("OOM command not allowed when used memory > 'maxmemory'")
        self._has_written = True

    def time_of(self, given: str) -> float:
        return float(given) if given else math.floor(self.now * 1_000_000) / 1_000_000


class Scripts:
    """Runs scripts on data.

    Args:
        clock: the server's.
        publish: gives a hint, on a channel of Redis's.
        watcher: is told of what is stored.

    Attributes:
        data: the keys. ``replid``: of the server's life. ``is_full``: whether there is no memory left.
    """

    def __init__(
        self, clock: Callable[[], float], publish: Callable[[str, bytes], None], watcher: Watcher | None = None
    ) -> None:
        self.clock = clock
        self.data = Data()
        self.replid = "0"
        self.is_full = False
        self._publish = publish
        self._watcher = watcher or Watcher()
        runs = ((APPEND, self._append), (READ, self._read), (LOOK, self._look), (PROBE, self._probe))
        self._runs = {name: run for script, run in runs for name in (script.sha, script.text)}

    def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script, by its sha or its text.

        Raises:
            ResponseError: it answers an error.
        """
        call = _Call(self)
        for key in [key for key, at in self.data.expires.items() if call.milliseconds > at]:
            self.forget(key)
        return self._runs[script](call, keys, args)

    def forget(self, key: str) -> None:
        """Delete a key."""
        self.data.expires.pop(key, None)
        for kind in (self.data.streams, self.data.dedupes, self.data.writers):
            kind.pop(key, None)

    def _open(
        self, call: _Call, candidate: str, partitions: int, known: Sequence[Any] = ("", 0), *, reads: bool = False
    ) -> Part:
        part = self.data.part
        if part is not None and part.partitions != partitions:
            raise ResponseError(f"TRIOLET form 1, {part.partitions} partitions")
        went_back = part is not None and part.epoch == str(known[0]) and part.seq < int(known[1])
        if part is None or part.replid != self.replid or went_back:
            call.write(frees=reads)
            part = self.data.part = part or Part(partitions)
            parent = part.epochs[-1] if part.epochs else ""
            part.epochs.append(candidate)
            part.replid = self.replid
            if len(part.epochs) > EPOCHS:
                del part.epochs[0]
                part.base += 1
            self._watcher.began(candidate, parent, {name: each.head for name, each in self.data.channels.items()})
        return part

    # --- LOOK and PROBE

    def _look(self, call: _Call, keys: Sequence[str], args: Sequence[Any]) -> Any:
        part = self._open(call, str(args[0]), int(args[1]), args[2:4], reads=True)
        return [part.epoch.encode(), part.seq]

    def _probe(self, call: _Call, keys: Sequence[str], args: Sequence[Any]) -> Any:
        self._publish(str(args[1]), b"")
        return 1

    # --- APPEND

    def _append(self, call: _Call, keys: Sequence[str], args: Sequence[Any]) -> Any:
        part = self._open(call, str(args[0]), int(args[2]), args[9:11])
        number, writer = int(args[3]), keys[1]
        before = self.data.writers.get(writer)
        if before is not None and before[0] == number:
            return before[1]
        if before is not None and before[0] > number:
            raise ResponseError(f"TRIOLET batch {number} comes after {before[0]}")
        now = call.time_of(str(args[1]))
        results: list[Any] = []
        news: list[tuple[str, int, list[bytes]]] = []
        at = 11
        for place in range(2, len(keys), 2):
            name, count = str(args[at]), int(args[at + 1])
            drafts = [args[at + 2 + 3 * i : at + 5 + 3 * i] for i in range(count)]
            adding = _Adding(call, self.data, part, name, keys[place], keys[place + 1], now)
            results.append(adding.add(drafts))
            for entry in adding.entries:
                self._watcher.stored(part.epoch, name, entry)
            if adding.entries:
                adding.drop(int(args[4]), float(args[5]), int(args[6]))
                news.append((name, adding.entries[0].offset, [entry.blob for entry in adding.entries]))
            at += 2 + 3 * count
        if news:
            part.seq += 1
            self._publish(str(args[8]), _hint(part, news))
        call.write()
        reply = [part.epoch.encode(), part.seq, STAMP + struct.pack(">d", now), results]
        self.data.writers[writer] = (number, reply)
        self.data.expires[writer] = call.milliseconds + WRITER_SECONDS * 1000
        return reply

    # --- READ

    def _read(self, call: _Call, keys: Sequence[str], args: Sequence[Any]) -> Any:
        part = self._open(call, str(args[0]), int(args[2]), reads=True)
        keep_events, keep_seconds = int(args[3]), float(args[4])
        epoch, after, limit, max_bytes = str(args[6]), int(args[7]), int(args[8]), int(args[9])
        channel = self.data.channels.get(str(args[5]))
        head = channel.head if channel else 0
        if limit == 0:
            return [part.epoch.encode(), part.seq, head]
        entries = self.data.streams.get(keys[1], []) if channel else []
        oldest = head + 1
        if entries:
            too_old = call.time_of(str(args[1])) - keep_seconds
            least = max(entries[0].offset, head - keep_events + 1)
            oldest = next((e.offset for e in entries if e.offset >= least and e.time >= too_old), head + 1)
        upto = _good_upto(part, channel, epoch)
        position = oldest - 1
        if upto == -1 or upto >= after:
            position = max(min(after, head), oldest - 1)
        elif upto >= 0:
            position = max(upto, oldest - 1)
        blobs: list[bytes] = []
        size = 0
        for entry in entries:
            if position < entry.offset <= head and len(blobs) < limit:
                size += entry.size
                if size > max_bytes and blobs:
                    break
                blobs.append(entry.blob)
        return [part.epoch.encode(), part.seq, head, oldest, upto, position, _array(blobs), position]


class _Adding:
    """Appends to one channel."""

    def __init__(self, call: _Call, data: Data, part: Part, name: str, stream: str, dedupe: str, now: float) -> None:
        self._call, self._data, self._part = call, data, part
        self._name, self._stream, self._dedupe, self._now = name, stream, dedupe, now
        self.entries: list[Entry] = []

    def add(self, drafts: Sequence[Sequence[Any]]) -> Any:
        """Store drafts (row without its time, size, dedupe). Returns what the script answers for the channel."""
        data, call, part = self._data, self._call, self._part
        known = data.channels.get(self._name)
        stored = data.streams.get(self._stream, [])
        channel = known or Channel(0, part.term)
        if known is None and stored:
            call.write(frees=True)
            for key in (self._stream, self._dedupe):
                data.expires.pop(key, None)
            data.streams.pop(self._stream)
            data.dedupes.pop(self._dedupe, None)
            stored = []
        kept_bytes = channel.bytes if stored else 0
        first = channel.head + 1
        places: list[Any] = []
        is_repeated = False
        for body, size, unique in drafts:
            earlier = self._earlier(str(unique))
            if earlier is not None:
                is_repeated = True
                places += [earlier.offset, earlier.blob]
                continue
            call.write()
            offset = first + len(self.entries)
            blob = STAMP + struct.pack(">d", self._now) + bytes(body)
            entry = Entry(offset, blob, int(size), str(unique))
            data.streams.setdefault(self._stream, []).append(entry)
            if unique:
                data.dedupes.setdefault(self._dedupe, {})[str(unique)] = offset
            self.entries.append(entry)
            places += [offset, b""]
        if self.entries:
            channel.bytes = kept_bytes + sum(entry.size for entry in self.entries)
            channel.head = self.entries[-1].offset
            if channel.term != part.term:
                channel.pasts = [*channel.pasts, (channel.term, first - 1)][-PASTS:]
                channel.term = part.term
            data.channels[self._name] = channel
        return places if is_repeated else first

    def _earlier(self, unique: str) -> Entry | None:
        offset = self._data.dedupes.get(self._dedupe, {}).get(unique) if unique else None
        for entry in self._data.streams.get(self._stream, []):
            if entry.offset == offset and entry.unique == unique:
                return entry
        return None

    def drop(self, keep_events: int, keep_seconds: float, keep_bytes: int) -> None:
        """Let go of what is not to be kept, once that is enough to be worth it."""
        data, channel = self._data, self._data.channels[self._name]
        entries = data.streams[self._stream]
        too_old, slack = self._now - keep_seconds, keep_seconds / 64
        much = channel.head - entries[0].offset + 1 > keep_events + min(keep_events // 8 + 16, 256)
        much = much or channel.bytes > keep_bytes + keep_bytes / 8 or entries[0].time < too_old - slack
        while much:
            first, kept = entries[0], channel.head - entries[0].offset + 1
            if kept <= keep_events and first.time >= too_old and (channel.bytes <= keep_bytes or kept == 1):
                break
            channel.bytes -= first.size
            data.dedupes.get(self._dedupe, {}).pop(first.unique, None)
            del entries[0]
        milliseconds = int(f"{min(keep_seconds * 1000, 1e14):.0f}")
        for key in (self._stream, self._dedupe):
            data.expires[key] = self._call.milliseconds + milliseconds


def _good_upto(part: Part, channel: Channel | None, epoch: str) -> int:
    """Up to where a cursor of an epoch is good; -1: of the present one, -2: nobody knows."""
    if epoch in ("", part.epoch):
        return -1
    if epoch not in part.epochs:
        return -2
    term = part.base + part.epochs.index(epoch) + 1
    if channel is None:
        return 0
    if term >= channel.term:
        return channel.head
    upto = [offset for past, offset in channel.pasts if past <= term]
    return upto[-1] if upto else 0 if len(channel.pasts) < PASTS else -2


def _hint(part: Part, news: list[tuple[str, int, list[bytes]]]) -> bytes:
    channels = [b"\x93" + _pack(name) + _pack(first) + _array(blobs) for name, first, blobs in news]
    return b"\x93" + _pack(part.epoch) + _pack(part.seq) + _array(channels)


def _array(parts: list[bytes]) -> bytes:
    return b"\xdd" + struct.pack(">I", len(parts)) + b"".join(parts)
