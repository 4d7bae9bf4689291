"""What is made of what workers say: rates, ages, the hour, what is wrong, and what has happened."""

from __future__ import annotations

import msgspec
import pytest

from triolet.admin.bodies import ConnectionSeen, FollowerSeen
from triolet.admin.bounds import ADMIN_HAPPENINGS, ADMIN_POINTS
from triolet.admin.figures import Closings, Figures, Followed, Lag, Sample, Slowest
from triolet.admin.reckoner import Heard, Reckoner
from triolet.bounds import ADMIN_SHOWN

QUIET = Sample(1, {"websocket": 0, "sse": 0}, {}, 0, 0, 0, 0, Slowest(), 0, 1_000, False, "Redis", False, Lag(), [], [])


def said(**fields: object) -> Sample:
    return msgspec.structs.replace(QUIET, **fields)


class Looks:
    """Looks at workers once a second, or as is said."""

    def __init__(self, supervisor: dict[str, float] | None = None) -> None:
        self.reckoner = Reckoner()
        self.supervisor = supervisor
        self.at = 100.0

    def look(self, *samples: Sample | Heard, seconds: float = 1) -> Figures:
        self.at += seconds
        heard = {n: one if isinstance(one, Heard) else Heard(one) for n, one in enumerate(samples)}
        return self.reckoner.look(self.at, int(self.at * 1_000), heard, self.supervisor)


def happened(figures: Figures) -> list[tuple[str, str]]:
    return [(one.level, one.text) for one in figures.happenings]


def test_what_all_workers_say_is_one() -> None:
    first = said(
        open={"websocket": 3, "sse": 1}, followers=5, behind=1, channels=[Followed("a", 3, 2.0), Followed("b", 2, 0.0)]
    )
    other = said(process=2, open={"websocket": 1, "sse": 2}, followers=4, stalled=1, channels=[Followed("b", 4, 1.0)])
    seen = Looks().look(first, other)
    assert seen.open == {"websocket": 4, "sse": 3}
    assert (seen.followers, seen.behind, seen.stalled, seen.memory.ceiling) == (9, 1, 1, 2_000)
    assert seen.channels == [Followed("b", 6, 1.0), Followed("a", 3, 2.0)]
    assert [(one.number, one.process, one.open["sse"], one.silent) for one in seen.workers] == [
        (0, 1, 1, None),
        (1, 2, 2, None),
    ]


def test_the_furthest_of_all_come_first_each_with_its_worker() -> None:
    def seen(id: int, behind: int) -> ConnectionSeen:
        follower = FollowerSeen("a", "behind", "e.1", behind, 0.0, None, "catch_up")
        return ConnectionSeen(0, id, "sse", 1.0, None, None, 0, 0.0, False, 1, [follower], None)

    many = [seen(id, id) for id in range(1, ADMIN_SHOWN + 1)]
    found = Looks().look(said(furthest=many), said(process=2, furthest=[seen(7, 99)])).furthest
    assert len(found) == ADMIN_SHOWN
    assert [(one.worker, one.id) for one in found[:2]] == [(1, 7), (0, ADMIN_SHOWN)]


def test_who_is_passed_first_is_named_with_its_worker() -> None:
    near, far = Slowest(2, 1.0, 0.0, 5), Slowest(9, 4.0, 70.0, 6)
    assert Looks().look(said(slowest=far), said(process=2, slowest=near)).slowest == Slowest(9, 4.0, 0.0, 5, 1)


def test_how_far_the_log_is_ahead_is_what_it_is_for_the_worst_worker() -> None:
    slow, full = Lag(12, 4.2, 0, 100), Lag(5, 0.5, 5, 100)
    assert Looks().look(said(lag=slow), said(process=2, lag=full)).lag == Lag(12, 4.2, 5, 100)


def test_rates_and_ages_are_of_the_last_ten_seconds() -> None:
    looks = Looks()
    assert looks.look(said(counts={"published": 1_000, "written:3": 50})).rates["published"] == 0
    for second in range(1, 16):  # ten a second, and from the eleventh on twenty
        counts = {"published": 1_000 + 10 * second + 10 * max(0, second - 10), "written:3": 50 + second}
        seen = looks.look(said(counts=counts))
    assert seen.rates["published"] == 15
    assert seen.written.half == pytest.approx(0.0075)  # the fourth bucket is from 5 to 10 ms
    assert seen.written.most == pytest.approx(0.00995)
    assert seen.acknowledged.half is None


@pytest.mark.parametrize("bucket", ["written:0", "written:16"])
def test_the_first_and_the_last_bucket_are_ages_too(bucket: str) -> None:
    looks = Looks()
    looks.look(QUIET)
    seen = looks.look(said(counts={bucket: 4}))
    assert seen.written.most == (0.00099 if bucket == "written:0" else 300)


def test_a_worker_in_the_place_of_another_is_counted_from_its_start_and_both_are_noted() -> None:
    looks = Looks({"workers": 1, "workers_serving": 1})
    looks.look(said(counts={"delivered": 1_000}))
    seen = looks.look(said(process=2, counts={"delivered": 10}))
    assert seen.rates["delivered"] == 10
    assert happened(seen) == [("good", "Worker 0 (process 2) serves."), ("bad", "Worker 0 (process 1) has gone.")]


def test_a_worker_that_was_told_to_end_is_no_loss() -> None:
    looks = Looks({"workers": 1, "workers_serving": 1})
    looks.look(said(draining=True), said(process=2))
    seen = looks.look(Heard(None), said(process=2))
    assert happened(seen)[-2:] == [
        ("good", "Worker 0 (process 1) has drained and ended."),
        ("warn", "A worker drains: its clients are told to come back."),
    ]


def test_a_worker_that_is_silent_is_shown_as_it_was() -> None:
    looks = Looks()
    looks.look(said(open={"websocket": 5}))
    seen = looks.look(Heard(said(open={"websocket": 5}), 3.2))
    assert (seen.workers[0].silent, seen.open["websocket"]) == (3.2, 5)
    assert seen.notices[0].text == "Worker 0 has not answered for 3 s: its figures are that old."
    assert looks.look(Heard(None, 1.0)).workers[0].process is None


def test_the_hour_is_bounded_and_its_closings_and_gaps_go_with_it() -> None:
    looks = Looks()
    looks.look(QUIET)
    counts = {"closed:4408:slow": 2, "closed:1000:a:b": 1, "gap:expired": 3}
    seen = looks.look(said(counts=counts))
    assert seen.closings == [Closings("4408", "slow", 2), Closings("1000", "a:b", 1)]
    assert (seen.gaps, seen.rates["closed"]) == ({"expired": 3}, 3)
    for _ in range(ADMIN_POINTS - 1):
        seen = looks.look(said(counts=counts), seconds=10)
    assert seen.closings
    for _ in range(3):
        seen = looks.look(said(counts=counts), seconds=10)
    assert (seen.closings, seen.gaps, len(looks.reckoner.points)) == ([], {}, ADMIN_POINTS)
    assert seen.point == looks.reckoner.points[-1]
    assert looks.reckoner.points[1].time - looks.reckoner.points[0].time == 10_000
    assert len(msgspec.json.encode(list(looks.reckoner.points))) < 40_000


@pytest.mark.parametrize(
    ("wrong", "level", "says"),
    [
        ({"away": True}, "bad", "The log (Redis) is away"),
        ({"lag": Lag(7, 12.4, 7, 16_384)}, "bad", "The log is 12 s ahead of what clients have"),
        ({"held": 950}, "bad", "Worker 0 holds 95% of its memory ceiling: nobody new is let in."),
        ({"held": 850}, "warn", "Worker 0 holds 85% of its memory ceiling."),
        ({"draining": True}, "warn", "A worker drains"),
        ({"open": {"sse": 90}, "behind": 20}, "warn", "20 of 90 connections are behind."),
        ({"slowest": Slowest(5, 1.0, 42.0, 7)}, "bad", "Retention passes connection 7 of worker 0 in 42 s"),
        ({"counts": {"crashes": 1}}, "bad", "A bug ended 1 connection"),
        ({"counts": {"written:11": 9}}, "warn", "Events leave late: 1 in 100 is older than 5.0 s"),
        ({"counts": {"refused": 2}}, "warn", "2 connections refused"),
        ({"counts": {"gap:expired": 2}}, "warn", "Clients were told of 2 gaps"),
    ],
)
def test_what_is_wrong_is_said_while_it_is_so_and_noted(wrong: dict[str, object], level: str, says: str) -> None:
    looks = Looks()
    assert looks.look(QUIET).notices == []
    [notice] = looks.look(said(**wrong)).notices
    assert notice.level == level
    assert notice.text.startswith(says)
    counts = wrong.get("counts", {})
    for _ in range(11):
        seen = looks.look(said(counts=counts))
    assert seen.notices == []
    [over, begun] = happened(seen)
    assert begun == (level, notice.text)
    assert over[0] == "good"
    assert over[1].startswith("Over after ")
    assert over[1].endswith(notice.text)


@pytest.mark.parametrize(
    "healthy", [{"held": 790}, {"open": {"sse": 90}, "behind": 19}, {"counts": {"gap:skipped": 5}}]
)
def test_what_a_policy_does_and_what_is_usual_is_not_wrong(healthy: dict[str, object]) -> None:
    looks = Looks()
    looks.look(QUIET)
    assert looks.look(said(**healthy)).notices == []


def test_workers_that_are_missing_are_wrong_once_all_have_served() -> None:
    looks = Looks({"workers": 2, "workers_serving": 0})
    assert [(one.level, one.text) for one in looks.look().notices] == [("warn", "0 of 2 workers serve so far.")]
    looks.supervisor = {"workers": 2, "workers_serving": 2}
    assert looks.look(QUIET, said(process=2)).notices == []
    looks.supervisor = {"workers": 2, "workers_serving": 1}
    seen = looks.look(QUIET)
    assert [(one.level, one.text) for one in seen.notices] == [("bad", "1 of 2 workers serve.")]
    assert (seen.serving, seen.wanted) == (1, 2)
    assert [text for _, text in happened(seen) if "so far" in text] == []


def test_what_happens_is_bounded_and_the_latest_comes_first() -> None:
    looks = Looks()
    for turn in range(40):
        seen = looks.look(said(away=bool(turn % 2)))
    assert len(seen.happenings) == ADMIN_HAPPENINGS
    assert seen.happenings[0].time == int(looks.at * 1_000)
