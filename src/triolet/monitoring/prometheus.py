"""Statistics as Prometheus metrics. Labels are of closed sets: no channel, user or address is ever a label."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from ..closing import CATALOGUE
from ..counters import HistogramSnapshot, closing_labels
from ..hub import Step
from .statistics import Statistics

__all__ = ["Exporter"]

GAP_REASONS = ("expired", "epoch", "future", "skipped", "conflated")
"""The reasons of :class:`triolet.Gap`."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exporter(Collector):
    """Reads statistics when it is asked, and puts them into Prometheus's text format.

    It has a registry of its own, so that it meets no metrics of the app's.

    Args:
        look: gives the statistics of the moment.
    """

    def __init__(self, look: Callable[[], Statistics]) -> None:
        self._look = look
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering does not look at statistics."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the moment."""
        seen = self._look()
        yield from _connections(seen)
        yield from _events(seen)
        yield from _log(seen)
        yield from _clients_behind(seen)
        yield from _polls(seen)
        yield from _commands(seen)
        yield from _runs(seen)
        yield from _presence(seen)
        yield from _identities(seen)
        yield from _process(seen)

    def exposition(self) -> tuple[str, bytes]:
        """Return the content type and the text."""
        return CONTENT_TYPE, generate_latest(self._registry)


def _connections(seen: Statistics) -> Iterator[Metric]:
    counts = seen.counts
    yield _gauges("connections_open", "Connections that are open.", "transport", counts.open)
    yield _counters("connections_opened", "Connections that were opened.", "transport", counts.opened)
    yield _counter("connections_returned", "Connections that came with a cursor: back from somewhere.", counts.returned)
    yield _counter("connections_refused", "Connections answered 503, for want of room or of memory.", counts.refused)
    closed = CounterMetricFamily(
        "triolet_connections_closed", "Connections that ended, by close code and reason.", labels=["code", "reason"]
    )
    # All closings of the catalogue, also those that have not happened yet: see `_clients_behind`.
    for labels, number in {**dict.fromkeys(map(closing_labels, CATALOGUE), 0), **counts.closed}.items():
        closed.add_metric(labels, number)
    yield closed
    yield _histogram("connection_duration_seconds", "How long connections lasted.", counts.durations)
    yield _counter("heartbeat_misses", "Connections that ended because they went silent.", counts.heartbeat_misses)
    yield _counter("follows_refused", "Follows refused on connections that were open already.", counts.follows_refused)
    yield _counter("allow_failures", "Events not sent, for an allow= function failed.", counts.allow_failures)
    yield _counter("ends_told", "Clients that were told that their channel has ended.", counts.ends_told)
    yield _counter("events_folded", "Events that were sent as a part of another one.", counts.folded)
    yield _counters("snapshots", "States of channels by what came of them.", "outcome", counts.snapshots)
    yield _counter("slow_handlers", "Connections that ended because a handler left messages.", counts.slow_handlers)
    yield _counter("crashes", "Connections that a bug ended.", counts.crashes)


def _events(seen: Statistics) -> Iterator[Metric]:
    counts = seen.counts
    yield _counter("events_published", "Events that this process published.", counts.published)
    ways = {"live": counts.delivered, "replay": counts.replayed, "poll": counts.polled}
    yield _counters("events_delivered", "Events written to clients, once for each client.", "way", ways)
    yield _counters("tells", "What was told only for now, by what became of it.", "outcome", counts.tells)
    yield _histogram("event_age_written_seconds", "Age of an event when it was written to the live.", counts.written)
    yield _histogram(
        "event_age_acknowledged_seconds", "Age of an event when its client acknowledged it.", counts.acknowledged
    )


def _log(seen: Statistics) -> Iterator[Metric]:
    counts, log = seen.counts, seen.log
    yield _counter("events_heard", "Events heard of, whichever process published them.", counts.heard)
    yield _gauge("newest_heard_timestamp_seconds", "When the newest of them was published.", counts.heard_at)
    yield _histogram("event_age_heard_seconds", "Age of an event when it was heard of.", counts.heard_age)
    yield _gauge("log_behind_events", "Events heard of, and not yet written to the live.", log.behind_events)
    yield _gauge("log_behind_seconds", "Age of the oldest of them.", log.behind_seconds)
    yield _gauge("log_away", "1 while the log is unavailable.", log.away)
    yield _counters("log_failures", "What the log has failed at.", "what", counts.log_failures)
    yield _gauge("tail_ceiling_events", "Events that may wait in the log's tail.", log.waiting.max_events)
    yield _gauge("tail_ceiling_bytes", "Bytes that may.", log.waiting.max_bytes)
    yield _counter("tail_dropped_events", "Events that were too many for it.", log.waiting.dropped)


def _clients_behind(seen: Statistics) -> Iterator[Metric]:
    counts, slowest = seen.counts, seen.slowest
    yield _counter("replays", "Followers that came back to events they had missed.", counts.replays)
    yield _counter("fell_behind", "Times that a client did not take what it was sent.", counts.fell_behind)
    # From the start, each at 0: a rate knows the first one only of a series that was there before.
    gaps, steps = dict.fromkeys(GAP_REASONS, 0), {step.name.lower(): 0 for step in Step if step}
    yield _counters("gaps", "Gaps that clients were told of.", "reason", {**gaps, **counts.gaps})
    missed = {**gaps, **counts.missed}
    yield _counters("events_missed", "Events that those gaps left out, where known.", "reason", missed)
    yield _counters("policy_steps", "Steps that policies took.", "step", {**steps, **counts.steps})
    yield _gauge("connections_behind", "Connections with something to catch up.", seen.behind)
    yield _gauge("connections_stalled", "Of these, those whose kernel takes nothing at this moment.", seen.stalled)
    yield _gauge("slowest_behind_events", "Events that the furthest client has not been sent.", slowest.events_behind)
    yield _gauge("slowest_behind_seconds", "Age of the oldest event not sent to somebody.", slowest.seconds_behind)
    yield _gauge(
        "slowest_until_retention_seconds",
        "Until retention drops an event that somebody has not been sent; +Inf where nobody is behind.",
        slowest.until_retention_seconds,
    )


def _polls(seen: Statistics) -> Iterator[Metric]:
    counts = seen.counts
    yield _counters("long_polls", "Long polls that were answered, by what with.", "answer", counts.long_polls)
    short = {"page": counts.short_polls, "not_modified": counts.not_modified}
    yield _counters("short_polls", "Short polls that were answered, by what with.", "answer", short)


def _commands(seen: Statistics) -> Iterator[Metric]:
    counts = seen.counts
    yield _counters("commands", "Commands, by what came of them.", "outcome", counts.commands)
    yield _histogram("command_seconds", "From a command to its answer, repeats too.", counts.command_seconds)


def _runs(seen: Statistics) -> Iterator[Metric]:
    counts = seen.counts
    yield _counters("runs", "Runs begun here, and by outcome those that were ended here.", "what", counts.runs)
    yield _gauge("runs_open", "Runs that go on.", counts.runs_open)
    yield _counter("run_events", "Events that runs have stored.", counts.run_events)
    yield _counter("run_batches", "Appends in which they did.", counts.run_batches)


def _presence(seen: Statistics) -> Iterator[Metric]:
    presence, counts = seen.presence, seen.counts
    elsewhere = sum(presence.known.values()) - presence.known.get(presence.process, 0)
    yield _gauge("presence_sessions", "Sessions of members in this process.", presence.sessions)
    # One number, and no label with the processes' names: those are drawn anew with each life.
    yield _gauge("presence_sessions_elsewhere", "Sessions of other processes that are known here.", elsewhere)
    yield _gauge("presence_members", "Members that have a session in this process.", presence.members)
    yield _counters("presence_statements", "Joins and leaves written here.", "outcome", counts.statements)
    yield _gauge("presence_leases", "Processes that hold a lease, this one among them.", presence.leases)
    yield _counter("presence_restatements", "Joins written again for sessions that were there.", counts.restatements)
    yield _counter("presence_processes_lost", "Processes that fell silent for a lease.", counts.processes_lost)


def _identities(seen: Statistics) -> Iterator[Metric]:
    counts = seen.counts
    yield _counters("authentications", "Credentials asked about, by outcome.", "outcome", counts.authentications)
    yield _counter("expired", "Connections and polls that ended because their identity did.", counts.expired)
    yield _counters("renewals", "Renewals of open connections.", "outcome", counts.renewals)
    yield _counters("revoked", "What live.revoke has ended.", "what", counts.revoked)
    yield _counters("callbacks", "Callbacks, by what came of them.", "outcome", counts.callbacks)
    yield _counters("rechecks", "Views asked again, by what they said.", "answer", counts.rechecks)


def _process(seen: Statistics) -> Iterator[Metric]:
    hub, memory = seen.hub, seen.memory
    yield _gauge("followers", "Positions in channels, and long polls that wait.", hub.followers)
    yield _gauge("followers_live", "Of these, those that are up to date.", hub.live)
    yield _gauge("windows", "Channels of which the newest events are in memory.", hub.windows)
    held = seen.held
    yield _gauges("held_connections", "Open sockets, by how far they have come.", "stage", held.connections)
    yield _gauges("held_things", "What is held for clients and channels, by kind.", "kind", held.things)
    yield _gauges("held_bytes", "The same in bytes.", "kind", held.bytes)
    yield _gauge("memory_held_bytes", "Bytes held for clients.", memory.held)
    yield _gauge("memory_peak_bytes", "The most that ever were.", memory.peak)
    yield _gauge("memory_ceiling_bytes", "How many there may be: limits.memory_bytes.", memory.ceiling)
    yield _gauge("draining", "1 while the server drains.", seen.draining)
    # By the names that Prometheus has for them. Not its client's collector: that counts the open descriptors one by
    # one, which holds the loop up for a tenth of a second where there are 50,000.
    started = "When the process was started, in seconds since 1970."
    yield GaugeMetricFamily("process_start_time_seconds", started, value=seen.counts.started)
    used = "CPU time of the process."
    yield CounterMetricFamily("process_cpu_seconds", used, value=time.process_time())


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"triolet_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"triolet_{name}", text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"triolet_{name}", text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"triolet_{name}", text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _histogram(name: str, text: str, seen: HistogramSnapshot) -> Metric:
    bounds = [*map(str, map(float, seen.bounds)), "+Inf"]
    buckets = list(zip(bounds, accumulate(seen.counts), strict=True))
    return HistogramMetricFamily(f"triolet_{name}", text, buckets=buckets, sum_value=seen.sum)
