"""One answer out of those of several workers, some of which do not answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from trio.testing import MockClock

from triolet.admin.bodies import Connections, ConnectionSeen, Explained, Explanations, FollowerSeen, Revoked
from triolet.admin.contract import Answer, Hear, Question, not_now, nothing, refusal

from .asking import ask, get, office

NOT_HERE = refusal(404, "connection", "no connection 7 is open in this process")


class Several:
    """Workers whose answers are what the test says; None is that of one that is silent."""

    ready = True
    figures: Mapping[str, float] | None = {"workers": 2}

    def __init__(self, *answers: Any, first: Any = None) -> None:
        self._answers = answers
        self._first = first
        self.asked: list[str] = []

    async def ask_one(self, question: Question) -> Answer:
        self.asked.append(question.operation)
        return answered(self._first)

    async def ask_all(self, question: Question, hear: Hear = nothing) -> Mapping[int, Answer | None]:
        self.asked.append(question.operation)
        return {number: None if one is None else answered(one) for number, one in enumerate(self._answers)}


def answered(body: Any) -> Answer:
    return body if isinstance(body, Answer) else Answer(200, msgspec.json.encode(body))


def seen(id: int, behind: int = 0) -> ConnectionSeen:
    follower = FollowerSeen("a", "behind" if behind else "live", "e.1", behind, 0.0, None, "catch_up")
    return ConnectionSeen(0, id, "sse", 1.0, None, None, 0, 0.0, False, 1, [follower], None)


async def test_the_furthest_of_all_workers_come_first_each_with_its_worker(autojump_clock: MockClock) -> None:
    staff = Several(Connections(40, [seen(1, 5), seen(2)]), Connections(2, [seen(1, 9), seen(3)]), None)
    told = (await get(office(staff), "/connections?limit=3")).json
    assert [(one["worker"], one["id"]) for one in told["connections"]] == [(1, 1), (0, 1), (0, 2)]
    assert (told["total"], told["silent"]) == (42, [2])


def explained(id: int) -> Explanations:
    return Explanations([Explained(0, "up to date", ["It is."], seen(id))])


@pytest.mark.parametrize(
    ("answers", "status", "workers", "silent"),
    [
        ([NOT_HERE, explained(7)], 200, [1], []),
        ([explained(7), explained(7)], 200, [0, 1], []),  # each worker counts its own
        ([explained(7), None], 200, [0], [1]),
        ([NOT_HERE, NOT_HERE], 404, [], []),
        ([NOT_HERE, None], 503, [], [1]),  # it may be there
        ([], 503, [], []),
    ],
)
async def test_a_connection_is_explained_by_whichever_worker_has_it(
    answers: list[Any], status: int, workers: list[int], silent: list[int], autojump_clock: MockClock
) -> None:
    told = await get(office(Several(*answers)), "/explain/7")
    assert told.status == status
    if status == 200:
        both = [(one["worker"], one["connection"]["worker"]) for one in told.json["explanations"]]
        assert both == [(number, number) for number in workers]
        assert told.json["silent"] == silent
    elif silent:
        assert told.json["message"] == "no answer in time from worker 1, and no other one knows"


async def test_a_revocation_is_told_to_the_log_by_one_and_in_force_in_all_that_answer(
    autojump_clock: MockClock,
) -> None:
    staff = Several(Revoked(True), Revoked(True), None, first=Revoked(False))
    told = await ask(office(staff), "POST", "/revoke", {"subject": "ann"})
    assert told.json == {"told": False, "workers": [0, 1], "silent": [2]}
    assert staff.asked == ["revoke", "revoke_here"]
    bad = Several(first=refusal(400, "value", "no"))
    assert (await ask(office(bad), "POST", "/revoke", {"subject": "ann"})).status == 400
    assert bad.asked == ["revoke"]


async def test_where_none_serves_or_all_are_away_it_is_said(autojump_clock: MockClock) -> None:
    told = await get(office(Several(not_now("away", "the log is not open"), None)), "/connections")
    assert (told.status, told.json["error"]) == (503, "silent")
    told = await get(office(Several(not_now("away", "the log is not open"))), "/connections")
    assert (told.status, told.json["error"]) == (503, "away")


async def test_metrics_of_an_app_without_triolet_are_the_supervisors(autojump_clock: MockClock) -> None:
    told = await get(office(Several(refusal(404, "path", "no"), None)), "/metrics")
    assert told.status == 200
    assert told.body.startswith(b"# HELP triolet_workers Workers")
    assert b'triolet_worker_answers{worker="1"} 0.0' in told.body
