"""Bounds that are no settings: they depend on the code, and not on an app. An app sets those of limits.py.

Each stands once: here, or in the ``bounds.py`` of its room, where that has one and no other room needs the bound.
"""

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
UNHEARD_IN_A_ROW = 512
"""Frames that are decoded in a row of a client of which only the close is looked for: 5 ms. Nothing comes out of them
by which a turn could be counted."""
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

ENDED_POLL_MS = 60_000
"""When a client asks again that does not know what an ``end`` is. Who knows it does not ask."""
STATE_AGAIN_SECONDS = 5
"""For how long a poll of many channels waits at most, where the app failed to give the state of one of them."""

# --- the app
DRAIN_SECONDS = 5
"""Within which everybody is asked to leave, where the server does not say."""
COMMAND_RETRY_SECONDS = 1
"""After which a client is told to ask again for a command that runs elsewhere, or that there is no room for now."""
RETRY_AFTER_DIGITS = 9
"""Longest ``Retry-After`` of an app's that a reply to a command passes on: some thirty years, in seconds."""
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
PUBLISHER_GOODBYE_SECONDS = 1.0
"""For what a ``SyncPublisher`` closes at its end, beyond its own time to wait."""

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

FUTURES_NAMED = 256
"""How many channels are named in the log whose state has a cursor of the future, each once for a function."""

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
TICKET_SECONDS = 30
"""How long a ticket is good, at most: a URL may stand in a log."""
IDENTITY_BODY_BYTES = 1 << 10
"""Largest body of a request to renew a stream."""
RENEWAL_KEY_BYTES = 16
"""Random bytes of the key by which a stream is renewed (RFC 6750 section 5.2 asks for 128 bits of a token)."""
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

# --- the wire
CRUMB_BYTES = 1 << 10
"""A fragment, a chunk, or a frame of a body costs us as much as a message, however small it is, unless so many bytes
come with it: then it costs what bytes cost."""
CHUNK_LINE_BYTES = 256
"""The line before a chunk of a request's body."""
CHUNKS_IN_A_ROW = 32
"""Chunks of a body that are read before others have their turn: 0.2 ms."""

# --- Hypercorn's part
READ_AHEAD_BYTES = 64 << 10
"""Bytes of a client that are read before there is room for them; then its kernel holds it back."""

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

# --- the operator's listener
ADMIN_HEAD_BYTES = 16 << 10
"""The head of a request: a CloudEvent in headers may be as long as they may be for clients."""
ADMIN_HEAD_SECONDS = 5
"""From accepting a connection to the end of the head, and from the answer's first byte to its last."""
ADMIN_SECONDS = 30
"""From the head to the answer: for a large body, and for a log that is slow."""
ADMIN_BODY_SECONDS = 15
"""From a body's turn to its last byte: the largest needs 4.5 Mbit/s. Half of the time to the answer, so that of two
that come one behind the other the second one is answered too."""
ADMIN_CONNECTIONS = 32
"""Connections at the same time. Those whose request is not there to its last byte make room for others, so that whoever
asks briefly (``/health``, ``/metrics``) is answered while as many bodies are being sent."""
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
"""Bodies that are held at the same time; whoever has another one waits to send it. One of ``ADMIN_READ_BYTES`` is read
without waiting: all connections together are 2 MB of these."""
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
ADMIN_SHOWN = 10
"""Channels and connections that a page shows: those with the most followers, those that are furthest behind."""

# --- the command
OPERATOR_ANSWER_SECONDS = 60.0
"""For each step of a question to an operator's listener: twice what an answer may take there."""
MIDDLEWARE_LAYERS = 16
"""Of ASGI middleware that are looked through for the app beneath."""
MOST_WORKERS = 256
"""Workers of one supervisor."""
RELOAD_KILL_SECONDS = 5
"""Until it is killed."""
CERTIFICATE_BYTES = 1 << 20
"""Of a file with a certificate or a key, to say what is wrong with it: a chain has some kilobytes."""
CERTIFICATE_WARNING_SECONDS = 7 * 86_400
"""Before a certificate's end, from when on that is said: whoever renews it by itself has done so long before."""

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
FINISH_SECONDS = 30
"""For how long it is read on from a client that goes on sending what nobody wants, a body that is refused say, so that
it hears the answer (nginx: ``lingering_time``, 30 s)."""
LATE_TURNS = 4
"""For how many turns of the event loop it is looked for what a client has sent when its time is over. A task that reads
needs two for what it passes on, for the socket and for a lock, of which the first may come last in a turn."""
LOG_RETRY_SECONDS = 1
"""Before a log that is away or has failed is asked again."""
LOG_FAULT_SECONDS = 60
"""Before it is said again that a method of a log fails: each client may ask it, and each second."""
LOG_PATIENCE_SECONDS = 30
"""For how long an answer of a log of a user's own is waited for, where that says nothing else: its database may have
gone without a word."""
WRITE_BYTES = 64 << 10
"""How much a client must take within ``limits.write_seconds``."""
