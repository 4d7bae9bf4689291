"""The scripts of a RedisLog, which run inside of Redis, and the forms of its keys, which only they change.

A *partition* is a part of the log whose keys share one hash tag, so one server of a cluster has them all (without a
cluster there is one partition). With the tag ``{triolet:0}`` it consists of

- ``{triolet:0}:log``, a hash. Its field ``""`` says what the partition is (form, number of partitions, the server's
  replication id, how many hints were sent, the epochs, newest last, and the term in which the list of names was found
  whole); each other field is a channel: the offset of its newest event, the term (the number of an epoch) in which that
  was appended, the bytes kept, up to which offset it had come in earlier terms, ``G`` and the offset of what took the
  place of what was deleted last, if that was, and its *last word*, if it has one;
- ``{triolet:0}:events:CHANNEL``, a stream. The entry ``42-0`` is the event 42: ``e`` is the MessagePack of time, name,
  data and key, ``s`` the size of its data, ``u`` what it was deduped by. Where an event is folded, its key is the way
  of folding, a zero and the key: no key has a zero in it, and a process of an earlier version can read it too;
- ``{triolet:0}:dedupe:CHANNEL``, a hash from what was deduped by to the offset;
- ``{triolet:0}:log:mark``, the epoch and how many hints were sent, again: a hash that was put back from a dump has come
  less far than this says;
- ``{triolet:0}:log:names``, a sorted set of the channels that keep an event, all of one score, so in the order of their
  bytes: see channels.py;
- ``{triolet:0}:writer:ID``, what became of a writer's last batch, for an hour;
- ``{triolet:0}:once:KEY``, a claim, or the answer that took its place, for its seconds: see append.py.

Channels and epochs stand in one key: Redis cannot lose one and keep the other.

**Last words.** The event that ends a channel, or that takes the place of what was deleted, is no entry of the stream.
It stands in the channel's field: ``E`` (or ``D``, deleted), its offset, until when it is kept (``inf`` for an end), and
the event as it would be in the stream. So the stream expires as any other, an end costs its own bytes for ever and not
the 4 kB of a stream, and Redis cannot lose it and keep the channel's head. One whose offset is not the head, because a
process of an earlier version has appended behind it, is none.

**Epochs.** A server's replication id changes whenever its data may have: at each of its starts, and when a replica is
promoted. A script that finds another id than the one written down begins a term: a new epoch. The channels'
``upto`` tell how far each had come before, so that a cursor of an earlier epoch is good up to there, and beyond it
shows that its client has seen what was lost. A hash that has come less far than its mark, or than a process that is
connected knows, was put back, and begins a term too.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import msgspec

__all__ = [
    "FORM_DIFFERS",
    "LOOK",
    "OPEN",
    "PROBE",
    "READ",
    "Hint",
    "Row",
    "Script",
    "decode_row",
    "decode_rows",
    "encode_row",
    "parse_hint",
]

FORM_DIFFERS: Final = "TRIOLET"
"""How the errors begin that the scripts raise about what they find."""

# Why scripts, and not MULTI: an append reads (the head, a dedupe, the sizes) and writes by what it has read, and Redis
# runs a script as a whole, so no other client comes in between. A script that fails in its midst is not undone; so what
# can be refused is checked first (a replica, another form, a key of another type), and PROBE tries all commands before.
#
# A comment in a script is a part of it: Redis hashes the whole text.
OPEN: Final = """
local FORM, EPOCHS, PASTS = 1, 64, 16

local function now_of(given)
    if given ~= '' then return tonumber(given) end
    local time = redis.call('TIME')
    return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function open(log, candidate, partitions, known_epoch, known_seq, is_reading)
    local info = redis.call('INFO', 'replication')
    if not string.find(info, 'role:master', 1, true) then
        return nil, {err = 'READONLY this server is a replica'}
    end
    local replid = string.match(info, 'master_replid:(%w+)') or ''
    local saved = redis.call('HGET', log, '')
    local is = saved and cmsgpack.unpack(saved)
    if is and (is[1] ~= FORM or is[2] ~= partitions) then
        return nil, {err = 'TRIOLET form ' .. is[1] .. ', ' .. is[2] .. ' partitions'}
    end
    local part = is and {log = log, seq = is[4], base = is[5], epochs = is[6], listed = is[7] or 0}
        or {log = log, seq = 0, base = 0, epochs = {}, listed = 0}
    part.names = log .. ':names'
    part.save = function()
        local about = {FORM, partitions, replid, part.seq, part.base, part.epochs, part.listed}
        redis.call('HSET', log, '', cmsgpack.pack(about))
        redis.call('SET', log .. ':mark', part.epochs[#part.epochs] .. ' ' .. part.seq)
    end
    local function came_less_far_than(epoch, seq)
        return epoch == part.epochs[#part.epochs] and part.seq < tonumber(seq)
    end
    local marked_epoch, marked_seq = string.match(redis.call('GET', log .. ':mark') or '', '^(%S+) (%d+)$')
    if not is or is[3] ~= replid or marked_epoch ~= part.epochs[#part.epochs]
        or came_less_far_than(marked_epoch, marked_seq) or came_less_far_than(known_epoch, known_seq) then
        -- Where memory is full, what is there can be read all the same: a deleting write lets this one through.
        if is_reading then redis.call('DEL', log .. ':none') end
        table.insert(part.epochs, candidate)
        if #part.epochs > EPOCHS then
            table.remove(part.epochs, 1)
            part.base = part.base + 1
        end
        part.save()
    end
    part.term = part.base + #part.epochs
    part.epoch = part.epochs[#part.epochs]
    return part
end

local function ours(entry)
    local what = entry[2]
    return what[1] == 'e' and #what[2] >= 10 and what[3] == 's' and tonumber(what[4])
end
-- The stream may be further than the hash, where that was put back. Whatever else comes after the head is a stranger's.
local function adopt(channel, stream)
    while true do
        local some = redis.call('XRANGE', stream, '(' .. channel.head .. '-0', '+', 'COUNT', 16)
        if #some == 0 then return end
        for _, entry in ipairs(some) do
            local offset = string.match(entry[1], '^(%d+)%-0$')
            if not offset or not ours(entry) then return entry[1] end
            channel.head, channel.word = tonumber(offset), nil
            channel.bytes = channel.bytes + tonumber(entry[2][4])
        end
    end
end

local function channel_of(part, name)
    local saved = redis.call('HGET', part.log, name)
    if not saved then return {name = name, head = 0, term = part.term, bytes = 0, pasts = '', is_new = true} end
    local head, term, bytes, pasts, rest = string.match(saved, '^(%d+) (%d+) (%d+)([ %d:]*)(.*)$')
    local word, deleted
    if rest and rest ~= '' then
        local behind
        deleted, behind = string.match(rest, '^G(%d+) (.*)$')
        rest = behind or rest
        local kind, offset, upto, blob = string.match(rest, '^([ED])(%d+) (%S+) (.*)$')
        if offset == head then word = {is_end = kind == 'E', upto = tonumber(upto), blob = blob} end
    end
    return {
        name = name, head = tonumber(head), term = tonumber(term), bytes = tonumber(bytes), pasts = pasts, word = word,
        deleted = tonumber(deleted)
    }
end

local function time_of(entry) return ours(entry) and struct.unpack('>d', entry[2][2], 3) or 0 end
local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end
local function not_before(stream, offset) return redis.call('XRANGE', stream, offset .. '-0', '+', 'COUNT', 1)[1] end
-- Entries may be large: how many are fetched at once grows with how many were wanted.
local function from(stream, offset, step, most)
    return redis.call('XRANGE', stream, offset .. '-0', '+', 'COUNT', math.min(step, most)), math.min(step * 4, 64)
end
local function at(stream, offset) return redis.call('XRANGE', stream, offset .. '-0', offset .. '-0')[1] end
"""

_READ: Final = """
local part, refused = open(KEYS[1], ARGV[1], tonumber(ARGV[3]), '', 0, true)
if not part then return refused end
local now = now_of(ARGV[2])
local keep_events, keep_seconds = tonumber(ARGV[4]), tonumber(ARGV[5])
local epoch, after, limit, max_bytes = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local stream, channel = KEYS[2], channel_of(part, ARGV[6])
if not channel.is_new then adopt(channel, stream) end
local head, word = channel.head, channel.word
local top = word and head - 1 or head  -- of what is in the stream
local last = word and word.upto >= now and word.blob or ''
if limit == 0 then return {part.epoch, part.seq, head, last, channel.deleted or 0} end

local function oldest_kept()
    if word and not word.is_end then return last == '' and head + 1 or head end
    local first = not channel.is_new and redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not first then return top + 1 end
    local oldest, too_old = math.max(offset_of(first), head - keep_events + 1), now - keep_seconds
    local entry = not_before(stream, oldest)
    if entry and time_of(entry) >= too_old then return math.min(offset_of(entry), top + 1) end
    local high = top + 1
    while oldest < high do
        local middle = math.floor((oldest + high) / 2)
        entry = not_before(stream, middle)
        if entry and time_of(entry) >= too_old then high = middle else oldest = middle + 1 end
    end
    return oldest
end

local function good_upto()
    if epoch == '' or epoch == part.epoch then return -1 end
    local term
    for i, each in ipairs(part.epochs) do if each == epoch then term = part.base + i end end
    if not term then return -2 end
    if channel.is_new then return 0 end
    if term >= channel.term then return head end
    local upto, many = nil, 0
    for past, offset in string.gmatch(channel.pasts, '(%d+):(%d+)') do
        many = many + 1
        if tonumber(past) <= term then upto = tonumber(offset) end
    end
    return upto or (many < PASTS and 0 or -2)
end

local oldest, upto = oldest_kept(), good_upto()
local position = oldest - 1
if upto == -1 or upto >= after then
    position = math.max(math.min(after, head), oldest - 1)
elseif upto >= 0 then
    position = math.max(upto, oldest - 1)
end
-- What somebody has deleted is a gap, and ends a page: events are counted by their entries' ids.
local start = position
if position < top and not channel.is_new and not at(stream, position + 1) then
    local following = not_before(stream, position + 1)
    start = following and math.min(offset_of(following) - 1, top) or top
end
local blobs, size, step, some = {}, 0, 4, nil
while #blobs < limit and start + #blobs < top do
    some, step = from(stream, start + #blobs + 1, step, limit - #blobs)
    if #some == 0 then break end
    for _, entry in ipairs(some) do
        if entry[1] ~= start + #blobs + 1 .. '-0' or not ours(entry) then
            limit = 0
            break
        end
        size = size + tonumber(entry[2][4])
        if size > max_bytes and #blobs > 0 then
            limit = 0
            break
        end
        blobs[#blobs + 1] = entry[2][2]
    end
end
if last ~= '' and start + #blobs == top and #blobs < limit and (#blobs == 0 or size + #last <= max_bytes) then
    blobs[#blobs + 1] = last
end
local page = '\\221' .. struct.pack('>I4', #blobs) .. table.concat(blobs)
return {part.epoch, part.seq, head, oldest, upto, position, page, start}
"""

_LOOK: Final = """
local part, refused = open(KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], true)
if not part then return refused end
return {part.epoch, part.seq}
"""


_PROBE: Final = """
local key = KEYS[1]
for _, command in ipairs({
    {'INFO', 'replication'}, {'TIME'}, {ARGV[1], ARGV[2], ''},
    {'DEL', key}, {'XADD', key, '1-0', 'e', ''}, {'XLEN', key}, {'XRANGE', key, '-', '+'}, {'XINFO', 'STREAM', key},
    {'XTRIM', key, 'MINID', '2-0'},
    {'PEXPIRE', key, 1000}, {'DEL', key}, {'HSET', key, 'a', 1}, {'HGET', key, 'a'}, {'HDEL', key, 'a'},
    {'ZADD', key, 0, 'a'}, {'ZRANGEBYLEX', key, '-', '+', 'LIMIT', 0, 1}, {'ZREM', key, 'a'},
    {'HSCAN', key, 0, 'COUNT', 1}, {'SET', key, 1, 'EX', 1}, {'GET', key}, {'DEL', key},
}) do
    local answer = redis.pcall(unpack(command))
    local said = type(answer) == 'table' and answer.err or ''
    -- Where memory is full nothing could be written that the others would find.
    if said ~= '' and not string.find(said, 'OOM', 1, true) and not string.find(said, 'no such key', 1, true) then
        return answer
    end
end
return 1
"""


class Script(NamedTuple):
    """A script, and the hash by which Redis remembers it."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        """Return a script with the hash that Redis gives it."""
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


READ: Final = Script.of(OPEN + _READ)
"""Reads a page of a channel, or with a limit of 0 its head, its last word, and where it was deleted."""

LOOK: Final = Script.of(OPEN + _LOOK)
"""Tells the present epoch, and how many hints were sent."""

PROBE: Final = Script.of(_PROBE)
"""Tries every command that the others use: one that may not be run would leave an append half done."""

Row = tuple[float, str, bytes, str | None]
"""An event as it is stored: its time, name, data, and key, with how it is folded."""

Hint = tuple[str, int, list[tuple[str, int, list[Row]]]]
"""What is published of a batch: the epoch, the hint's number, and for each channel its name, first offset and rows."""

_encode = msgspec.msgpack.Encoder().encode
decode_rows: Final = msgspec.msgpack.Decoder(list[Row]).decode
"""Decode the events of a page."""
decode_row: Final = msgspec.msgpack.Decoder(Row).decode
"""Decode one event."""
_decode_hint: Final = msgspec.msgpack.Decoder(Hint).decode


def encode_row(name: str, json: bytes, key: str | None, fold: str | None = None) -> bytes:
    """Encode an event without its time, which Redis puts in front of it."""
    if fold is not None:
        key = f"{fold}\0{key}"
    # The array of three without its head: the script writes the head of an array of four, and the time.
    return _encode((name, json, key))[1:]


def parse_hint(payload: bytes) -> Hint | None:
    """Return a hint that was published; None if it is not one of a RedisLog."""
    try:
        hint: Hint = _decode_hint(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return hint
