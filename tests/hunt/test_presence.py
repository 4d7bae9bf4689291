"""The checker on who is present: whoever follows as a member, and nobody who has gone."""

from __future__ import annotations

import pytest

from hunt import Plan, perform
from hunt.history import Appended, Present, Serving
from hunt.plan import PRESENCE, ClientPlan
from hunt.steps import Cut, Restart, Wait
from triolet.limits import Limits

from .story import Story


def story() -> Story:
    """A member has followed for half a minute."""
    told = Story(client={"member": True}, lease_seconds=3)
    told.history.add(Serving(0.0, 0))
    told.asks("0")
    told.opens("a.0")
    told.lives("a.0")
    told.at = 30
    return told


@pytest.mark.parametrize(("members", "kinds"), [(("A",), []), ((), ["a missing member"])])
def test_a_member_that_follows(members: tuple[str, ...], kinds: list[str]) -> None:
    told = story()
    told.history.add(Present(30, 30, 0, "c0", members, ("A",)))
    told.over()
    assert told.kinds() == kinds


@pytest.mark.parametrize(("seconds", "kinds"), [(10, []), (40, ["a ghost"])])
def test_a_member_that_has_gone(seconds: float, kinds: list[str]) -> None:
    told = story()
    told.ends("left: reset")
    told.history.add(Present(31, 31, 0, "c0", ("A",), ("A",)))
    told.history.add(Present(31 + seconds, 31 + seconds, 0, "c0", ("A",), ()))
    assert told.kinds() == kinds


def test_members_come_and_go_are_lost_with_their_server_and_come_back() -> None:
    clients = (
        ClientPlan("A", "websocket", member=True, start="0"),
        ClientPlan("B", "sse", (PRESENCE,), server=1, start="0"),
    )
    steps = (Wait(3), Cut(0, "reset", 4), Wait(9), Restart(0, 3, killed=True), Wait(20))
    limits = Limits(lease_seconds=3, beat_seconds=4, silence_seconds=10)
    performed = perform(Plan(7, limits, ((),), clients, steps, servers=2))
    assert performed.findings == ()
    stored = [record for record in performed.history.records if isinstance(record, Appended)]
    reasons = [record.data["reason"] for record in stored if record.name == "leave"]
    assert reasons.count("left") >= 1
    assert reasons.count("lost") == 1
