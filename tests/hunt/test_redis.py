"""Plays on a modelled Redis: what befalls it, and what the checker makes of epochs that go on with what there was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hunt import Performance, Plan, check, draw, perform
from hunt.book import Book
from hunt.draw import REDIS_TROUBLES
from hunt.history import OUTAGE, Appended, Heard, History, Lost, Published, Record, Unpublished, Weather
from hunt.plan import ClientPlan, Step
from hunt.steps import Publish, Trouble, Wait
from hunt.subscriber import BrokenPromiseError, Subscriber
from triolet.event import Cursor
from triolet.limits import Limits

LIMITS = Limits(beat_seconds=1, silence_seconds=10, away_seconds=3, answer_seconds=0.5, look_seconds=0.5)


def play(*steps: Step, servers: int = 1, clients: tuple[ClientPlan, ...] | None = None) -> Performance:
    """Play on Redis, with one client on the last server, whatever is drawn otherwise."""
    listening = clients or (ClientPlan("A", "websocket", start="0", server=servers - 1),)
    plan = Plan(7, LIMITS, ((),), listening, steps, servers=servers, redis=True)
    return perform(plan)


def heard(performed: Performance, *kinds: str) -> list[dict[str, object]]:
    messages = [record.message for record in performed.history.records if isinstance(record, Heard)]
    return [message for message in messages if message["type"] in kinds]


def of(performed: Performance, kind: type[Record]) -> list[Record]:
    return [record for record in performed.history.records if isinstance(record, kind)]


def test_a_quarter_of_the_seeds_have_their_log_in_redis() -> None:
    plans = [draw(seed) for seed in range(400)]
    on_redis = [plan for plan in plans if plan.redis]
    assert 70 <= len(on_redis) <= 130
    assert {plan.servers for plan in on_redis} == {1, 2, 3}
    kinds = {step.kind for plan in on_redis for step in plan.steps if isinstance(step, Trouble)}
    assert kinds == set(REDIS_TROUBLES)


def test_a_seed_on_redis_gives_the_same_history_each_time() -> None:
    seed = next(seed for seed in range(40) if draw(seed).redis)
    assert perform(draw(seed)).history.records == perform(draw(seed)).history.records


def test_who_has_seen_what_a_failover_lost_hears_of_it_and_of_nothing_else() -> None:
    performed = play(Publish(0, 2), Wait(1), Trouble("fails over", 2), Wait(1), Publish(0, 3), Wait(8))
    assert performed.findings == ()
    (gap,) = heard(performed, "gap")
    assert (gap["reason"], str(gap["from"])[-2:], str(gap["to"])[-2:]) == ("future", ".5", ".2")
    assert len(of(performed, Lost)) == 2


def test_who_has_seen_nothing_that_was_lost_goes_on_without_a_word() -> None:
    performed = play(Publish(0, 2), Wait(1), Trouble("restarts", 1), Wait(8), Publish(0, 1), Wait(1))
    assert performed.findings == ()
    assert heard(performed, "gap") == []
    ids = [Cursor.parse(str(message["id"])) for message in heard(performed, "event")]
    assert [cursor.offset for cursor in ids] == list(range(1, len(ids) + 1))
    assert len({cursor.epoch for cursor in ids}) == 2


def test_a_redis_that_comes_back_empty_is_a_gap_of_the_epoch() -> None:
    performed = play(Publish(0, 2), Wait(1), Trouble("restarts empty", 1), Wait(8))
    assert performed.findings == ()
    assert [gap["reason"] for gap in heard(performed, "gap")] == ["epoch"]


@pytest.mark.parametrize("kind", ["away", "hangs"])
def test_while_it_is_out_of_reach_beats_say_so_and_publishes_are_told_what_became_of_them(kind: str) -> None:
    performed = play(Wait(1), Trouble(kind, 6), Wait(0.2), Publish(0, 3), Wait(10))
    assert performed.findings == ()
    weather = [record for record in of(performed, Weather) if isinstance(record, Weather)]
    assert [record.what for record in weather if record.whom == OUTAGE] == [kind]
    told = [bool(beat.get("stale")) for beat in heard(performed, "beat")]
    assert True in told
    assert told[-1] is False
    assert len(heard(performed, "bye")) == 0
    assert of(performed, Unpublished)


@pytest.mark.parametrize("kind", ["lost before", "lost after", "connections lost", "slow"])
def test_what_is_sent_again_is_stored_once(kind: str) -> None:
    steps: list[Step] = [Trouble(kind, 6), *[Publish(0, 5, pace=0.2)] * 4, Trouble(kind, 1)]
    performed = play(*steps, servers=2)
    assert performed.findings == ()
    assert len(of(performed, Published)) >= 20
    assert len(of(performed, Appended)) == len(of(performed, Published))


@pytest.mark.parametrize("kind", ["hints lost", "hints twice", "hints late"])
def test_hints_that_are_lost_doubled_or_late_change_nothing_but_the_time(kind: str) -> None:
    performed = play(Trouble(kind, 12), *[Publish(0, 3, pace=1)] * 3, servers=2)
    assert performed.findings == ()
    events = heard(performed, "event")
    assert [Cursor.parse(str(event["id"])).offset for event in events] == list(range(1, 10))
    assert heard(performed, "gap") == []


# --- the checker


def book(*records: Record) -> Book:
    return Book(records, Limits())


def stored(epoch: str, offset: int, number: int) -> Appended:
    return Appended(0.0, "c0", Cursor(epoch, offset), "message", [number, ""], None, None, 10)


LINE = (
    Lost(0.0, "a"),
    *(stored("a", offset, offset) for offset in (1, 2, 3)),
    Lost(0.0, "b", "a", (("c0", 2),)),
    stored("b", 3, 9),
    Lost(0.0, "c", "b", (("c0", 3),)),
    Lost(0.0, "d"),
)


def test_the_book_knows_what_an_epoch_has_of_earlier_ones() -> None:
    told = book(*LINE)
    assert [event.number for event in told.life("c0", "b").events] == [1, 2, 9]
    assert [event.number for event in told.life("c0", "c").events] == [1, 2, 9]
    assert told.upto("c0", "a", "c") == 2
    assert told.upto("c0", "b", "c") == 3
    assert told.upto("c0", "c", "a") is None
    assert told.upto("c0", "a", "d") is None
    assert told.carries("c0", Cursor("a", 2), "c")
    assert not told.carries("c0", Cursor("a", 3), "c")


def follower(after: str) -> Subscriber:
    return Subscriber(book(*LINE), "c0", after, (), begun=0, lag=0, quick=True)


def gap(before: str, after: str, reason: str) -> dict[str, object]:
    return {"type": "gap", "channel": "c0", "from": before, "to": after, "reason": reason, "missed": None}


def test_a_cursor_goes_over_to_a_later_epoch_only_where_nothing_was_lost() -> None:
    place = len(LINE) - 1
    good = follower("a.2")
    good.hear(place, 0, {"type": "open", "channel": "c0", "cursor": "a.2"})
    good.hear(place, 0, {"type": "live", "channel": "c0", "cursor": "c.2"})
    bad = follower("a.3")
    bad.hear(place, 0, {"type": "open", "channel": "c0", "cursor": "a.3"})
    with pytest.raises(BrokenPromiseError):
        bad.hear(place, 0, {"type": "live", "channel": "c0", "cursor": "c.3"})
    told = follower("a.3")
    told.hear(place, 0, {"type": "open", "channel": "c0", "cursor": "a.3"})
    told.hear(place, 0, gap("a.3", "c.2", "future"))
    assert told.position == Cursor("c", 2)
    told.hear(place, 0, gap("c.2", "d.0", "epoch"))


@pytest.mark.parametrize(
    "wrong",
    [gap("a.3", "c.1", "future"), gap("a.3", "c.3", "future"), gap("a.3", "c.0", "epoch"), gap("a.3", "d.0", "future")],
)
def test_a_gap_between_epochs_ends_where_that_was_lost(wrong: dict[str, object]) -> None:
    told = follower("a.3")
    told.hear(len(LINE) - 1, 0, {"type": "open", "channel": "c0", "cursor": "a.3"})
    with pytest.raises(BrokenPromiseError):
        told.hear(len(LINE) - 1, 0, wrong)


def test_a_gap_that_nobody_told_and_beats_that_do_not_say_stale_are_found() -> None:
    performed = play(Publish(0, 2), Wait(1), Trouble("fails over", 2), Wait(1), Publish(0, 3), Wait(8))
    silent = replace_records(performed, lambda m: m["type"] not in ("gap", "event", "live"), after=2.5)
    assert "a late gap" in {finding.kind for finding in check(performed.plan, silent)}
    away = play(Wait(1), Trouble("away", 6), Wait(8))
    records = [
        replace(record, message={**record.message, "stale": False}) if isinstance(record, Heard) else record
        for record in away.history.records
    ]
    assert "a stale log" in {finding.kind for finding in check(away.plan, History(records))}


def replace_records(performed: Performance, keep: object, after: float) -> History:
    assert callable(keep)
    return History(
        [r for r in performed.history.records if not (isinstance(r, Heard) and r.at > after and not keep(r.message))]
    )
