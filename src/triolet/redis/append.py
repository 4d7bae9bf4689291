"""The script that stores: what waits in a lane of a RedisLog goes into Redis by it, and takes effect once.

Its arguments are groups, done in order: ``append`` (channels and their drafts), ``delete`` (a channel, and the event
that takes the place of the others), ``claim``, ``commit`` (one key, and channels with their drafts) and ``release``.
How much of a channel is kept comes with it, where that is not as of all others. What is kept of a key is the
MessagePack of print, holder, when it ends, whether it is answered, the answer, and of a commit what it stored: epoch,
time, places and counts.
"""

from __future__ import annotations

from typing import Final

from .scripts import OPEN, Script

__all__ = ["APPEND"]

_APPEND: Final = """
local END = 'triolet.end'
local candidate, given, partitions, number = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local general = {events = tonumber(ARGV[5]), seconds = tonumber(ARGV[6]), bytes = tonumber(ARGV[7])}
local publish, hints = ARGV[8], ARGV[9]
local part, refused = open(KEYS[1], candidate, partitions, ARGV[10], ARGV[11])
if not part then return refused end
local before = redis.call('GET', KEYS[2])
if before then
    before = cmsgpack.unpack(before)
    if before[1] == number then return before[2] end
    if before[1] > number then return {err = 'TRIOLET batch ' .. number .. ' comes after ' .. before[1]} end
end
local now = now_of(given)
local stamp = '\\148\\203' .. struct.pack('>d', now)

local news = {}

local function milliseconds_of(seconds)
    return string.format('%.0f', math.max(1, math.min(math.ceil(seconds * 1000), 1e14)))
end

local function keep_of(text)
    if text == '' then return general end
    local events, seconds, bytes = string.match(text, '^(%S+) (%S+) (%S+)$')
    return {events = tonumber(events), seconds = tonumber(seconds), bytes = tonumber(bytes)}
end

local function drop(channel, stream, dedupe, most)
    local keep_events, keep_seconds, keep_bytes = channel.keep.events, channel.keep.seconds, channel.keep.bytes
    local too_old, slack = now - keep_seconds, keep_seconds / 64
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not first then return end
    local oldest = offset_of(first)
    if channel.head - oldest + 1 <= keep_events + math.min(math.floor(keep_events / 8) + 16, 256)
        and channel.bytes <= keep_bytes + keep_bytes / 8 and time_of(first) >= too_old - slack then return end
    local begin, done, step, some = oldest, false, 4, nil
    while oldest - begin < most and not done do
        some, step = from(stream, oldest, step, 64)
        if #some == 0 then break end
        for _, entry in ipairs(some) do
            local kept = channel.head - oldest + 1
            if kept <= keep_events and time_of(entry) >= too_old and (channel.bytes <= keep_bytes or kept == 1) then
                done = true
                break
            end
            channel.bytes = channel.bytes - (tonumber(entry[2][4]) or 0)
            if entry[2][6] then redis.call('HDEL', dedupe, entry[2][6]) end
            oldest = offset_of(entry) + 1
        end
    end
    redis.call('XTRIM', stream, 'MINID', oldest .. '-0')
end

-- A script that fails half-way leaves what it has written: so each key is looked at before the first write.
local function checked(name, stream, dedupe)
    local kept, known = redis.pcall('XLEN', stream), redis.pcall('HGET', dedupe, '')
    if type(kept) == 'table' then return nil, kept.err end
    if type(known) == 'table' then return nil, known.err end
    local channel = channel_of(part, name)
    if not channel.head then return nil, 'its field in the hash cannot be read' end
    channel.kept = kept
    if not channel.is_new then
        local stranger = adopt(channel, stream)
        if stranger then return nil, 'entry ' .. stranger .. ' after its newest event is none of ours: delete it' end
    end
    return channel
end

-- Of entries that a stranger has deleted again, the stream remembers the last one's id, and takes no other before it.
local function is_ahead(channel, stream)
    if channel.ahead == nil then
        local about = not channel.is_new and redis.pcall('XINFO', 'STREAM', stream) or {}
        channel.ahead = false
        for i = 1, #about, 2 do
            if about[i] == 'last-generated-id' then
                channel.ahead = tonumber(string.match(about[i + 1], '^%d+')) > channel.head
            end
        end
    end
    return channel.ahead
end

local channels, wrong, grown = {}, {}, {}

local function earlier(channel, section, unique)
    if unique == '' then return end
    if unique == END and channel.word and channel.word.is_end then return channel.head, channel.word.blob end
    local offset = redis.call('HGET', section.dedupe, unique)
    local entry = offset and at(section.stream, offset)
    if entry and entry[2][6] == unique then return tonumber(offset), entry[2][2] end
end

-- What is there already of a channel that has ended; 0 for a draft that is not. Whether that is all is told as well.
local function repeated(channel, section)
    local places, is_all = {}, true
    for i = 0, section.count - 1 do
        local offset, blob = earlier(channel, section, ARGV[section.start + 3 * i + 2])
        places[2 * i + 1], places[2 * i + 2], is_all = offset or 0, blob or '', is_all and offset ~= nil
    end
    return places, is_all
end

local function has_ended(channel) return channel.word and channel.word.is_end end

local function tell(channel, section, first, blobs)
    channel.is_new = false
    if channel.term ~= part.term then
        local pasts = channel.pasts .. ' ' .. channel.term .. ':' .. (first - 1)
        local _, many = string.gsub(pasts, ':', '')
        channel.pasts = many > PASTS and string.gsub(pasts, '^ %d+:%d+', '') or pasts
        channel.term = part.term
    end
    if not channel.stream then
        channel.stream, channel.dedupe, channel.added = section.stream, section.dedupe, 0
        channel.keep = keep_of(section.keep)
        grown[#grown + 1] = channel
    end
    channel.added = channel.added + section.count
    local place = cmsgpack.pack(section.name) .. cmsgpack.pack(first)
    news[#news + 1] = '\\147' .. place .. '\\221' .. struct.pack('>I4', #blobs) .. table.concat(blobs)
end

local function add(channel, section)
    local stream, dedupe, count, start = section.stream, section.dedupe, section.count, section.start
    local was_deleted = channel.word and not channel.word.is_end
    -- Where memory is full Redis refuses the first write of a script, if it is not a deleting one.
    if (channel.is_new or was_deleted) and channel.kept > 0 then
        redis.call('DEL', stream, dedupe)
        channel.kept = 0
    end
    local was_empty = channel.kept == 0 and not has_ended(channel)
    if channel.kept == 0 then channel.bytes = 0 end
    local first, blobs, repeats = channel.head + 1, {}, nil
    for i = 0, count - 1 do
        local body, size, unique = ARGV[start + 3 * i], ARGV[start + 3 * i + 1], ARGV[start + 3 * i + 2]
        local known, known_blob
        if unique ~= '' then known, known_blob = earlier(channel, section, unique) end
        if known then
            if not repeats then
                repeats = {}
                for j = 1, i do repeats[2 * j - 1], repeats[2 * j] = first + j - 1, '' end
            end
            repeats[2 * i + 1], repeats[2 * i + 2] = known, known_blob
        else
            local blob = stamp .. body
            channel.head = channel.head + 1
            if unique == END and string.sub(body, 2, #END + 1) == END then
                channel.word = {is_end = true, upto = math.huge, blob = blob}
            else
                channel.bytes, channel.kept = channel.bytes + tonumber(size), channel.kept + 1
                -- The first may fail, where the stream is ahead; of a commit that was looked at before.
                local added
                if unique == '' then
                    added = redis.pcall('XADD', stream, channel.head .. '-0', 'e', blob, 's', size)
                else
                    added = redis.pcall('XADD', stream, channel.head .. '-0', 'e', blob, 's', size, 'u', unique)
                end
                if added.err and string.find(added.err, 'XADD', 1, true) then
                    channels[section.name], wrong[section.name] = nil, added.err  -- its counts are of what is not there
                    return added.err
                end
                if added.err then error(added.err) end
                if unique ~= '' then redis.call('HSET', dedupe, unique, channel.head) end
                channel.word = nil
            end
            blobs[#blobs + 1] = blob
            if repeats then repeats[2 * i + 1], repeats[2 * i + 2] = channel.head, '' end
        end
    end
    if #blobs == 0 then return repeats end
    if was_empty then redis.call('ZADD', part.names, 0, section.name) end
    tell(channel, section, first, blobs)
    return repeats or first
end

local FIELDS = {append = 0, delete = 0, claim = 3, commit = 3, release = 1}
local kept, broken, groups = {}, {}, {}

local function find(key)
    local saved = redis.pcall('GET', key)
    if not saved then return false end
    local is_read, it = pcall(cmsgpack.unpack, type(saved) == 'string' and saved or '')
    if not is_read or type(it) ~= 'table' or #it ~= 6 then return nil, saved.err or 'what is kept cannot be read' end
    return it[3] > now and it
end

local arg, key = 12, 3
while arg <= #ARGV do
    local group = {kind = ARGV[arg], arg = arg + 1, sections = {}}
    arg = group.arg + FIELDS[group.kind]
    if group.kind ~= 'append' and group.kind ~= 'delete' then
        group.key = KEYS[key]
        key = key + 1
        if kept[group.key] == nil then kept[group.key], broken[group.key] = find(group.key) end
        group.err = broken[group.key]
    end
    if group.kind == 'append' or group.kind == 'delete' or group.kind == 'commit' then
        arg = arg + 1
        for i = 1, tonumber(ARGV[arg - 1]) do
            local name, keep, count = ARGV[arg], ARGV[arg + 1], tonumber(ARGV[arg + 2])
            local stream, dedupe = KEYS[key], KEYS[key + 1]
            group.sections[i] = {
                name = name, keep = keep, count = count, start = arg + 3, stream = stream, dedupe = dedupe
            }
            if not channels[name] and not wrong[name] then
                channels[name], wrong[name] = checked(name, stream, dedupe)
            end
            if group.kind == 'commit' then
                group.err = group.err or wrong[name]
                    or is_ahead(channels[name], stream) and 'its stream has come further than its newest event'
            end
            arg, key = arg + 3 + 3 * count, key + 2
        end
    end
    groups[#groups + 1] = group
end

local function keep(group, it, seconds)
    it[3] = now + tonumber(seconds)
    kept[group.key] = it
    redis.call('SET', group.key, cmsgpack.pack(it), 'PX', milliseconds_of(tonumber(seconds)))
end

local run = {}
function run.append(group)
    local results = {}
    for i, section in ipairs(group.sections) do
        local channel = channels[section.name]
        results[i] = wrong[section.name]
            or has_ended(channel) and repeated(channel, section)
            or add(channel, section)
    end
    return results
end

function run.delete(group)
    local section = group.sections[1]
    local channel, blob = channels[section.name], stamp .. ARGV[section.start]
    if not channel then return wrong[section.name] end
    redis.call('DEL', section.stream, section.dedupe)
    redis.call('ZADD', part.names, 0, section.name)
    channel.head, channel.bytes, channel.kept = channel.head + 1, 0, 0
    tell(channel, section, channel.head, {blob})
    channel.word = {is_end = false, upto = now + channel.keep.seconds, blob = blob}
    channel.deleted = channel.head
    return channel.head
end

function run.claim(group)
    local print, holder, seconds = ARGV[group.arg], ARGV[group.arg + 1], ARGV[group.arg + 2]
    local it = kept[group.key] or {print, holder, 0, 0, '', {}}
    if it[4] == 1 or it[2] ~= holder then return {0, it[1], it[4], it[5]} end
    keep(group, it, seconds)
    return {1}
end

function run.commit(group)
    local holder, answer, seconds = ARGV[group.arg], ARGV[group.arg + 1], ARGV[group.arg + 2]
    local it = kept[group.key]
    if not it then return {0, '', 0, ''} end
    if it[2] ~= holder then return {0, it[1], it[4], it[5]} end
    if it[4] == 0 then
        for _, section in ipairs(group.sections) do
            local channel = channels[section.name]
            if has_ended(channel) and not select(2, repeated(channel, section)) then return {2, section.name} end
        end
        local results, counts = {}, {}
        for i, section in ipairs(group.sections) do
            results[i], counts[i] = add(channels[section.name], section), section.count
        end
        it[4], it[5], it[6] = 1, answer, {part.epoch, stamp, results, counts}
        keep(group, it, seconds)
    end
    return {1, it[6]}
end

function run.release(group)
    local it = kept[group.key]
    if it and it[2] == ARGV[group.arg] and it[4] == 0 then
        redis.call('DEL', group.key)
        kept[group.key] = false
    end
    return {1}
end

local results = {}
for i, group in ipairs(groups) do results[i] = group.err or run[group.kind](group) end
for _, channel in ipairs(grown) do
    drop(channel, channel.stream, channel.dedupe, 2 * channel.added + 256)
    local counts, word = string.format('%.0f %.0f %.0f', channel.head, channel.term, channel.bytes), channel.word
    local last = channel.deleted and string.format('G%.0f ', channel.deleted) or ''
    if word then
        last = last .. string.format('%s%.0f %.3f ', word.is_end and 'E' or 'D', channel.head, word.upto) .. word.blob
    end
    redis.call('HSET', part.log, channel.name, counts .. channel.pasts .. last)
    redis.call('PEXPIRE', channel.stream, milliseconds_of(channel.keep.seconds))
    redis.call('PEXPIRE', channel.dedupe, milliseconds_of(channel.keep.seconds))
end
if #news > 0 then
    part.seq = part.seq + 1
    part.save()
    local start = '\\147' .. cmsgpack.pack(part.epoch) .. cmsgpack.pack(part.seq)
    redis.call(publish, hints, start .. '\\221' .. struct.pack('>I4', #news) .. table.concat(news))
end
local reply = {part.epoch, part.seq, stamp, results}
-- It is refused only where memory is full and nothing was written before: then it need not be known what was done.
redis.pcall('SET', KEYS[2], cmsgpack.pack({number, reply}), 'EX', 3600)
return reply
"""

APPEND: Final = Script.of(OPEN + _APPEND)
"""Does a batch in a partition: all of it that can be done, once, however often it is sent."""
