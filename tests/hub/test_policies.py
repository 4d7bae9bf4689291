"""Policies: pure functions, table by table."""

from __future__ import annotations

from typing import Any

import pytest

from triolet import ConfigError, Triolet, policies
from triolet.hub.policies import Lag, Step, holds_publishers

KEEP, BLOCK, LATEST, SKIP, BYE = Step.CATCH_UP, Step.BLOCK, Step.LATEST, Step.SKIP, Step.DISCONNECT


def lag(events: int = 0, *, missed: int = 0, seconds: float = 0, stalled: float = 0, pending: int = 0) -> Lag:
    return Lag(events, missed, seconds, stalled, pending)


LADDER = policies.ladder(
    policies.latest(events=10), policies.skip(events=100), policies.disconnect(events=1_000, seconds=60)
)


@pytest.mark.parametrize(
    ("policy", "where", "step"),
    [
        (policies.catch_up(), lag(10**9, seconds=10**6, stalled=9, pending=10**6), KEEP),
        (policies.latest(events=10), lag(10), KEEP),
        (policies.latest(events=10), lag(11), LATEST),
        (policies.latest(events=10), lag(11, missed=11), LATEST),
        (policies.skip(events=10), lag(10), KEEP),
        (policies.skip(events=10), lag(11), SKIP),
        (policies.skip(events=10), lag(11, missed=11), SKIP),
        (policies.disconnect(events=10), lag(10), KEEP),
        (policies.disconnect(events=10), lag(11), BYE),
        (policies.disconnect(events=10), lag(500, missed=490), KEEP),
        (policies.disconnect(events=10), lag(501, missed=490), BYE),
        (policies.disconnect(seconds=5), lag(10**6, seconds=5), KEEP),
        (policies.disconnect(seconds=5), lag(1, seconds=5.1), BYE),
        (policies.disconnect(events=10, seconds=5), lag(11), BYE),
        (policies.disconnect(events=10, seconds=5), lag(1, seconds=6), BYE),
        (policies.block(events=10, seconds=5), lag(10, seconds=9), KEEP),
        (policies.block(events=10, seconds=5), lag(11, seconds=4.9), BLOCK),
        (policies.block(events=10, seconds=5), lag(11, seconds=5), BYE),
        (policies.block(events=10, seconds=5), lag(30, missed=20, seconds=9), KEEP),
        (LADDER, lag(10), KEEP),
        (LADDER, lag(11), LATEST),
        (LADDER, lag(101), SKIP),
        (LADDER, lag(1_001), BYE),
        (LADDER, lag(1_001, missed=500), SKIP),
        (LADDER, lag(11, seconds=61), BYE),
    ],
)
def test_a_policy_says(policy: policies.Policy, where: Lag, step: Step) -> None:
    assert policy(where) is step


def test_the_order_of_a_ladders_rungs_does_not_matter() -> None:
    rungs = [policies.disconnect(seconds=60), policies.skip(events=5), policies.latest(events=1)]
    for where in (lag(1), lag(2), lag(6), lag(6, seconds=61)):
        assert policies.ladder(*rungs)(where) is policies.ladder(*reversed(rungs))(where)


def test_only_what_may_block_holds_publishers() -> None:
    block = policies.block(events=1, seconds=1)
    assert holds_publishers(block)
    assert holds_publishers(policies.ladder(policies.skip(events=5), block))
    assert not holds_publishers(LADDER)
    assert not holds_publishers(lambda lag: KEEP)
    assert not holds_publishers(None)


def test_a_policy_has_a_name_that_can_be_read() -> None:
    assert repr(policies.ladder(policies.latest(events=3), policies.block(events=4, seconds=5))) == (
        "ladder(latest(events=3), block(events=4, seconds=5))"
    )


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (policies.latest, {"events": 0}),
        (policies.skip, {"events": -1}),
        (policies.skip, {"events": "many"}),
        (policies.disconnect, {}),
        (policies.disconnect, {"seconds": 0}),
        (policies.block, {"events": 5, "seconds": 0}),
        (policies.ladder, {}),
    ],
)
def test_a_bound_that_can_be_none_is_refused(make: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=make.__name__):
        make(**arguments)


async def later(lag: policies.Lag) -> policies.Step:
    return policies.Step.SKIP


NO_POLICIES = [policies.latest, policies, later, "latest", 5, lambda: policies.Step.SKIP]


@pytest.mark.parametrize("policy", NO_POLICIES)
def test_what_is_no_policy_is_refused_where_it_is_said(policy: Any) -> None:
    live = Triolet()
    for say in (
        lambda: Triolet(policy=policy),
        lambda: live.channel("/c", policy=policy),
        lambda: policies.ladder(policies.catch_up(), policy),
    ):
        with pytest.raises(ConfigError, match="policy= is an ordinary function of a Lag"):
            say()


@pytest.mark.parametrize("step", [None, 4, "skip", True])
def test_a_policy_that_says_no_step_is_told_what_it_said(step: Any) -> None:
    with pytest.raises(ConfigError, match=f"returned {step!r}"):
        policies.ask(lambda lag: step, policies.Lag(1, 0, 0.0, 0.0, 0))
