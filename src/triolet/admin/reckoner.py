"""Makes figures of what workers say: sums, rates and ages of the last ten seconds, and the last hour, bounded."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..bounds import ADMIN_SHOWN
from ..counters import AGE_BUCKETS
from .bounds import ADMIN_HAPPENINGS, ADMIN_POINT_SECONDS, ADMIN_POINTS, ADMIN_WINDOW_SECONDS
from .figures import Age, Closings, Figures, Followed, Happening, Lag, Memory, Notice, Point, Sample, Seen, Slowest
from .gather import furthest_first
from .notices import STARTING, notices

__all__ = ["Heard", "Reckoner"]

RATES = ("published", "delivered", "opened", "returned", "closed", "refused")


class Heard(NamedTuple):
    """The last that a worker has said, if it has; and for how many seconds it has not answered, where it does not."""

    sample: Sample | None
    silent: float | None = None


class Step(NamedTuple):
    """What was counted between two looks."""

    seconds: float
    counts: Counter[str]


class Reckoner:
    """Makes figures of one look after the other.

    Attributes:
        points: the last hour.
        passed: how many points there have ever been.

    Bounds: ``ADMIN_POINTS`` points, ``ADMIN_HAPPENINGS`` happenings, and the counts of ``ADMIN_WINDOW_SECONDS``.
    """

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=ADMIN_POINTS)
        self.passed = 0
        self._ends: deque[Counter[str]] = deque(maxlen=ADMIN_POINTS)
        """Closings and gaps of each point."""
        self._since_point: Counter[str] = Counter()
        self._hour: Counter[str] = Counter()
        self._point_at = 0.0
        self._before: dict[int, Sample] | None = None
        self._looked_at = 0.0
        self._steps: deque[Step] = deque()
        self._delivered: dict[int, deque[tuple[float, int]]] = {}
        self._whole = False
        self._notices: dict[str, tuple[int, Notice]] = {}
        self._happenings: deque[Happening] = deque(maxlen=ADMIN_HAPPENINGS)

    def look(self, at: float, time: int, heard: Mapping[int, Heard], supervisor: Mapping[str, float] | None) -> Figures:
        """Return the figures of a moment.

        Args:
            at: when it is, by a clock that never jumps.
            time: the same in ms since 1970.
            heard: what each worker that there is has said.
            supervisor: its own metrics, where there is one.
        """
        samples = {number: one.sample for number, one in heard.items() if one.sample is not None}
        apart = self._workers_changed(time, samples)
        counts, seconds = self._counted(at, samples, apart)
        recent = dict(counts)
        seen = self._figures(time, heard, samples, counts, seconds)
        if supervisor is not None:
            seen.serving, seen.wanted = int(supervisor["workers_serving"]), int(supervisor["workers"])
        self._whole = self._whole or seen.serving >= seen.wanted
        seen.notices = notices(seen, recent, starting=not self._whole)
        self._note(time, seen.notices)
        self._keep(at, seen)
        seen.happenings = list(self._happenings)
        seen.point = self.points[-1] if self.points else None
        return seen

    # --- what was counted

    def _workers_changed(self, time: int, samples: Mapping[int, Sample]) -> set[int]:
        """Note workers that came and went. Return those whose counts begin anew."""
        before = self._before or {}
        others = {
            number for number, one in samples.items() if number not in before or before[number].process != one.process
        }
        for number, one in before.items():
            if number not in samples or number in others:
                how = ("good", "has drained and ended") if one.draining else ("bad", "has gone")
                self._happened(time, how[0], f"Worker {number} (process {one.process}) {how[1]}.")
                self._delivered.pop(number, None)
        if self._before is not None:
            for number in sorted(others):
                self._happened(time, "good", f"Worker {number} (process {samples[number].process}) serves.")
        return others

    def _counted(self, at: float, samples: Mapping[int, Sample], anew: set[int]) -> tuple[Counter[str], float]:
        """Return what was counted in the last ten seconds, and how many seconds these really are."""
        step: Counter[str] = Counter()
        first = self._before is None
        before = {} if self._before is None else self._before
        for number, one in samples.items():
            old = {} if number in anew else before[number].counts
            for name, total in one.counts.items():
                if not first and total != old.get(name, 0):
                    step[name] += total - old.get(name, 0)
            self._count_delivered(at, number, one)
        self._before = dict(samples)
        if not first:
            self._steps.append(Step(at - self._looked_at, step))
            self._since_point.update(step)
        self._looked_at = at
        while len(self._steps) > 1 and sum(one.seconds for one in self._steps) > ADMIN_WINDOW_SECONDS + 0.5:
            self._steps.popleft()
        window: Counter[str] = Counter()
        for taken in self._steps:
            window.update(taken.counts)
        return window, sum(one.seconds for one in self._steps)

    def _count_delivered(self, at: float, number: int, sample: Sample) -> None:
        totals = self._delivered.setdefault(number, deque())
        totals.append((at, sample.counts.get("delivered", 0)))
        while len(totals) > 2 and totals[1][0] <= at - ADMIN_WINDOW_SECONDS:
            totals.popleft()

    def _rate_of(self, number: int) -> float:
        totals = self._delivered[number]
        (since, first), (until, last) = totals[0], totals[-1]
        return _rounded((last - first) / (until - since)) if until > since else 0.0

    # --- what is shown

    def _figures(
        self,
        time: int,
        heard: Mapping[int, Heard],
        samples: Mapping[int, Sample],
        counts: Counter[str],
        seconds: float,
    ) -> Figures:
        all_of = list(samples.values())
        opened: Counter[str] = Counter({"websocket": 0, "sse": 0})
        for one in all_of:
            opened.update(one.open)
        for number, one in samples.items():
            for connection in one.furthest:
                connection.worker = number
        counts["closed"] = sum(number for name, number in counts.items() if name.startswith("closed:"))
        return Figures(
            time=time,
            open=dict(opened),
            polls=sum(one.polls for one in all_of),
            followers=sum(one.followers for one in all_of),
            behind=sum(one.behind for one in all_of),
            stalled=sum(one.stalled for one in all_of),
            slowest=_slowest(samples),
            written=_age(counts, "written"),
            acknowledged=_age(counts, "acknowledged"),
            rates={name: _rounded(counts[name] / seconds) if seconds else 0.0 for name in RATES},
            memory=Memory(sum(one.held for one in all_of), sum(one.ceiling for one in all_of)),
            log=all_of[0].log if all_of else "",
            away=any(one.away for one in all_of),
            lag=_lag([one.lag for one in all_of]),
            serving=len(heard),
            wanted=len(heard),
            workers=[self._worker(number, one) for number, one in sorted(heard.items())],
            channels=_most_followed(all_of),
            furthest=sorted((seen for one in all_of for seen in one.furthest), key=furthest_first)[:ADMIN_SHOWN],
            closings=self._closings(),
            gaps=self._parts("gap:"),
        )

    def _worker(self, number: int, heard: Heard) -> Seen:
        one, silent = heard.sample, None if heard.silent is None else _rounded(heard.silent)
        if one is None:
            return Seen(number, None, {}, 0, 0, 0.0, 0, 0, False, silent)
        rate = self._rate_of(number)
        return Seen(
            number, one.process, one.open, one.behind, one.stalled, rate, one.held, one.ceiling, one.draining, silent
        )

    def _parts(self, prefix: str) -> dict[str, int]:
        hour = self._hour + self._since_point
        return {name.removeprefix(prefix): number for name, number in hour.most_common() if name.startswith(prefix)}

    def _closings(self) -> list[Closings]:
        found = [(name.partition(":"), number) for name, number in self._parts("closed:").items()]
        return [Closings(code, reason, number) for (code, _, reason), number in found]

    # --- what is kept

    def _keep(self, at: float, seen: Figures) -> None:
        """Keep ten seconds as a point of the hour."""
        if self.points and at - self._point_at < ADMIN_POINT_SECONDS - 0.5:
            return
        self._point_at = at
        ended = Counter({name: n for name, n in self._since_point.items() if name.startswith(("closed:", "gap:"))})
        self._since_point.clear()
        if len(self._ends) == ADMIN_POINTS:
            self._hour.subtract(self._ends[0])
            self._hour += Counter()  # without those that have come to nothing
        self._ends.append(ended)
        self._hour.update(ended)
        self.passed += 1
        rates, memory = seen.rates, seen.memory
        self.points.append(
            Point(
                seen.time,
                sum(seen.open.values()),
                seen.behind,
                rates["delivered"],
                rates["published"],
                rates["closed"],
                seen.written.most,
                seen.acknowledged.most,
                round(memory.held / max(1, memory.ceiling), 4),
            )
        )

    def _note(self, time: int, found: Sequence[Notice]) -> None:
        """Note what begins and ends of what is wrong."""
        now = {notice.key: notice for notice in found if notice.key != STARTING}
        for key in [key for key in self._notices if key not in now]:
            since, notice = self._notices.pop(key)
            self._happened(time, "good", f"Over after {max(1, round((time - since) / 1000))} s: {notice.text}")
        for key, notice in now.items():
            if key not in self._notices:
                self._notices[key] = time, notice
                self._happened(time, notice.level, notice.text)

    def _happened(self, time: int, level: str, text: str) -> None:
        self._happenings.appendleft(Happening(time, level, text))


def _slowest(samples: Mapping[int, Sample]) -> Slowest:
    worst, nearest = Slowest(), math.inf
    for number, sample in samples.items():
        one = sample.slowest
        worst.events, worst.seconds = max(worst.events, one.events), max(worst.seconds, _rounded(one.seconds))
        if one.until_retention is not None and one.until_retention < nearest:
            nearest = one.until_retention
            worst.until_retention, worst.connection, worst.worker = one.until_retention, one.connection, number
    return worst


def _lag(lags: Sequence[Lag]) -> Lag:
    fullest = max(lags, key=lambda one: one.waiting / max(1, one.room), default=Lag())
    events, seconds = max((one.events for one in lags), default=0), max((one.seconds for one in lags), default=0.0)
    return Lag(events, _rounded(seconds), fullest.waiting, fullest.room)


def _most_followed(samples: Sequence[Sample]) -> list[Followed]:
    found: dict[str, Followed] = {}
    for sample in samples:
        for one in sample.channels:
            known = found.setdefault(one.name, Followed(one.name, 0, 0.0))
            known.followers += one.followers
            known.per_second = max(known.per_second, _rounded(one.per_second))
    return sorted(found.values(), key=lambda one: (-one.followers, one.name))[:ADMIN_SHOWN]


def _age(counts: Mapping[str, int], kind: str) -> Age:
    buckets = [counts.get(f"{kind}:{at}", 0) for at in range(len(AGE_BUCKETS) + 1)]
    return Age(_quantile(buckets, 0.5), _quantile(buckets, 0.99))


def _quantile(buckets: Sequence[int], part: float) -> float | None:
    """Return what so large a part of what was observed does not pass, as if it lay evenly in its bucket."""
    wanted = part * sum(buckets)
    if not wanted:
        return None
    for number, (low, high) in zip(buckets, pairwise((0.0, *AGE_BUCKETS)), strict=False):
        if wanted <= number:
            return _rounded(low + (high - low) * wanted / number)
        wanted -= number
    return float(AGE_BUCKETS[-1])


def _rounded(value: float) -> float:
    """Three digits: no more are shown, and all pages get them."""
    return float(f"{value:.3g}") if value < 1_000 else round(value)
