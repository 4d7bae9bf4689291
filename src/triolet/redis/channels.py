"""The list of the channels that keep an event: the script that reads it, and what it costs.

Names stand in a sorted set, all of one score, so in the order of their bytes. An append puts its channel in when
nothing is kept of it yet, which it knows anyway; later appends do nothing for it. Streams expire by themselves, so a
name may stay behind: the script looks at each name before it gives it out, and takes those out that keep nothing. So
each of them is looked at in vain once.

A partition that an earlier version has begun, or has written to since, and one that begins a new term, may lack names.
Who asks first goes through the hash then, step by step. In which term that was done stands in the hash, and an empty
name in the list: so it is found where either is lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..bounds import REDIS_NAMES
from .scripts import OPEN, Script

__all__ = ["LIST", "list_channels"]

_LIST: Final = """
local part, refused = open(KEYS[1], ARGV[1], tonumber(ARGV[3]), '', 0, true)
if not part then return refused end
local now = now_of(ARGV[2])
local streams, cursor, least, most, limit, step = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]

local is_whole = part.listed == part.term and redis.call('ZRANGEBYLEX', part.names, '-', '+', 'LIMIT', 0, 1)[1] == ''
if not is_whole and cursor ~= 'end' then
    -- Where memory is full, what is there can be read all the same: a deleting write lets this through.
    redis.call('DEL', part.log .. ':none')
    local found = redis.call('HSCAN', part.log, cursor, 'COUNT', step)
    for i = 1, #found[2], 2 do
        if found[2][i] ~= '' then redis.call('ZADD', part.names, 0, found[2][i]) end
    end
    if found[1] == '0' then
        redis.call('ZADD', part.names, 0, '')
        part.listed = part.term
        part.save()
    end
    return {part.epoch, part.seq, found[1] == '0' and 'end' or found[1]}
end

local some = redis.call('ZRANGEBYLEX', part.names, least, most, 'LIMIT', 0, step)
local found, gone, last = {}, {}, ''
for _, name in ipairs(some) do
    local channel = channel_of(part, name)
    local word = channel.word
    if word and word.upto >= now or not word and not channel.is_new and redis.call('XLEN', streams .. name) > 0 then
        found[#found + 1] = name
    elseif name ~= '' then
        gone[#gone + 1] = name
    end
    last = name
    if #found == limit then break end
end
if #gone > 0 then redis.call('ZREM', part.names, unpack(gone)) end
return {part.epoch, part.seq, '', found, (#found == limit or #some == tonumber(step)) and last or ''}
"""

LIST: Final = Script.of(OPEN + _LIST)
"""Does a step of what makes the list whole; or, where it is, looks at some names, and tells those that are kept."""


async def list_channels(ask: Callable[..., Awaitable[Any]], prefix: bytes, after: bytes, limit: int) -> list[bytes]:
    """Return the names of a partition's channels that keep an event, in order.

    Args:
        ask: runs the script, with its arguments from the cursor on. See Partition.ask.
        prefix: with which the names begin.
        after: the name behind which to go on; empty for none.
        limit: most names.

    Raises:
        LogError: as ``ask`` does.

    Bounds: ``limit`` names; each run of the script looks at REDIS_NAMES of them at most.

    Cancellation: nothing is lost.
    """
    found: list[bytes] = []
    cursor: bytes = b"0"
    least = b"[" + prefix if after < prefix else b"(" + after
    most = b"(" + prefix + b"\xff"  # a byte that no text has
    while True:
        # When the list was made whole here it is taken as such: a process of an earlier version that goes on to write
        # would have it begun again for ever.
        answer = await ask(cursor, least, most, limit - len(found), REDIS_NAMES)
        if answer[2]:
            cursor = answer[2]
            continue
        names, last = answer[3:]
        found += names
        if not last or len(found) == limit:
            return found
        least = b"(" + last
