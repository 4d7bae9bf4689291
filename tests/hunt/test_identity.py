"""The checker on expiry, revocation, filters and commands: histories that are right, and the same with one thing
wrong."""

from __future__ import annotations

import pytest

from hunt import draw
from hunt.folding import key_of, name_of
from hunt.history import Appended, Banned, Lost, Ordered, Replied
from hunt.identities import Ban, is_seen
from triolet import Cursor

from .story import Story, event


def story(transport: str = "websocket", *, until: float = 20, **client: object) -> Story:
    """Somebody with an identity has been live for a while."""
    told = Story(transport, client={"subject": "u", **client})
    told.asks("0", status=101 if transport == "websocket" else 200, until=until)
    told.opens("a.0")
    told.lives("a.0")
    told.at = 19
    return told


@pytest.mark.parametrize(("at", "kinds"), [(19.9, []), (20.5, ["an event after the expiry"])])
def test_an_event_after_the_expiry(at: float, kinds: list[str]) -> None:
    told = story()
    told.at = at
    told.stores(0)
    told.events(("a.1", 0))
    told.at = 20.5
    told.bye(4401, "expired", None)
    told.ends()
    assert told.kinds() == kinds


@pytest.mark.parametrize("renews", [True, False])
def test_a_client_that_is_still_there_after_its_end_unless_it_has_renewed(renews: bool) -> None:
    told = story()
    if renews:
        told.says("auth", until=90)
        told.hears("renewed", **{"in": 71_000})
    told.at = 40
    told.ends("left: reset")
    assert told.kinds() == ([] if renews else ["no expiry"])


def test_a_renewal_that_is_not_answered_and_one_that_is_ended_all_the_same() -> None:
    unanswered = story(until=100)
    unanswered.says("auth", until=200)
    unanswered.at = 40
    unanswered.ends("left: reset")
    assert unanswered.kinds() == ["no renewal"]
    ended = story()
    ended.says("auth", until=90)
    ended.hears("renewed", **{"in": 71_000})
    ended.at = 20
    ended.bye(4401, "expired", None)
    ended.ends()
    assert ended.kinds() == ["a bye without a cause"]


@pytest.mark.parametrize(("by", "value"), [("subject", "u"), ("session", "A"), ("channel", "c0"), ("url", "/r0/c0")])
@pytest.mark.parametrize("has_event", [True, False])
def test_an_event_after_a_revocation_and_a_client_that_stays(by: str, value: str, has_event: bool) -> None:
    told = story(until=1_000)
    told.history.add(Banned(19, Ban(by, value), 19, 40, 0, True))
    told.at = 21
    if has_event:
        told.stores(0)
        told.events(("a.1", 0))
    told.at = 40
    told.ends("left: reset")
    assert told.kinds() == ["an event after a no" if has_event else "it stays"]


def test_a_revocation_of_somebody_else_concerns_nobody() -> None:
    told = story(until=1_000)
    told.history.add(Banned(19, Ban("subject", "me"), 19, 40, 0, True))
    told.at = 21
    told.bye(4403, "revoked", None)
    told.ends()
    assert told.kinds() == ["a bye without a cause"]


def test_a_filtered_client_has_what_it_may_see_and_nothing_else() -> None:
    seen = [number for number in range(6) if is_seen(number, "u")]
    hidden = next(number for number in range(6) if number not in seen)

    def heard(*numbers: int) -> list[str]:
        told = Story(client={"subject": "u", "way": "f"})
        told.stores(*range(6))
        told.asks("0")
        told.hears("open", channel="c0", cursor="a.0", filtered=True)
        told.events(*[(f"a.{number + 1}", number) for number in numbers])
        told.lives("a.6")
        return told.kinds()

    assert heard(*seen) == []
    assert heard(*seen[1:]) == ["a lost event"]
    assert heard(*sorted([*seen, hidden])) == ["a filter"]


def test_a_filtered_poll_is_answered_by_a_log_that_goes_on_with_another() -> None:
    hidden = next(number for number in range(6) if not is_seen(number, "u"))
    told = Story("long poll", client={"subject": "u", "way": "f"})
    told.stores(10, 11)
    told.asks("a.2", status=200, wait=10)
    told.at = 1
    told.history.add(Lost(1, "b", "a", (("c0", 2),)))
    told.history.add(Appended(1, "c0", Cursor("b", 3), name_of(hidden), [hidden, ""], key_of(hidden), None, 10))
    told.page(cursor="b.3")
    told.ends("answered")
    assert told.kinds() == []


def test_a_gap_of_a_filtered_poll_begins_behind_what_its_client_may_not_see() -> None:
    hidden = next(number for number in range(6) if not is_seen(number, "u"))
    told = Story("long poll", client={"subject": "u", "way": "f"})
    told.stores(10, hidden)
    told.asks("a.1", status=200, wait=10)
    told.at = 1
    told.history.add(Lost(1, "b", "a", (("c0", 0),)))
    gap = {"type": "gap", "from": "a.2", "to": "b.0", "reason": "future", "missed": None}
    told.page(cursor="b.0", gap=gap)
    told.ends("answered")
    assert told.kinds() == []


# --- commands


def command(*, fails: str = "") -> Story:
    told = Story()
    told.history.add(Ordered(1, 0, "A", ("c0", "c1"), fails))
    return told


def stores(told: Story, channel: str, at: float = 2) -> None:
    fields = event("a.1", 0)
    told.history.add(Appended(at, channel, Cursor("a", 1), fields["event"], fields["data"], fields["key"], None, 10))


def test_a_command_that_is_done_and_answered_again() -> None:
    told = command()
    stores(told, "c0")
    stores(told, "c1")
    for repeated in (False, True):
        told.history.add(Replied(3, 0, 200, {"run": 1}, repeated, other=False))
    told.history.add(Replied(4, 0, 422, None, repeated=False, other=True))
    assert told.kinds() == []
    told.history.add(Replied(5, 0, 200, {"run": 2}, repeated=True, other=False))
    told.history.add(Replied(6, 0, 200, {"run": 1}, repeated=True, other=True))
    assert told.kinds() == ["another answer", "an id twice"]


def test_half_a_command_and_one_that_is_not_stored() -> None:
    told = command()
    stores(told, "c0")
    assert told.kinds() == ["half a command"]
    told = command()
    told.history.add(Replied(3, 0, 200, {"run": 1}, repeated=False, other=False))
    assert told.kinds() == ["a command is not stored"]
    apart = command()
    stores(apart, "c0")
    stores(apart, "c1", 3)
    assert apart.kinds() == ["half a command"]


def test_a_command_that_has_failed_and_is_stored() -> None:
    told = command(fails="raises")
    stores(told, "c0")
    stores(told, "c1")
    assert told.kinds() == ["a failed command"]


def test_some_plans_have_identities_and_each_way() -> None:
    plans = [plan for plan in map(draw, range(100)) if plan.has_identities]
    assert 15 < len(plans) < 50
    clients = [client for plan in plans for client in plan.clients]
    assert {client.way for client in clients} == {"r", "f", "k"}
    assert {bool(client.lasts) for client in clients} == {True, False}
