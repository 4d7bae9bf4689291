"""Every bound and timeout that an app may set, once: its unit in its name, and where its default comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

from .bounds import NOW_EVENTS, NOW_SECONDS, RUNS_KEPT
from .errors import ConfigError
from .event import NOW_CHANNEL, OWN_PREFIX
from .pattern import Pattern

__all__ = ["Keep", "Limits", "Retention"]

SNAPSHOTS: Final = f"{OWN_PREFIX}snapshot/"
"""How the names of channels begin in which reducers keep their states, one each."""

RUNS: Final = f"{OWN_PREFIX}runs"
"""The channel in which processes tell which runs have begun, and which are over."""

MOST_INTEGER: Final = 2**53
"""Largest limit that is counted: what SQLite, Redis and JSON hold exactly."""

MOST: Final = {
    "backlog": 2**31 - 1,
    "header_bytes": 2**31 - 1,
    "body_bytes": 2**31 - 1,
    "message_depth": 200,
    "message_bytes": 2**80,
}
"""Of those that differ: what listen(2) and HTTP/2's settings take, how deep Python's decoders go, and more than any
length that a frame can have, for no limit."""

MOST_SECONDS: Final = 1e9
"""Longest time, 31 years, and highest rate."""

ENDLESS: Final = ("keep_seconds", "seconds")
"""What may also be ``math.inf``: events that are never too old."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of some channels is kept; whichever comes first. What is None is as ``Limits`` has it for all others.

    An example is ``Limits(keep={"ticks/*": Keep(events=100), "orders/*": Keep(seconds=math.inf)})``.

    Attributes:
        events: most events of a channel.
        seconds: how long an event is kept; ``math.inf`` for ever.
        bytes: most bytes of a channel's events.
    """

    events: int | None = None
    seconds: float | None = None
    bytes: int | None = None

    def __post_init__(self) -> None:
        for name, kind in (("events", "int"), ("seconds", "float"), ("bytes", "int")):
            if getattr(self, name) is not None:
                _check_number(name, kind, getattr(self, name), of="Keep")


class Retention(NamedTuple):
    """How much of one channel is kept: see :class:`Keep`."""

    events: int
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, one channel and one process may take.

    All seconds are Trio's (virtual in tests). Give what you change: ``Limits(stall_seconds=5)``.
    """

    # --- one message of a client
    message_bytes: int = 1 << 20
    """Largest message a client may send, all fragments together (websockets: 1 MiB)."""
    message_fragments: int = 128
    """Most fragments of one message (ws, after CVE-2026-48779)."""
    message_seconds: float = 10
    """From a message's first fragment to its last."""
    message_depth: int = 32
    """Deepest nesting of a client's JSON."""

    # --- what one client may do
    follows: int = 128
    """Channels that one connection may follow at once, one as often as it is followed (Centrifugo: 128)."""
    inbox_messages: int = 64
    """Messages that may wait for the app's handler."""
    inbox_bytes: int = 1 << 20
    """Bytes that may wait for the app's handler."""
    outbox_messages: int = 64
    """Messages of the app that may wait for one slow client; then ``conn.send`` waits."""
    control_per_second: float = 10
    """Pings and pongs a client may send, on average; bursts of five times as many."""
    messages_per_second: float = 1_000
    """Messages a client may send, on average; bursts of twice as many. What is more is read later. Fragments of a
    message, and frames of a body over HTTP/2, count as messages too, and ten chunks of a body over HTTP/1.1 as one; but
    one less for each KiB that comes with them."""

    # --- a client that does not read, or does not speak
    stall_seconds: float = 10
    """How long the kernel may take nothing before a client is given up as slow."""
    beat_seconds: float = 20
    """Between beats, while nothing else is sent (NATs forget after 30 s, proxies after 60)."""
    silence_seconds: float = 50
    """A WebSocket peer that sent nothing, not even a pong, for so long is gone."""
    policy_seconds: float = 1
    """Between two looks at a policy while its client takes nothing."""
    leaves_per_second: float = 1_000
    """Clients that a draining server asks to leave, each second: others must let them in. Half of the time that
    ``--grace`` leaves to clients is enough in any case."""
    goodbye_seconds: float = 2
    """For the last words of a connection, and for the peer's close frame."""
    expiry_warning_seconds: float = 30
    """How long before its identity expires a client is warned, or at once where less is left."""

    # --- HTTP
    header_bytes: int = 16 << 10
    """Request line and headers (Apache and nginx: 8 KiB a line)."""
    body_bytes: int = 16 << 20
    """Largest body of a request, and of all of one HTTP/2 connection's together (Quart's
    MAX_CONTENT_LENGTH, which newer ones look at only when all of it is there)."""
    header_seconds: float = 5
    """From accepting a connection to the end of the first request's headers."""
    idle_seconds: float = 150
    """How long a connection may wait for its next request. Longer than a proxy keeps one that is idle by default (nginx
    60 s, Go's and Traefik's 90, Caddy 120): the side that asks has to be the one that ends it, or a request that is on
    its way meets a closed connection, and is a 502. Google's load balancer keeps them for 600 s."""
    write_seconds: float = 30
    """How long an ordinary HTTP response may wait for its client to read on."""
    wait_seconds: float = 25
    """Longest long poll, and its default: less than the 30 s of the shortest usual proxy."""
    poll_seconds: float = 2
    """What a short poll is told to wait before it asks again."""

    # --- reading
    page_events: int = 256
    """Most events in one batch, and in one answer to a poll."""
    page_bytes: int = 256 << 10
    """Most bytes of data in one batch or answer (one event is always given)."""
    window_events: int = 512
    """Newest events of a channel that are kept encoded in memory."""
    window_bytes: int = 1 << 20
    """And their bytes."""
    idle_windows: int = 1_024
    """Windows that are kept although nobody follows their channel now."""
    windows_bytes: int = 64 << 20
    """And of all channels together, a quarter of ``memory_bytes`` at most; then the longest unused windows are emptied.
    The log has it all."""
    replay_turns: int = 8
    """Clients that are given a page at the same moment, of those that catch up; the others wait in line."""
    replay_turn_seconds: float = 0.005
    """How long one of them may take to take its page before the next one's turn."""
    replay_bytes: int = 8 << 20
    """Encoded pages that clients who catch up from the same place share."""

    # --- retention, per channel; whichever comes first. The newest event's offset is never forgotten
    keep_events: int = 10_000
    """Most events of a channel that are kept."""
    keep_seconds: float = 7 * 24 * 3600
    """How long an event is kept."""
    keep_bytes: int = 64 << 20
    """Most bytes of a channel's events that are kept."""
    keep: Mapping[str, Keep] = field(default_factory=dict, hash=False)
    """Where some channels are kept otherwise: patterns of their names (``ticks/*``), of which the first that matches
    says how. All processes of one log must have the same. Triolet's own channels are kept as Triolet needs them."""

    # --- snapshots
    snapshot_seconds: float = 10
    """How long an app's function may take to return a channel's state."""
    snapshot_bytes: int = 1 << 20
    """Largest state, as JSON."""

    # --- presence
    lease_seconds: float = 15
    """A process of which nothing was heard for so long is taken for dead, and its members leave. It is heard three
    times in that time."""

    # --- commands
    command_id_bytes: int = 255
    """Longest id of a command (an ``Idempotency-Key``), in bytes; a UUID has 36."""
    commands: int = 16
    """Commands that one WebSocket may have asked and not been answered; the next is answered 429."""
    commands_running: int = 1_000
    """Commands of the process that are asked and not answered; past it 503."""
    commands_each: int = 128
    """Commands of one subject that the process has asked and not answered, over all its connections; past it 429. So no
    client takes the places of all others."""
    command_events: int = 64
    """Events that one command may publish. All together they are at most ``event_bytes`` of JSON."""
    answer_bytes: int = 64 << 10
    """Largest answer of a command's view that can be kept, with its headers."""
    command_run_seconds: float = 30
    """How long a command's view may run (then 504); and how long storing what came of it may be tried."""
    command_seconds: float = 24 * 3600
    """How long a command's answer is kept: within that time a repeat gets it, and takes no effect (Stripe: a day)."""

    # --- callbacks, of a server without an app of one's own
    callbacks: int = 64
    """Callbacks that the process asks at the same time; the others wait in line."""
    callback_seconds: float = 5
    """From asking a callback to the end of its answer, with the time in that line. Past it the answer is no."""
    callback_bytes: int = 64 << 10
    """Largest answer of a callback. What is longer is no."""

    # --- runs
    runs: int = 10_000
    """Runs that go on in this process at once; another is refused."""
    run_batch_events: int = 256
    """Most events of a run that are stored together. As many more may wait meanwhile; then its source waits."""
    run_batch_bytes: int = 256 << 10
    """The same in bytes of their data; one is always taken."""
    run_lease_seconds: float = 30
    """A run whose process was not heard for so long is ended as ``lost``, and so is one that can store nothing for so
    long. It is heard three times in that time."""
    run_stop_seconds: float = 10
    """How long a run's source may take to stop. After that the run is over, and what it yields still is dropped."""

    # --- publishing
    event_bytes: int = 1 << 20
    """Largest event, as JSON."""
    tell_bytes: int = 4 << 10
    """Largest thing that is told (``live.tell``), as JSON."""
    tells_per_second: float = 500
    """What one process tells, bursts of twice as many; what is more is told to nobody."""
    lock_seconds: float = 5
    """How long an append waits for a locked database."""

    # --- a log on a server
    away_seconds: float = 5
    """How long an append, or who reads, waits for a log that is away; and a start for one that gives no answer."""
    answer_seconds: float = 2
    """How long connecting to the log's server, or one answer of it, may take before it counts as away."""
    look_seconds: float = 1
    """Between two looks for what no hint told of: how late a missed hint is found."""

    # --- the process
    connections: int = 50_000
    """Connections in all; past it 503."""
    connections_per_address: int = 50_000
    """Connections of one address, or of one /64 of IPv6, which one client has for itself; past it 503. Of a listed
    proxy (``--forwarded-allow-ips``) it is what it brings of one client's: requests that are served, streams among
    them. Lower it there, and where no proxy stands in front."""
    handshakes: int = 4_000
    """TLS handshakes in all that are not done; past it newcomers are refused. Each costs 70 kB, and has
    ``header_seconds``."""
    handshakes_per_address: int = 2_000
    """TLS handshakes of one address, or of one /64 of IPv6, that are not done; a listed proxy's own have ``handshakes``
    alone for a bound. Lower it where no proxy stands in front."""
    memory_bytes: int = 512 << 20
    """Ceiling of what is held for clients: windows, half-sent batches, messages on their way, requests and their
    answers (Centrifugo: 1 MiB a client). From nine tenths of it on nobody new is let in, and the largest unread
    answers go; past it the furthest behind are given up."""
    ended_connections: int = 256
    """Connections that have ended and that ``live.explain`` still knows."""
    backlog: int = 2_048
    """Connections that the kernel may hold for us."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            if limit.name == "keep":
                _check_keep(self.keep)
                continue
            _check_number(limit.name, limit.type, getattr(self, limit.name))
            if limit.name in _HELD and limit.default < getattr(self, limit.name) > self.memory_bytes:
                raise ConfigError(f"limits.{limit.name} can never be held: it is more than limits.memory_bytes")

    def kept(self, channel: str) -> Retention:
        """Return how much of one channel is kept."""
        patterns = _OWN if channel.startswith(OWN_PREFIX) else self.keep
        own = next((keep for text, keep in patterns.items() if Pattern(text).matches(channel)), _AS_ALL)
        return Retention(
            self.keep_events if own.events is None else own.events,
            self.keep_seconds if own.seconds is None else own.seconds,
            self.keep_bytes if own.bytes is None else own.bytes,
        )

    @property
    def shortest_seconds(self) -> float:
        """The shortest time for which events of any channel are kept."""
        return min([self.keep_seconds, *[keep.seconds for keep in self.keep.values() if keep.seconds is not None]])


_HELD: Final = ("page_bytes", "window_bytes", "windows_bytes", "replay_bytes", "inbox_bytes")
"""What may be held at a time: raised above the whole memory, it would end the clients that it is meant for."""


def _check_keep(keep: object) -> None:
    if not isinstance(keep, Mapping) or not all(isinstance(one, Keep) for one in keep.values()):
        raise ConfigError(
            f'limits.keep is a dict of patterns to Keep(…), as {{"ticks/*": Keep(events=100)}}, not {keep!r:.80}'
        )
    for text in keep:
        Pattern(text)


def _check_number(name: str, kind: object, value: object, of: str = "limits") -> None:
    """Refuse what would fail only when it is used: a float where items are counted, and what no system call takes."""
    if kind == "int":
        most = MOST.get(name, MOST_INTEGER)
        if type(value) is not int or not 1 <= value <= most:
            raise ConfigError(f"{of}.{name} must be a whole number from 1 to {most}, not {value!r:.60}")
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in ENDLESS and value == math.inf:
        return
    if not is_number or not 0 < value <= MOST_SECONDS:  # type: ignore[operator]  # it is a number
        raise ConfigError(f"{of}.{name} must be a number above 0 and at most {MOST_SECONDS:g}, not {value!r:.60}")


_AS_ALL: Final = Keep()
_OWN: Final = {
    f"{SNAPSHOTS}*": Keep(events=1, seconds=math.inf, bytes=MOST_INTEGER),
    NOW_CHANNEL: Keep(events=NOW_EVENTS, seconds=NOW_SECONDS),
    RUNS: Keep(events=RUNS_KEPT, seconds=math.inf, bytes=MOST_INTEGER),
}
"""How Triolet's own channels are kept, where that is otherwise than all others."""
