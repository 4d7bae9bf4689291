"""What is promised of runs: their items are stored in order and once, and then one end, which says how it came to that;
whatever becomes of their process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from .book import Book
from .channel_history import Closed
from .findings import Finding
from .history import KILLED, Appended, History, Lost, Over, Serving
from .plan import LogPlan, Plan
from .run_history import Beginning, Begun, Gave, Halted, OfRun, Outcome, SourceOver, Unbegun
from .talks import AFTERMATH_SECONDS, LATE_SECONDS, Talk, Weatherman, hearing_seconds

__all__ = ["check_runs"]

LOOKING = 1.2
"""In so much of a lease more than one a run is found to be lost."""
WATCH_SECONDS = 1.5
"""In which other processes know that somebody watches."""
OWN = ("done", "failed", "stopped", "lost")


@dataclass
class _Run:
    """A run, as it was recorded. ``places``: of its items in the history. ``stored``: they, by the life of the log.
    ``end``: the first of its channel behind where it began; ``ended``: the same, when its outcome was told."""

    asked: Beginning
    begun_at: float = inf
    unbegun: Unbegun | None = None
    gave: list[Gave] = field(default_factory=list)
    source: SourceOver | None = None
    outcome: Outcome | None = None
    stored: dict[str, list[Appended]] = field(default_factory=dict)
    end: Appended | None = None
    ended: Appended | None = None
    end_index: int = 0
    is_early: bool = False
    places: dict[int, int] = field(default_factory=dict)

    @property
    def channel(self) -> str:
        """Where it goes on."""
        return self.asked.channel

    def take_end(self, index: int, end: Appended) -> None:
        """Take an end of its channel. Before it is told that it began one may be of its time, or of the time before."""
        if self.end is None or (self.end.is_tombstone and self.is_early):
            self.end, self.end_index, self.is_early = end, index, self.begun_at == inf

    @property
    def ended_at(self) -> float:
        """When the log had its end."""
        return inf if self.end is None else self.end.at


def check_runs(
    plan: Plan, history: History, book: Book, talks: Mapping[int, Talk], weather: Weatherman
) -> Iterator[Finding]:
    """Hold what became of each run against what its source gave, and who stopped it."""
    runs = _runs(history)
    judge = _Judge(plan, history, talks, weather, runs)
    for run in runs:
        for findings in (judge.begins(run), judge.items(run), judge.comes_to(run), judge.ends(run), judge.watched(run)):
            yield from findings


def _runs(history: History) -> list[_Run]:
    runs: dict[int, _Run] = {}
    numbers: dict[int, _Run] = {}
    for index, record in enumerate(history.records):
        if isinstance(record, Beginning):
            runs[record.run] = _Run(record)
        elif isinstance(record, OfRun):
            _note(runs[record.run], record)
            if isinstance(record, Gave):
                numbers[record.number] = runs[record.run]
                runs[record.run].places[record.number] = index
        elif isinstance(record, Appended) and record.is_end:
            for run in runs.values():
                if run.channel == record.channel and run.unbegun is None:
                    run.take_end(index, record)
        elif isinstance(record, Appended) and record.number in numbers:
            run = numbers[record.number]
            if run.channel == record.channel:
                run.stored.setdefault(record.cursor.epoch, []).append(record)
    return list(runs.values())


def _note(run: _Run, record: OfRun) -> None:
    if isinstance(record, Begun):
        run.begun_at = record.at
    elif isinstance(record, Unbegun):
        run.unbegun = record
    elif isinstance(record, Gave):
        run.gave.append(record)
    elif isinstance(record, SourceOver):
        run.source = record
    elif isinstance(record, Outcome):
        run.outcome, run.ended = record, run.end


class _Judge:
    """Judges runs, one by one."""

    def __init__(
        self, plan: Plan, history: History, talks: Mapping[int, Talk], weather: Weatherman, runs: Sequence[_Run]
    ) -> None:
        self._plan, self._weather, self._talks, self._runs = plan, weather, talks, runs
        self._begun = [record.at for record in history.records if isinstance(record, Lost)][1:]
        self._halted = [record for record in history.records if isinstance(record, Halted)]
        self._closed = [record for record in history.records if isinstance(record, Closed)]
        self._over = next((record.at for record in history.records if isinstance(record, Over)), history.last)
        self._serving = list(_serving(history, weather))
        rungs = [rung for client in plan.clients for rung in plan.routes[client.route]]
        self._late = LATE_SECONDS + hearing_seconds(plan)
        self._held = any(rung.kind == "block" for rung in rungs)

    # --- what its channel has of it

    def begins(self, run: _Run) -> Iterator[Finding]:
        """It is let in, unless another is there, or was; or the log or the server is not there."""
        if run.unbegun is None:
            return
        at, kind, asked = run.unbegun.at, run.unbegun.kind, run.asked
        others = [other for other in self._runs if other is not run and other.channel == run.channel]
        excused = {
            "RunError": bool(others) or self._weather.draining(asked.server, asked.at - 1, at),
            "ChannelEnded": run.end is not None or any(o.end for o in others) or self._is_closed(run.channel, at),
            "NotServingError": True,
        }
        if not excused.get(kind, bool(self._weather.of_log(asked.at - AFTERMATH_SECONDS, at))):
            yield self._finding("a run refused", run, at, "that it begins", run.unbegun)

    def _is_closed(self, channel: str, at: float) -> bool:
        return any(one.channel == channel and one.since <= at for one in self._closed)

    def items(self, run: _Run) -> Iterator[Finding]:
        """They are stored in order and once, from the first on, without a hole; and all, if it came to its own end."""
        gave = [one.number for one in run.gave]
        for stored in run.stored.values():
            numbers = [event.number or 0 for event in stored]
            begin = gave.index(numbers[0]) if numbers[0] in gave else 0
            is_lossy = any(run.asked.at <= at <= stored[-1].at for at in self._begun)
            if numbers != (sorted(set(numbers)) if is_lossy else gave[begin : begin + len(numbers)]):
                promised = f"{gave} in order, each once"
                yield self._finding("a run's items", run, stored[-1].at, promised, numbers)
            elif begin and not is_lossy:
                yield self._finding("a run's items", run, stored[0].at, f"{gave[0]} first", numbers[0])
            behind = [event for event in stored if run.end is not None and event.at > run.end.at]
            if behind and run.end is not None and not run.end.is_tombstone and run.end.cursor.epoch in run.stored:
                yield self._finding("a run's items", run, behind[0].at, "nothing behind its end", behind[0])
        yield from self._are_late(run)
        outcome, reason = _told(run.end)
        if outcome not in ("done", "stopped") or reason == "by an app" or self._is_lost(run):
            return
        there = {event.number for events in run.stored.values() for event in events}
        left = [one for one in run.gave if one.number not in there and run.places[one.number] < run.end_index]
        if left:
            yield self._finding("a run's items", run, run.ended_at, f"{gave} before its end", f"no {left[0].number}")

    def _are_late(self, run: _Run) -> Iterator[Finding]:
        stored = {event.number: event.at for events in run.stored.values() for event in events}
        for one in run.gave:
            due = one.at + self._late
            if stored.get(one.number, inf) > due and self._is_well(run, one.at, due) and run.ended_at > due:
                yield self._finding("a late item", run, due, f"{one.number} stored by then", "nothing")
                return

    # --- how it ends

    def comes_to(self, run: _Run) -> Iterator[Finding]:
        """Who waits for it is told what its end says, which is what it came to."""
        if run.outcome is not None:
            told, at = run.outcome.outcome, run.outcome.at
            there, _ = _told(run.ended)
            if told != "lost" and not self._is_lost(run) and told != there:
                yield self._finding("an outcome", run, at, f"{there}, as its end says", told)
        if run.end is None or run.begun_at == inf:
            return
        outcome, reason = _told(run.end)
        how = "" if run.source is None else run.source.how
        troubled = bool(self._weather.of_log(run.asked.at - AFTERMATH_SECONDS, run.end.at))
        drained = self._weather.draining(run.asked.server, run.asked.at, run.end.at)
        killed = self._weather.killing(run.asked.server, run.asked.at, run.end.at)
        asked = any(one.channel == run.channel and one.since <= run.end.at for one in self._halted)
        held = self._plan.limits.run_lease_seconds
        may = {
            "done": how == "done",
            "failed": how == "failed" or troubled,
            "lost": killed or bool(self._weather.of_log(run.end.at - 2 * held, run.end.at)),
            "stopped": {"restarting": drained, "unwatched": bool(run.asked.unwatched)}.get(reason, asked)
            or reason == "by an app",
        }
        if not may.get(outcome, False):
            came = f"{run.end.data}, and its source is {how or 'not over'}"
            yield self._finding("an end of a run", run, run.end.at, "one that fits what became of it", came)

    def ends(self, run: _Run) -> Iterator[Finding]:
        """It has an end: soon after its source's, or after somebody has stopped it; and within its lease where its
        process has died."""
        if run.begun_at == inf:
            return
        due, why = self._due(run)
        if run.ended_at > due:
            came = "none" if run.end is None else f"after {run.end.at - due:.3f} s more"
            yield self._finding("a run without an end", run, due, f"its end by then, for {why}", came)

    def _due(self, run: _Run) -> tuple[float, str]:
        dues = [(self._over, "the play is over")] if not self._is_lost(run) else []
        if run.source is not None and run.source.how != "left":
            dues.append((run.source.at + self._late, "its source is over"))
            if not self._is_well(run, run.source.at, dues[-1][0]):
                dues.pop()
        for halted in self._halted:
            due = halted.at + self._late + 2 * hearing_seconds(self._plan)
            is_its = halted.channel == run.channel and halted.told and halted.since > run.begun_at
            if is_its and self._is_well(run, halted.since, due):
                dues.append((due, "it is stopped"))
        for drain, _ in self._weather.drains:
            if drain.server == run.asked.server and drain.grace == KILLED and run.begun_at <= drain.at < run.ended_at:
                due = self._found(drain.at)
                if due < self._over and not self._weather.of_log(run.asked.at - AFTERMATH_SECONDS, due):
                    dues.append((due, "its process has died"))
        return min(dues, default=(inf, ""))

    def _found(self, killed_at: float) -> float:
        """When it is found that a process has died."""
        lease = self._plan.limits.run_lease_seconds
        due = inf
        for begin, end in self._serving:
            found = max(begin, killed_at) + LOOKING * lease + self._late
            again = [d for d, _ in self._weather.drains if d.grace == KILLED and killed_at < d.at < found]
            found += lease if again else 0  # whoever was about to end it holds its channel
            due = min(due, found) if end > found else due
        return due

    def watched(self, run: _Run) -> Iterator[Finding]:
        """It is not stopped while somebody watches."""
        if _told(run.end) != ("stopped", "unwatched") or run.end is None:
            return
        end = run.end.at
        begin = end - run.asked.unwatched + WATCH_SECONDS + hearing_seconds(self._plan)
        if begin >= end or self._weather.of_log(run.asked.at - AFTERMATH_SECONDS, end):
            return
        for talk in self._talks.values():
            if not talk.flows or not self._weather.good(talk, begin - AFTERMATH_SECONDS, end):
                continue
            for subscriber in talk.subscribers:
                until = min(subscriber.until, talk.ended_at)
                if subscriber.channel == run.channel and subscriber.opened_at < begin and until > begin:
                    promised = f"that it goes on, for connection {talk.conn} watched it"
                    yield self._finding("an end of a run", run, end, promised, run.end.data)
                    return

    # --- what hinders it

    def _is_lost(self, run: _Run) -> bool:
        """Whether the log was lost, or put back, in its time or behind."""
        return any(at >= run.asked.at for at in self._begun)

    def _is_well(self, run: _Run, begin: float, end: float) -> bool:
        """Whether nothing hindered a run in a time: its log, its server, or who holds publishers up."""
        weather, early = self._weather, begin - AFTERMATH_SECONDS
        hindered = self._held or weather.crowded or self._plan.log.tail_events < LogPlan().tail_events
        hindered = hindered or weather.draining(run.asked.server, early, end) or bool(weather.of_log(early, end))
        return not hindered

    @staticmethod
    def _finding(kind: str, run: _Run, at: float, promised: str, came: object) -> Finding:
        return Finding(kind, at, f"of run {run.asked.run}: {promised}", f"{came}", channel=run.channel)


def _told(end: Appended | None) -> tuple[str, str]:
    """The outcome that an end tells of, and why."""
    if end is None:
        return "", ""
    data = end.data if isinstance(end.data, dict) else {}
    outcome = data.get("outcome")
    return (outcome, data.get("reason", "")) if outcome in OWN else ("stopped", "by an app")


def _serving(history: History, weather: Weatherman) -> Iterator[tuple[float, float]]:
    """When servers were up: from, and until they were told to stop."""
    for record in history.records:
        if isinstance(record, Serving):
            ends = [drain.at for drain, _ in weather.drains if drain.server == record.server and drain.at > record.at]
            yield record.at, min(ends, default=inf)
