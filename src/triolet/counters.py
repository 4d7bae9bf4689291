"""Counters of one worker process, and frozen snapshots of them.

They are plain integers, and histograms of fixed buckets: counting is an addition, or one bisection for a whole round,
never work for each delivery. What can be read from the things themselves when somebody looks (how far each client is
behind, the bytes held) is not counted here. Nothing here knows a channel's or a user's name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from .clock import wall_time
from .closing import CATALOGUE, SILENT, Closing
from .errors import BAD_TOKENS, LogError
from .event import Gap

__all__ = ["BY_CLIENT", "OUTCOMES", "Counts", "Histogram", "HistogramSnapshot", "Metrics", "closing_labels"]

AGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds. Freshness is felt from a tenth of a second on."""

DURATION_BUCKETS = (1, 5, 15, 60, 300, 900, 3_600, 14_400, 43_200, 86_400, 604_800)
"""Seconds: many below a minute tell of an intermediary that cuts connections, or of clients that are given up."""

COMMAND_OUTCOMES = ("done", "repeated", "refused", "conflict", "mismatch", "failed", "timeout")
"""What can come of a command."""

CALLBACK_OUTCOMES = ("yes", "no", "unclear", "away", "late")
"""What can come of asking a callback."""

OUTCOMES = ("done", "failed", "stopped", "lost")
"""How a run can end."""

BY_CLIENT = "closed by the client"
"""The label in place of a reason where it was the client that closed."""

_KNOWN_CODES = {*range(1000, 1004), *range(1007, 1015)}
"""Close codes that a peer may send by RFC 6455 section 7.4.1 and the IANA registry."""


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """A histogram, frozen.

    Attributes:
        bounds: the buckets' upper bounds, inclusive, ascending.
        counts: observations in each bucket, not cumulated, and a last number for those above all bounds.
        sum: the sum of the observed values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)


class Histogram:
    """Counts observations in fixed buckets.

    Args:
        bounds: the buckets' upper bounds, ascending.

    Bounds: one integer a bucket.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, weight: int = 1) -> None:
        """Count a value, as if it had been observed ``weight`` times."""
        self.counts[bisect_left(self.bounds, value)] += weight
        self.sum += value * weight

    def snapshot(self) -> HistogramSnapshot:
        """Return what was observed so far, frozen."""
        return HistogramSnapshot(self.bounds, tuple(self.counts), self.sum)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted since the process began, and which connections are open.

    Attributes:
        open: connections that are open now, by transport (``websocket``, ``sse``).
        opened: connections ever opened, by transport.
        returned: connections that came with a cursor, and so had been here before.
        refused: connections that were answered 503, for want of room or of memory.
        durations: how long connections lasted, in seconds.
        closed: connections that ended, by code and reason. Where the client closed, with a code that RFC 6455 does not
            know, the code counts as ``other``: labels stay few, whatever clients send.
        crashes: connections that a bug ended.
        slow_handlers: connections that ended because the app's handler did not take their messages.
        follows_refused: follows that a connection which was open already was refused, by the app or as one too many.
        allow_failures: events that a client was not sent because its ``allow=`` function raised, or answered neither
            True nor False.
        ends_told: clients that were told that a channel has ended: once for each follow, and each answer to a poll.
        folded: events that were sent as a part of another one, to clients that have asked for that or by a policy.
        snapshots: states of channels by what came of them: ``given``, to a client; ``failed``, for the app had none.
        tells: what ``live.tell`` has told, by what became of it, client by client: ``written``; ``skipped`` (the client
            had something to catch up with, or did not read); and ``dropped``: it was more than one process may tell,
            and nobody was told.
        runs: runs, by what became of them: ``begun`` here, and ``done``, ``failed`` or ``stopped``; ``lost`` counts
            those of any process that this one has found dead and ended.
        runs_open: runs that go on here now.
        run_events: events that runs have stored.
        run_batches: appends in which they did.
        published: events that :meth:`Triolet.publish` stored, repeated ones included.
        delivered: events written to live followers: one written to a thousand counts a thousand.
        replays: followers that came back to events that they had missed.
        replayed: events that were read for followers that were behind, for that or another reason.
        fell_behind: how often a client did not take what it was sent, and so was live no longer.
        gaps: gaps that clients were told of, by reason.
        missed: events that those gaps left out, as far as that can be known, by reason.
        steps: steps taken by policies, by step.
        long_polls: long polls by how they were answered: ``events``, ``timeout`` or ``draining``.
        short_polls: short polls that were answered with a page.
        not_modified: short polls that were answered 304.
        polled: events that polls were answered with.
        written: age of the oldest event of each round when the round had been written, in seconds; once for each
            follower it was written to.
        acknowledged: age of an event when its client acknowledged it, in seconds.
        commands: commands by what came of them: ``done``; ``repeated`` (the kept answer was given again); ``refused``
            (by an answer of 4xx, or for want of room); ``conflict`` (another process runs it); ``mismatch`` (the id is
            of other data); ``failed``; ``timeout``.
        command_seconds: how long commands took from being asked to their answer, in seconds, repeats too.
        statements: what this process has said in channels of presence: ``joined``, those that were written again among
            them; ``left``; ``lost``, of sessions of processes that have died; and ``failed``: each attempt that the log
            did not take, after which it is written again.
        restatements: joins that were written again for a session that was there already.
        processes_lost: processes that were heard, and then were silent for a whole lease.
        revoked: what ``live.revoke`` has ended: ``connections``, ``subscriptions`` and ``polls``.
        rechecks: views that were asked again, by what they said: ``yes``, ``no``, or neither (``failed``).
        authentications: credentials that were asked about, by outcome: ``ok``, ``none`` (the client is nobody),
            ``refused`` (by the app's ``abort``), or the kind of :class:`BadToken`.
        expired: connections and polls that ended because their identity did.
        renewals: renewals of open connections: ``ok``, or ``refused``.
        callbacks: callbacks of a server without an app of one's own, by what came of them: ``yes``; ``no``; and what is
            as good as that: ``unclear`` (another answer: a page, a redirect, too much), ``away`` (nobody answers, or
            with 5xx) and ``late`` (it took longer than ``limits.callback_seconds``).
        heard: events that were heard of, whichever process has published them, and in whichever channel.
        heard_at: when the last of them was published, in seconds since 1970; 0 before any.
        heard_age: age of an event when it was heard of, in seconds: once for all that were heard of together, and then
            of the oldest.
        log_failures: what the log has failed at: ``publish``, or ``read``, for a client.
        started: when counting began, in seconds since 1970: when the process was started.
    """

    open: Mapping[str, int]
    opened: Mapping[str, int]
    returned: int
    refused: int
    durations: HistogramSnapshot
    closed: Mapping[tuple[str, str], int]
    crashes: int
    slow_handlers: int
    follows_refused: int
    published: int
    delivered: int
    replays: int
    replayed: int
    fell_behind: int
    gaps: Mapping[str, int]
    missed: Mapping[str, int]
    steps: Mapping[str, int]
    long_polls: Mapping[str, int]
    short_polls: int
    not_modified: int
    polled: int
    written: HistogramSnapshot
    acknowledged: HistogramSnapshot
    commands: Mapping[str, int]
    command_seconds: HistogramSnapshot
    heard_age: HistogramSnapshot
    revoked: Mapping[str, int]
    rechecks: Mapping[str, int]
    restatements: int = 0
    processes_lost: int = 0
    ends_told: int = 0
    folded: int = 0
    snapshots: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    tells: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    runs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    runs_open: int = 0
    run_events: int = 0
    run_batches: int = 0
    allow_failures: int = 0
    authentications: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    expired: int = 0
    renewals: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    callbacks: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    statements: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    heard: int = 0
    heard_at: float = 0.0
    log_failures: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    started: float = 0.0

    @property
    def heartbeat_misses(self) -> int:
        """Number of connections that ended because nothing was heard of them any more."""
        return self.closed.get((str(SILENT.code), SILENT.reason), 0)


class LogFailures:
    """Counts the blocks that a log has failed in. Many may be open at once.

    Args:
        counts: where it counts.
        what: as what.
    """

    # No generator, which costs ten times as much: this is entered for each publish.
    __slots__ = ("_counts", "_what")

    def __init__(self, counts: Counter[str], what: str) -> None:
        self._counts = counts
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None and issubclass(kind, LogError):
            self._counts[self._what] += 1


class Metrics:
    """The counters of one worker process. Each part counts here what it does.

    Attributes:
        now: the wall clock by which ages are measured, in seconds since 1970: the one of the events' ``published_at``.
        publishing, reading: for what is published, or read for a client, ``with`` them.
    """

    def __init__(self, now: Callable[[], float] = wall_time) -> None:
        self.now = now
        self.open = Counter({"websocket": 0, "sse": 0})
        self.opened = Counter({"websocket": 0, "sse": 0})
        self.returned = 0
        self.refused = 0
        self.durations = Histogram(DURATION_BUCKETS)
        self.closed: Counter[tuple[str, str]] = Counter()
        self.crashes = 0
        self.slow_handlers = 0
        self.follows_refused = 0
        self.published = 0
        self.delivered = 0
        self.replays = 0
        self.replayed = 0
        self.fell_behind = 0
        self.gaps: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.steps: Counter[str] = Counter()
        self.long_polls = Counter({"events": 0, "timeout": 0, "draining": 0})
        self.short_polls = 0
        self.not_modified = 0
        self.polled = 0
        self.written = Histogram(AGE_BUCKETS)
        self.acknowledged = Histogram(AGE_BUCKETS)
        self.commands = Counter(dict.fromkeys(COMMAND_OUTCOMES, 0))
        self.command_seconds = Histogram(AGE_BUCKETS)
        self.restatements = 0
        self.processes_lost = 0
        self.revoked = Counter({"connections": 0, "subscriptions": 0, "polls": 0})
        self.rechecks = Counter({"yes": 0, "no": 0, "failed": 0})
        self.allow_failures = 0
        self.ends_told = 0
        self.folded = 0
        self.snapshots = Counter({"given": 0, "failed": 0})
        self.tells = Counter({"written": 0, "skipped": 0, "dropped": 0})
        self.runs = Counter(dict.fromkeys(("begun", *OUTCOMES), 0))
        self.runs_open = 0
        self.run_events = 0
        self.run_batches = 0
        self.authentications = Counter(dict.fromkeys(("ok", "none", "refused", *BAD_TOKENS), 0))
        self.expired = 0
        self.renewals = Counter({"ok": 0, "refused": 0})
        self.callbacks = Counter(dict.fromkeys(CALLBACK_OUTCOMES, 0))
        self.statements = Counter({"joined": 0, "left": 0, "lost": 0, "failed": 0})
        self.heard = 0
        self.heard_at = 0.0
        self.heard_age = Histogram(AGE_BUCKETS)
        self.log_failures = Counter({"publish": 0, "read": 0})
        self.publishing = LogFailures(self.log_failures, "publish")
        self.reading = LogFailures(self.log_failures, "read")
        self.started = now()

    def connection_opened(self, transport: str) -> None:
        """Count a connection that begins."""
        self.open[transport] += 1
        self.opened[transport] += 1

    def connection_closed(self, transport: str, closing: Closing, seconds: float) -> None:
        """Count a connection that ended, ``seconds`` after it was opened."""
        self.open[transport] -= 1
        self.closed[closing_labels(closing)] += 1
        self.durations.observe(seconds)

    def gap_told(self, gap: Gap) -> None:
        """Count a gap that a client was told of."""
        self.gaps[gap.reason] += 1
        self.missed[gap.reason] += gap.missed or 0

    def round_written(self, published_at: float, written: int, followers: int) -> None:
        """Count a round.

        Args:
            published_at: when the oldest of its events was published, in seconds since 1970.
            written: how many events were written: one that was written to a thousand followers counts a thousand.
            followers: to how many followers something was written.
        """
        if followers:
            self.delivered += written
            # One observation for the whole round, with a weight: counting must not be work for each delivery. Never
            # below 0: the clock of the host that published may be ahead of ours.
            self.written.observe(max(0.0, self.now() - published_at), followers)

    def step_heard(self, oldest_at: float, newest_at: float, events: int) -> None:
        """Count events that were heard of together, with when the oldest and the newest of them were published."""
        self.heard += events
        self.heard_at = newest_at
        self.heard_age.observe(max(0.0, self.now() - oldest_at))

    def command_answered(self, outcome: str, seconds: float) -> None:
        """Count a command, ``seconds`` after it was asked."""
        self.commands[outcome] += 1
        self.command_seconds.observe(seconds)

    def event_acknowledged(self, published_at: float) -> None:
        """Count a client's acknowledgement, by the age of the event."""
        self.acknowledged.observe(max(0.0, self.now() - published_at))

    def snapshot(self) -> Counts:
        """Return what was counted so far, frozen."""
        return Counts(**{count.name: _frozen(getattr(self, count.name)) for count in fields(Counts)})


def closing_labels(closing: Closing) -> tuple[str, str]:
    """Return code and reason of a closing as labels, from a bounded set: a client may close with any code from 3000 to
    4999, and must not be able to make labels without end."""
    if closing in CATALOGUE:
        return str(closing.code), closing.reason
    return str(closing.code) if closing.code in _KNOWN_CODES else "other", BY_CLIENT


def _frozen(value: Any) -> Any:
    if isinstance(value, Histogram):
        return value.snapshot()
    return MappingProxyType(dict(value)) if isinstance(value, dict) else value
