"""Every bound that is no setting, once: it depends on the code, and not on an app. An app sets those of limits.py."""

from __future__ import annotations

# --- names and cursors
CURSOR_CHARACTERS = 64
"""Longest text of a cursor, in characters: a 32-character epoch, a dot and a 19-digit offset fit."""
CHANNEL_BYTES = 255
"""Longest name of a channel, in bytes of UTF-8."""
NAME_CHARACTERS = 128
"""Longest name or key of an event, in characters."""
CHANNELS_LISTED = 1_000
"""Names of channels that are listed at once."""

# --- connections
ENDED_AT_ONCE = 32
"""Connections that are ended in one turn. What their goodbyes cost is some 10 ms, for which the others wait."""
HEARTBEAT_LOOKS = 40
"""Moments in half of ``limits.beat_seconds`` at which heartbeats look: every quarter of a second. One for each
connection would cost more in passes of the scheduler than all the heartbeats."""
TIMER_CALLS_A_TURN = 32
"""Heartbeats that are looked at, and sleepers that are woken, before others have their turn: half a millisecond."""
HAPPENINGS = 16
"""How many of the last notable things are remembered of a connection. Most connections have none."""
ENDED_CONNECTIONS = 256
"""Connections that have ended and are remembered, by default: as ``limits.ended_connections``."""
MESSAGES_IN_A_ROW = 16
"""Most messages of the app's and answers that are written before a follower that is behind gets its next page: a
handler that sends on and on must not keep the events from a slow client."""

TURN_STEPS = 128
"""Messages that are taken from clients or sent to them in a row, without giving way to other tasks: some 0.3 ms, where
the app does next to nothing with them."""
TURN_SECONDS = 0.001
"""The same in seconds, where it does: as long as the pump writes in a row. The clock is looked at with each fourth
message, so where the app takes longer over each, it is four of them at most."""
TURN_BYTES = 16 << 10
"""Bytes of the app's messages to one client that are written as one: no more than a kernel takes at once from an idle
client (``NOTSENT_BYTES``), or what was small enough for it each time would be too much together."""
TURN_ALL_BYTES = 1 << 20
"""The same of all clients together: then they are written before the turn ends."""
READ_IN_A_ROW = 64
"""Messages of one client that are decoded in a row: some 0.2 ms, for which all other tasks wait."""

# --- transports
ORIGINS_NAMED = 256
"""How many refused origins are named in the log, each once. A client can make up as many as it likes."""
ORIGIN_CHARACTERS = 200
"""And how much of each."""
PREFLIGHT_SECONDS = 7_200
"""How long a browser may remember what a preflight was answered (Chromium's longest). The requests themselves are
checked each time."""
PREFLIGHT_HEADERS = 32
"""How many names of headers a preflight may ask for."""
DRAINED_POLL_SECONDS = 0.5
"""Over which long polls are answered when the server drains: thousands at once would hold up all other clients."""
SSE_RETRY_MS = 1_000
"""When a browser comes back that was told nothing better: the first line of each stream."""
SSE_HEARD_BYTES = 1 << 16
"""What a client may send behind its request, before it is given up. All of it is thrown away."""

# --- the app
DRAIN_SECONDS = 5
"""Within which everybody is asked to leave, where the server does not say."""
SUBJECT_BYTES = 255
"""How long an identity's subject and session may be: as long as a channel's name."""
COMMAND_RETRY_SECONDS = 1
"""After which a client is told to ask again for a command that runs elsewhere, or that there is no room for now."""
RETRY_AFTER_DIGITS = 9
"""Longest ``Retry-After`` of an app's that a reply to a command passes on: some thirty years, in seconds."""
REVOCATIONS_KEPT = 4_096
"""Revocations remembered for those who are being let in; where more come meanwhile, they are sent away to come back."""
CLOCKS_APART_SECONDS = 2
"""By how much the clocks of two hosts may differ, where a ticket that one has made is older than a revocation."""
REVOKED_AT_ONCE = 64
"""Clients that a revocation ends in one turn of the event loop: with what they are told, about a millisecond."""
RECHECK_LEAST_SECONDS = 1
"""The least that ``recheck=`` may say: each costs the app as much as a request."""
RECHECK_PART = 0.9
"""Part of a recheck's time after which it is asked: the rest is for its turn, and for the view."""
RECHECKS_AT_ONCE = 32
"""Views that are asked again at the same moment, in one process."""
FOLLOW_URL_CHARACTERS = 2_048
"""How long a URL may be that a client follows. Browsers and proxies take as much in a request's line."""

PLACE_CHARACTERS = 61
"""Most characters of one channel's place in a cursor of many (wire/places.py): an epoch of 32, a key of 8, an offset of
18, two dots and a tilde. Usually they are some 15: epochs are short, and stand there once."""
PLACE_KEYS = 4_096
"""Channels whose keys in such a cursor are remembered in a process."""
VIEWS_ASKED_AT_ONCE = 8
"""Views of one request that follows many channels that are asked at the same moment."""

SUB_CHARACTERS = 64
"""How long what a client calls one of its subscriptions may be. The server repeats it before what it sends."""

# --- tokens, and the keys that they are checked with
TOKEN_BYTES = 8 << 10
"""Longest token: as much as Apache and nginx take in one line of a head."""
TOKEN_HEAD_BYTES = 4 << 10
"""Longest head of one, in base64: some carry a chain of certificates, which is not looked at."""
TOKEN_KEYS_TRIED = 4
"""Keys that one token may be tried with: those of its `kid`, or of its algorithm where it names none."""
TOKEN_LAST_SECOND = 253_402_300_799
"""Latest time in a token, in seconds since 1970: the end of the year 9999. What is later was meant in milliseconds."""
TOKEN_LEEWAY_SECONDS = 60
"""How far a token issuer's clock may be off, by default."""
TOKEN_LEEWAY_MOST_SECONDS = 300
"""And at most: RFC 7519 speaks of "no more than a few minutes"."""
SECRET_BYTES = 32
"""Shortest secret for HS256 (RFC 7518, section 3.2)."""
RSA_KEY_BITS = (2_048, 8_192)
"""Shortest RSA key (RFC 7518, section 3.3), and the longest: checking a signature takes time in the square of it."""
JWKS_BYTES = 256 << 10
"""Largest set of keys, and largest file with one. A key has half a kilobyte, with certificates some four."""
JWKS_KEYS = 64
"""Most keys of a set that are read: each takes some 20 to 200 µs, for which all other tasks wait."""
JWKS_REDIRECTS = 3
"""Redirects, all to the same host, that a fetch follows."""
JWKS_SECONDS = 5
"""Seconds from connecting to the last byte of a set (jose: 5)."""
JWKS_REFRESH_SECONDS = 600
"""Age at which a set is fetched again, by default (jose: ten minutes)."""
JWKS_ASK_SECONDS = 30
"""Between two fetches of a set, whatever asks for them: unknown names of keys cannot make more (jose: 30)."""
JWKS_RETRY_SECONDS = 5
"""The same after a fetch that failed."""
JWKS_AWAY_SECONDS = 24 * 3600
"""How long the last keys serve on, while there are no newer ones to be had."""

# --- the hub
WRITES_BETWEEN_CHECKPOINTS = 256
"""Writes in a row: at some 5 µs each about a millisecond, for which all other tasks wait."""
HEADS_ASKED_AT_ONCE = 64
"""Channels of which the log is asked for the head at the same moment, after the tail was overrun."""
CONFLATED_PAGES = 64
"""Most pages that are read to find the newest event of each key; what lies behind them is for the next reading."""
SHARED_PAGE_SECONDS = 5
"""How long a page is shared: what retention drops from the log must not live on here."""
REDUCER_NAME_CHARACTERS = 128
"""Longest name of a reducer, in characters."""
SNAPSHOT_SECONDS = 60
"""The age at which events are in a reducer's kept state, however few; a fourth of their retention if that is less."""
SNAPSHOT_SPREAD_SECONDS = 1
"""Over how much time processes spread that keep the same state, so that one of them does it."""
PAGES_MADE_AT_ONCE = 2
"""Pages that are read and encoded at the same moment. Encoding one takes up to a millisecond, and all others wait."""
WINDOW_BATCHES = 8
"""Joined batches of one window. A round needs one for each codec; clients that are behind stand at a few places."""

# --- the log in memory, and every log's tail
MEMORY_APPENDS_IN_A_ROW = 64
"""Appends without giving way to other tasks: a publisher in a tight loop must not starve its readers, and a full
pass of the scheduler costs several times what the append does."""
MEMORY_SWEEP_CHANNELS = 64
"""Most channels looked at in one step of the sweep, so that a step stays well under a millisecond."""
MEMORY_SWEEPS = 8
"""Passes of the sweep over all channels in ``limits.keep_seconds``: events of a channel that is neither read nor
appended to outlive their age by at most this part of it, as long as anything is appended anywhere."""
MEMORY_KEPT_BYTES = 256 << 20
"""Claims and answers that a log in memory keeps: half of what is held for clients. Then nothing more can be claimed."""
MEMORY_KEPT_EACH_BYTES = 512
"""What each of them costs besides what is in it (measured)."""
TAIL_EVENTS = 16_384
"""Most events that wait for one listener: 32 default windows. A hub that is further behind reads faster from the log
than from here."""
TAIL_BYTES = 32 << 20
"""Most bytes of the data of the events that wait for one listener."""

# --- the log in SQLite
SQLITE_CHANGES = 4_096
"""Rows that are kept. A process that is further behind learns that it has lost some, and reads the channels."""
SQLITE_TAIL_EVENTS = 2_048
"""Most events in one reading; those of one row are always given."""
SQLITE_WAL_BYTES = 64 << 20
"""What the WAL file is cut back to, should a long read have made it grow."""
SQLITE_LIFE_BYTES = 4_096
"""What is read of such a file: it has some 200."""
SQLITE_GROUP_DRAFTS = 256
"""Most drafts in one transaction (an append of more has one of its own): beyond, no rate is gained."""
SQLITE_GROUP_BYTES = 4 << 20
"""Most bytes of their data: about what SQLite lets a WAL grow to (1,000 pages) before it checkpoints."""
SQLITE_READERS = 2
"""Connections to read with, a thread each: a page that must come from a slow disk does not hold up all readers."""
SQLITE_REST_SECONDS = 0.005
"""Seconds between two looks for other processes' commits, while there are commits all the time."""
SQLITE_LOCK_DELAYS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Seconds between attempts at a locked file, the last for all further ones. SQLite's own are like these."""
SQLITE_HANDOVER_AFTER_SECONDS = 0.002
"""Seconds of real time that a job may be under way, in a busy loop, before the loop makes room for it."""
SQLITE_HANDOVER_SECONDS = 50e-6
"""Seconds for which the loop makes room, once in a pass of the scheduler: about what it takes to wake a thread."""
INOTIFY_READ_BYTES = 1 << 12
"""Read at once of the kernel's notifications."""
SQLITE_BLIND_SECONDS = 0.02
"""Seconds between two looks at the file where there is no inotify."""
SQLITE_PRUNE_ROWS = 256
"""Rows that a transaction may delete besides twice those it inserts: so retention always catches up."""
SQLITE_SWEEP_CHANNELS = 16
"""Channels that a transaction may prune although nothing is appended to them."""
SQLITE_SWEEP_LOOKS = 256
"""And that it may look at for that: some may be kept longer than others."""
SQLITE_SWEEPS = 64
"""Looks, in the shortest time that a channel is kept, for those that have grown old without being appended to."""
SQLITE_KEPT_CHANNELS = 4_096
"""Channels of which a log knows at once how much is kept; of others it looks at the patterns of ``limits.keep``."""
SQLITE_INSERT_ROWS = (64, 16, 4, 1)
"""Rows that one INSERT takes: few steps for any number of rows, and few statements to keep prepared."""

# --- the log in Redis
REDIS_BATCH_DRAFTS = 512
"""Most drafts in one batch (an append of more has one of its own). Redis answers no other client meanwhile: some 3
ms."""
REDIS_BATCH_BYTES = 1 << 20
"""Most bytes of their data."""
REDIS_BYTES_PER_SECOND = 4 << 20
"""The rate at which a busy server takes in a large batch: its answer may take so much longer than
``limits.answer_seconds``."""
REDIS_PATIENCE_SECONDS = 0.1
"""Seconds between two looks whether an append's time is over."""
REDIS_CONNECT_DELAYS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to connect, the last for all further ones."""
REDIS_HINT_SECONDS = 0.1
"""Seconds that a hint may take that must have been sent, before it counts as missed."""
REDIS_NAMES = 256
"""Most names of channels that one script looks at. Redis answers no other client meanwhile: 1 to 3 ms."""
REDIS_KEPT_CHANNELS = 4_096
"""Channels of which it is remembered how much of them is kept, where ``limits.keep`` says it."""
REDIS_CLUSTER_PARTITIONS = 16
"""Number of partitions over which channels are spread in a cluster. Each process has a connection for each of them."""

# --- presence
LEASE_RENEWALS = 3
"""Renewals in the time of a lease: two of them may be lost or late before another process takes this one for dead."""
PRESENCE_LEFT_CHANNELS = 1_024
"""Channels that all members of this process have left, the latest of them, which are looked at after a loss. A
failover loses seconds of the log; each channel costs its name, and one question to the log after a loss."""
PRESENCE_DRAFTS = 256
"""Most joins and leaves in one append: a transaction that does not hold up the log's other writers."""
PRESENCE_RECORDS = 1_024
"""Channels whose record is kept after it was asked for. The longest unused go first, and are then read anew."""
PRESENCE_WRITERS = 64
"""Channels into which joins and leaves are written at the same time: as many appends may wait for one log."""
POLLED_PRESENCE_SECONDS = 10
"""How long a member that polls is present after its last poll: the time of five polls, so some may be late."""
SESSION_NAME_CHARACTERS = 32
"""Characters of a session's name: 12 of its process, a dot, and a count of at most 19 digits."""
SESSION_STATEMENTS = 10**9
"""How often a session is stated, at the very most: once in a third of a lease, for centuries."""
RUNS_KEPT = 32_768
"""Statements on runs that the log keeps; one that is true for longer than a fourth of them is made again."""
RUN_LOOKS = 10
"""Looks, in the time of a lease, for runs whose process has died: one question to the log for each process."""

# --- identity
DEADLINES_STALE = 64
"""Entries that may stand in the heap of deadlines for nothing, besides as many as stand there for something."""
TICKET_SECONDS = 30
"""How long a ticket is good, at most: a URL may stand in a log."""
TICKET_BYTES = 32
"""Random bytes of a ticket."""
IDENTITY_BODY_BYTES = 1 << 10
"""Largest body of a request to renew a stream."""
RENEWAL_KEY_BYTES = 16
"""Random bytes of the key by which a stream is renewed (RFC 6750 section 5.2 asks for 128 bits of a token)."""
IDENTITY_BYTES = 16 << 10
"""Largest claims that are told to other processes or kept under a ticket: twice a token (``TOKEN_BYTES``)."""
CONTROL_WAITING = 1_024
"""Messages about identities that wait for a log that is away, to be told to others; of renewals half as many."""
NOW_EVENTS = 256
"""What processes tell each other only for now, as the log keeps it: it is heard at once, or not."""
NOW_SECONDS = 10.0
"""For how long."""
FEED_WAIT_SECONDS = 60.0
"""How long ``live.follow`` waits before it looks whether the app is still served."""
WATCH_LEASE_SECONDS = 15.0
"""How long one process tells another how many watch a channel, and is believed; it is asked at each third of it."""
WATCH_TELL_SECONDS = 0.25
"""What changes within that time is told together. Who is asked for the first time has four times that to answer."""
WATCH_AWAY_SECONDS = 2.0
"""For how long nobody must watch a channel until a hook hears of it: a long poll asks again, a page is loaded again."""
WATCH_NAMES = 200
"""Channels in one message about who watches."""
TELLS_WAITING = 256
"""What is told and was not written yet, because very many hear it."""
CONTROL_DRAFTS = 64
"""Most of them in one append."""
CONTROL_REMEMBERED = 4_096
"""Of this process's own messages, those that have taken effect here and are still to come back from the log."""

# --- the wire
CHUNK_LINE_BYTES = 256
"""The line before a chunk of a request's body."""

# --- Hypercorn's part
SEND_TO_NOBODY_SECONDS = 0.05
"""What a send takes when the client is gone, so that a loop that only sends gives way to others."""
REQUEST_BYTES = 32 << 10
"""What a request holds while the app runs for it: its tasks, scope and context (measured: 32 kB over HTTP/2, 40 kB
over HTTP/1.1)."""
REQUESTS_BELOW_CEILING = 1_000
"""So many fit below any ceiling, however small: one that is meant for content is not spent on what is asked for it."""
READ_AHEAD_BYTES = 64 << 10
"""Bytes of a client that are read before there is room for them; then its kernel holds it back."""
BODY_PIECE_BYTES = 64
"""What a piece of a body counts at least: each costs memory of its own, however small it is."""
HTTP2_WINDOW_BYTES = 8 << 20
"""More than the 100 streams at once of 64 KiB each."""
HTTP2_FRAMES_A_TURN = 8
"""Frames that are handled before others have their turn: one may take us a tenth of a millisecond."""
HTTP2_RESETS_PER_SECOND = 33
"""Resets of streams by one client, on average."""
HTTP2_RESETS_AT_ONCE = 200
"""And resets of streams (CVE-2023-44487)."""
HTTP2_TABLE_BYTES = 4 << 10
"""Headers of ours that are remembered for a client. It may ask for any number (RFC 7541 section 4.2)."""
HTTP2_FRAMES_PER_SECOND = 33
"""Frames of one client that cost the server more than the client, on average (nghttp2: 33)."""
HTTP2_FRAMES_AT_ONCE = 1_000
"""And at once (nghttp2: 1,000)."""
HTTP2_EARNED_BY_FRAME = 2
"""A window is given back to the stream, and to the connection."""
HTTP2_EARNED_EVERY_BYTES = 2 << 10
"""Go's client gives back every 4 KiB, twice."""
HTTP2_EARNING_BYTES = 4 << 10
"""A frame that a window has cut shorter than this earns nothing."""
HTTP2_CRUMB_BYTES = 1 << 10
"""A window that is given back below this is a crumb."""
HTTP2_CRUMB_COST = 4
"""A stream waits, and is given less than ``HTTP2_CRUMB_BYTES``: it wakes, sends a frame, and waits again."""
HTTP2_STREAMS_A_FRAME = 4
"""So many streams that wake cost as much as one frame."""
HTTP2_FRAME_BYTES = 16 << 10
"""The largest frame that every client takes (RFC 9113 section 4.2)."""
KEEPALIVE_PHASES = 40
"""Moments in the second half of ``limits.beat_seconds`` among which first pings are dealt out, by the client's port:
clients that came together are not all pinged together."""

# --- sockets
NOTSENT_BYTES = 16 << 10
"""Bytes the kernel takes beyond what it has sent: a stalled client costs some 130 kB of kernel memory and not 3.9
MB, and is noticed as soon. The value is Trio's own for its streams."""
TLS_RECORD_BYTES = 16 << 10
"""Bytes that are read, or encrypted, at once: a record (RFC 8446 section 5.1). OpenSSL's buffers stay as large as
they ever were."""
TLS_CONTROL_BYTES = 16 << 10
"""Most bytes of TLS's own that may wait for a client that takes nothing: some 600 answers to key updates."""

# --- the server
ACCEPTS_AT_ONCE = 2
"""In one turn of the event loop: mostly their requests are there too, and to let one in takes half a millisecond,
for which live clients wait. (``ADMITTED_AT_ONCE`` are those whose requests come later.)"""
ACCEPT_PAUSE_SECONDS = 0.1
"""Before accepting again where there was no descriptor left."""
ACCEPT_COMPLAINT_SECONDS = 10
"""Between two lines in the log that say so."""
HANDSHAKE_BYTES = 70 << 10
"""What OpenSSL holds for a client from accepting it to the end of its handshake (measured with 3.0)."""
FORWARDED_HOPS = 32
"""Of ``X-Forwarded-For``: who lists more is not gone through further."""
ADMITTED_AT_ONCE = 2
"""How many go on in one turn of the event loop once their head is read: letting one in takes half a millisecond, for
which live clients wait. (Those whose head is there when they are accepted are bounded by ``ACCEPTS_AT_ONCE``.)"""
PROXY_HEADER_BYTES = 4 << 10
"""Of version 2's addresses and what follows them: certificates are the largest."""
GRACE_CLIENTS_PART = 0.7
"""The part of the grace that clients have; the rest is the app's."""
GRACE_LEAVING_PART = 0.5
"""The part of the clients' time within which all are asked to leave; the rest is for slow ones."""

# --- workers
CONTROL_BYTES = 1 << 20
"""One message between a worker and its supervisor."""
CONTROL_LISTENERS = 64
"""Listening sockets lent in one message."""
LAST_RESORT_SECONDS = 2.0
"""After the grace, until the process is ended from outside of the event loop: cancelling all takes a moment."""
LAST_RESORT_NOW_SECONDS = 1.0
"""The same after a second signal."""
LAST_WORDS_SECONDS = 0.5
"""For the line in the log that says so."""
LOG_LINE_CHARACTERS = 16 << 10
"""Of one message: what is longer is cut off."""
COLLECT_AFTER_OBJECTS = (5_000, 20, 100)
"""Thresholds of Python's garbage collector (its defaults are 700, 10, 10): new objects before it looks at the young
ones, and how many of such looks before one at the older ones. Ten thousand connections are a million objects,
which are looked at in one go."""
WORKER_START_SECONDS = 60
"""Seconds that a worker may take from its start until it is ready."""
WORKER_STEADY_SECONDS = 30
"""Seconds after which the end of a worker is not taken for the same failure as the end of the one before it."""
WORKER_PAUSES = (0, 1, 2, 4, 8, 16, 32)
"""Seconds before a place's worker is started again, while none there holds for ``WORKER_STEADY_SECONDS``. After that
many attempts the supervisor gives up."""
WORKER_KILL_SECONDS = 5
"""After the grace, until workers that are still there are killed: they keep to the grace by themselves."""
WORKER_NOW_SECONDS = 3
"""From a second signal until workers that are still there are killed: they end themselves in one."""
WORKER_BEAT_SECONDS = 1
"""Between two beats to each worker that serves."""
WORKER_SILENT_BEATS = 3
"""So many not answered: the worker does not serve, and a neighbour serves its queues too."""
WORKER_DEAD_BEATS = 15
"""So many: it is killed, and replaced. An event loop that an app has held up for so long serves nobody."""
WATCHDOG_BEATS = 2
"""Signs of life in the time after which systemd gives the service up, as sd_watchdog_enabled(3) advises."""

# --- the operator's listener
ADMIN_HEAD_BYTES = 16 << 10
"""The head of a request: a CloudEvent in headers may be as long as they may be for clients."""
ADMIN_HEAD_SECONDS = 5
"""From accepting a connection to the end of the head, and from the answer's first byte to its last."""
ADMIN_SECONDS = 30
"""From the head to the answer: for a large body, and for a log that is slow."""
ADMIN_CONNECTIONS = 32
"""Connections at the same time."""
ADMIN_BACKLOG = 64
"""Connections that the kernel may hold."""
ADMIN_READ_BYTES = 64 << 10
"""Read at once."""
ADMIN_PAUSE_SECONDS = 1
"""Before accepting again where there was no descriptor left."""
ADMIN_LINGER_SECONDS = 1
"""For which what still comes is read behind an answer that came early: else the kernel resets, and it is lost."""
ADMIN_BODY_BYTES = 8 << 20
"""A body: 10,000 events of 800 bytes."""
ADMIN_BODIES = 4
"""Bodies that are held at the same time; whoever has another one waits to send it."""
ADMIN_EVENTS = 10_000
"""Events of one publish."""
ADMIN_EVENTS_IN_A_ROW = 64
"""Of these, those that are read without giving way to others: about a millisecond."""
ADMIN_KEPT_SECONDS = 60
"""How long the log remembers a publish to several channels, should its process stand still in the middle of it."""
ADMIN_PARAMETERS = 16
"""Values in the query of a request."""
ADMIN_LISTED = 1_000
"""Events or connections of one answer at most, and a tenth of it where nothing is said."""
ADMIN_CHANNELS_EACH = 8
"""Channels that are told of one connection: those in which it is furthest behind."""
ADMIN_HISTORY_BYTES = 4 << 20
"""Data of the events of one answer."""
ADMIN_ANSWER_BYTES = 64 << 20
"""What a worker may answer its supervisor, who holds it."""
ADMIN_GATHER_SECONDS = 2
"""Seconds that a worker has to answer what all are asked."""
ADMIN_RETRY_SECONDS = 1
"""After which to ask again where there was no answer."""
ADMIN_KEY_BYTES = (16, 1_024)
"""Shortest and longest key."""

# --- the command
MIDDLEWARE_LAYERS = 16
"""Of ASGI middleware that are looked through for the app beneath."""
MOST_WORKERS = 256
"""Workers of one supervisor."""
RELOAD_KILL_SECONDS = 5
"""Until it is killed."""

# --- explaining
EXPLAINED_CHANNELS = 3
"""Channels of one connection that are spoken of one by one; of the others only the number is told."""
EXPLAIN_SECONDS = 3_600.0
"""Seconds from now for which a policy is asked what it would say."""
EXPLAIN_EVENTS = 1e6
"""Events further behind for which a policy is asked what it would say."""
LAG_SAMPLE_EVENTS = 16
"""Newest events of a window, from which the size of the others is guessed."""

# --- the process
KNOWN_URLS = 4_096
"""URLs that are known not to be Triolet's: a page that is asked for again is not looked up again."""
KNOWN_URL_CHARACTERS = 256
"""The longest of them, with its host."""
MEMORY_NEAR_PART = 0.9
"""Part of the ceiling: from here on no new client is let in, and down to here load is shed."""
READ_BYTES = 1 << 16
"""Read at once from a client."""
LOG_RETRY_SECONDS = 1
"""Before a log that is away or has failed is asked again."""
WRITE_BYTES = 64 << 10
"""How much a client must take within ``limits.write_seconds``."""

# --- the Python client
CLIENT_SILENCE_SECONDS = 50.0
"""Seconds without a word before a connection counts as lost, as long as no two beats have shown their pace: two and a
half of the longest that ``limits.beat_seconds`` makes usual. The browser's client waits as long."""
CLIENT_BEATS_MISSED = 2.5
"""Times of a beat's pace after which a connection counts as lost: one beat may be lost with what carried it."""
CLIENT_LEAST_SILENCE_SECONDS = 1.0
"""However fast the beats come."""
CLIENT_LUMP_SECONDS = 2.0
"""Beats that say that they were sent so far apart, and come within a quarter of it, were held back by something. That
they say more than that is the server's clock, which may jump."""
CLIENT_LUMPS = 2
"""So many times on one connection: a proxy collects what is sent, and another transport is taken."""
CLIENT_FIRST_RETRY_SECONDS = 1.0
"""Longest wait before the first new try; it doubles with each that follows."""
CLIENT_LAST_RETRY_SECONDS = 30.0
"""And how long it gets at most."""
CLIENT_PROBE_SECONDS = 2.0
"""For a stream's first message, where another transport could be tried: a visitor waits for three."""
CLIENT_BETTER_SECONDS = (300.0, 3_600.0)
"""After which a better transport is tried again: at first, and, as it doubles, at most."""
CLIENT_ITEMS = 128
"""Items of one channel that wait for the program. A client that is slower is no longer read for."""
CLIENT_MESSAGES = 128
"""What an app's handler says on one connection of a shared socket, and the program has not taken yet. With more of it
the socket is no longer read: there is no cursor from which it could come again. With twice as many there is no next
connection."""
CLIENT_OUTBOX = 1_024
"""Messages that wait to be sent up one WebSocket; with more of them it counts as lost."""
CLIENT_MESSAGE_BYTES = 16 << 20
"""Longest message, or block of an event stream: many times what a server takes by ``limits.event_bytes``."""
CLIENT_PAGE_BYTES = 64 << 20
"""Longest answer to a poll or a command."""
CLIENT_WAIT_SECONDS = 25
"""Seconds that a long poll may be held: a little less than the shortest timeout that is usual, 30 s."""
CLIENT_COMMANDS = 16
"""Commands that are asked at once, as many as ``limits.commands`` lets one connection have open by default."""
CLIENT_COMMANDS_WAITING = 1_000
"""Commands that wait for their turn."""
CLIENT_COMMAND_SECONDS = 60.0
"""Until a command counts as unanswered, by default."""
CLIENT_GOODBYE_SECONDS = 1.0
"""For the close frame, and the answer to it."""
CLIENT_STORED_CURSORS = 1_000
"""Cursors that one file keeps."""
CLIENT_RENEW_LEAST_SECONDS = 1.0
"""The least wait before a credential that is about to end is renewed."""
