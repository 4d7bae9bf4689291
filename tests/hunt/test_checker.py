"""The checker is given histories that are right, and the same with one thing wrong."""

from __future__ import annotations

from typing import Any

import pytest

from hunt.plan import Rung

from .story import Story, caught_up, event

LATEST, SKIP = (Rung("latest", events=2),), (Rung("skip", events=2),)
DISCONNECT = (Rung("disconnect", events=5, seconds=3),)


def test_a_history_that_is_right_is_right() -> None:
    story = caught_up()
    story.at = 2
    story.stores(3)
    story.events(("a.4", 3))
    story.beats(c0="a.4")
    story.at = 5
    story.over()
    assert story.findings() == []


# --- one follower


@pytest.mark.parametrize(
    ("heard", "kind"),
    [
        ([("a.5", 4)], "a lost event"),
        ([("a.4", 3), ("a.4", 3)], "a repeated event"),
        ([("a.3", 2)], "a repeated event"),
        ([("a.4", 4)], "another event"),
        ([("a.4", 3), ("a.5", 4), ("a.6", 5)], "an event of no log"),
        ([("b.4", 3)], "a repeated event"),
    ],
)
def test_an_event_that_is_not_the_next(heard: list[tuple[str, int]], kind: str) -> None:
    story = caught_up()
    story.stores(3, 4)
    story.events(*heard)
    assert story.kinds() == [kind]


def test_an_event_before_the_log_had_it() -> None:
    story = caught_up()
    story.events(("a.4", 3))
    story.stores(3)
    assert story.kinds() == ["an event of no log"]


@pytest.mark.parametrize("first", ["a.1", "b.0"])
def test_an_open_somewhere_else(first: str) -> None:
    story = Story()
    story.stores(0, 1)
    story.asks("a.0")
    story.opens(first)
    assert story.kinds() == ["open"]


def test_an_open_from_now_that_is_not_now() -> None:
    story = Story()
    story.stores(0, 1)
    story.at = 3
    story.asks(None)
    story.opens("a.1")
    assert story.kinds() == ["open"]


def test_an_open_from_the_oldest_that_leaves_out_one_that_is_kept() -> None:
    story = Story(keep_events=2)
    story.stores(0, 1, 2)
    story.asks("0")
    story.opens("a.2")
    assert story.kinds() == ["open"]


def test_no_open_and_two_opens() -> None:
    story = Story()
    story.stores(0)
    story.asks("0")
    story.events(("a.1", 0))
    assert story.kinds() == ["open"]
    twice = caught_up()
    twice.opens("a.3")
    assert twice.kinds() == ["open"]


@pytest.mark.parametrize(("kind", "finding"), [("live", "live's cursor"), ("beat", "beat's cursor")])
def test_a_cursor_that_jumps(kind: str, finding: str) -> None:
    story = caught_up()
    story.stores(3)
    if kind == "live":
        story.lives("a.4")
    else:
        story.beats(c0="a.4")
    assert finding in story.kinds()


def test_a_beat_without_a_channel_that_is_followed_or_with_one_that_is_not() -> None:
    without, with_more = caught_up(), caught_up()
    without.beats()
    with_more.beats(c0="a.3", c1="a.1")
    assert without.kinds() == with_more.kinds() == ["beat's cursor"]


# --- gaps


def returning(**more: Any) -> Story:
    """Somebody comes back after the first of ten events, of which the last three are kept."""
    story = Story(keep_events=3, **more)
    story.stores(*range(10))
    story.at = 20
    story.asks("a.1")
    story.opens("a.1")
    return story


def test_a_gap_that_names_what_is_missing() -> None:
    story = returning()
    story.gap("a.1", "a.7", "expired", 6)
    story.events(("a.8", 7), ("a.9", 8), ("a.10", 9))
    story.lives("a.10")
    assert story.findings() == []


@pytest.mark.parametrize(
    ("begin", "end", "reason", "missed", "kind"),
    [
        ("a.1", "a.8", "expired", 7, "a gap that is not"),
        ("a.1", "a.6", "expired", 5, "a gap that is not"),
        ("a.1", "a.7", "expired", 5, "a gap"),
        ("a.2", "a.7", "expired", 5, "a gap"),
        ("a.1", "a.7", "epoch", None, "a gap"),
        ("a.1", "a.7", "future", None, "a gap"),
        ("a.1", "a.7", "lost", 6, "a gap"),
        ("a.1", "a.10", "skipped", 9, "a policy"),
        ("a.1", "a.10", "conflated", 3, "a policy"),
        ("a.1", "z.10", "expired", 9, "a gap"),
    ],
)
def test_a_gap_that_says_something_else(begin: str, end: str, reason: str, missed: int | None, kind: str) -> None:
    story = returning()
    story.gap(begin, end, reason, missed)
    assert story.kinds() == [kind]


@pytest.mark.parametrize(("end", "kinds"), [("b.0", []), ("b.1", ["a gap that is not"])])
def test_another_epoch_is_told_by_a_gap_to_its_oldest(end: str, kinds: list[str]) -> None:
    story = caught_up()
    story.ends("left: reset")
    story.begins("b")
    story.stores(7, 8)
    story.at = 20
    story.asks("a.3", conn=2)
    story.opens("a.3")
    story.gap("a.3", end, "epoch", None)
    assert story.kinds() == kinds


def test_events_of_another_epoch_without_a_gap() -> None:
    story = caught_up()
    story.ends("left: reset")
    story.begins("b")
    story.stores(*range(10, 15))
    story.asks("a.3", conn=2)
    story.opens("a.3")
    story.events(("b.4", 13))
    assert story.kinds() == ["a repeated event"]


def test_a_skip_that_its_policy_allows_and_one_too_early() -> None:
    story = caught_up(rungs=SKIP)
    story.stores(3, 4, 5)
    story.gap("a.3", "a.6", "skipped", 3)
    assert story.findings() == []
    early = caught_up(rungs=SKIP)
    early.stores(3, 4)
    early.gap("a.3", "a.5", "skipped", 2)
    assert early.kinds() == ["a policy"]


def conflated(*heard: int, missed: int) -> Story:
    """Events 4 to 11: of keys 3 (none), 0, 1, 2, 3 (none), 0, 1, 2."""
    story = caught_up(rungs=LATEST)
    story.stores(*range(3, 11))
    story.gap("a.3", "a.11", "conflated", missed)
    story.events(*[(f"a.{number + 1}", number) for number in heard])
    story.beats(c0=f"a.{heard[-1] + 1}")
    return story


def test_of_a_conflated_page_the_newest_of_each_key_and_all_without_one() -> None:
    assert conflated(3, 7, 8, 9, 10, missed=3).findings() == []


@pytest.mark.parametrize(
    ("heard", "missed"), [((7, 8, 9, 10), 4), ((3, 8, 9, 10), 4), ((3, 7, 8, 9), 4), ((3, 7, 8, 9, 10), 2)]
)
def test_a_conflated_page_that_leaves_out_more_or_counts_wrong(heard: tuple[int, ...], missed: int) -> None:
    assert conflated(*heard, missed=missed).kinds() != []


# --- polls


def test_pages_that_are_right_and_wrong() -> None:
    def story(**page: Any) -> list[str]:
        told = Story("long poll")
        told.stores(0, 1, 2)
        told.at = 9
        told.asks("a.1", status=200, wait=5)
        told.page(*page.pop("events", [("a.2", 1), ("a.3", 2)]), **page)
        told.ends("answered")
        return told.kinds()

    assert story(cursor="a.3") == []
    assert story(cursor="a.2") == ["page's cursor"]
    assert story(cursor="a.3", live=False) == ["a page"]
    assert story(cursor="a.2", events=[("a.2", 1)]) == ["a page"]
    assert story(cursor="a.3", events=[("a.3", 2)]) == ["open"]


def test_not_modified_although_there_is_something() -> None:
    def story(after: str, **more: Any) -> list[str]:
        told = Story("short poll")
        told.stores(0, 1)
        told.at = 9
        told.asks(after, status=304, wait=0, **more)
        told.hears("not modified")
        told.ends("answered")
        return told.kinds()

    assert story("a.2", tag='"a.2-a.2"') == []
    assert story("a.1", tag='"a.1-a.1"') == ["not modified"]
    assert story("a.2") == ["not modified"]


# --- sockets


def talking() -> Story:
    story = Story("socket")
    story.asks()
    story.hears("open", channel=None, cursor=None)
    for number in (1, 2):
        story.says("message", data=[number, ""])
    return story


def test_echoes_in_order_none_twice_and_none_missing() -> None:
    def story(*numbers: int) -> list[str]:
        told = talking()
        for number in numbers:
            told.hears("message", data={"echo": [number, ""]})
        told.at = 6
        told.hears("ping", payload="")
        told.over()
        return told.kinds()

    assert story(1, 2) == []
    assert story(2) == ["an echo", "no message"]
    assert story(1, 1) == ["an echo"]
    assert story(1) == ["no message"]


def test_a_pong_to_no_ping_and_a_ping_without_a_pong() -> None:
    story = talking()
    story.hears("pong", payload="7")
    assert story.kinds() == ["a pong"]
    silent = talking()
    silent.says("ping", payload="1")
    for number in (1, 2):
        silent.hears("message", data={"echo": [number, ""]})
    silent.at = 9
    silent.hears("ping", payload="")
    assert silent.kinds() == ["no pong"]


def test_something_behind_the_bye() -> None:
    story = caught_up()
    story.drains()
    story.bye(1012, "restarting", 100)
    story.stores(3)
    story.events(("a.4", 3))
    assert story.kinds() == ["a bye"]


@pytest.mark.parametrize(
    "bye", [(1012, "restarting", None), (1012, "restarting", 60_000), (1012, "over", 10), (4999, "?", 1)]
)
def test_a_bye_of_no_catalogue(bye: tuple[int, str, int | None]) -> None:
    story = caught_up()
    story.drains()
    story.bye(*bye)
    assert story.kinds() == ["a bye"]


def test_a_close_frame_with_another_code_than_the_bye() -> None:
    story = caught_up()
    story.drains()
    story.bye(1012, "restarting", 100)
    story.hears("close", code=1000, reason="done")
    assert story.kinds() == ["a close"]


@pytest.mark.parametrize(
    ("bye", "rungs", "kinds"),
    [
        ((1012, "restarting", 10), (), ["a bye without a cause"]),
        ((4410, "too far behind", 1_000), (), ["a bye without a cause"]),
        ((4410, "too far behind", 1_000), DISCONNECT, []),
        ((4409, "silent", 10), (), ["a bye without a cause"]),
        ((1011, "internal error", 1_000), (), ["a bye without a cause"]),
        ((1013, "try again later", 2_000), (), ["a bye without a cause"]),
    ],
)
def test_a_bye_must_fit_its_cause(bye: tuple[int, str, int], rungs: tuple[Rung, ...], kinds: list[str]) -> None:
    story = caught_up(rungs=rungs)
    story.bye(*bye)
    story.ends()
    assert story.kinds() == kinds


def test_an_end_without_a_bye_and_without_a_cause() -> None:
    story, drained = caught_up(), caught_up()
    story.ends("reset")
    drained.drains()
    drained.ends("reset")
    assert story.kinds() == ["an end without a cause"]
    assert drained.kinds() == []


def test_an_answer_that_is_none() -> None:
    story = Story()
    story.asks("0", status=500)
    story.ends()
    assert story.kinds() == ["an answer"]


def test_bytes_that_no_standard_allows() -> None:
    story = caught_up()
    story.malformed()
    assert "malformed" in story.kinds()


def test_an_event_whose_id_is_no_cursor() -> None:
    story = caught_up()
    story.hears("event", **{**event("a.2", 1), "id": None})
    assert story.kinds() == ["malformed"]


# --- the log


def test_a_publish_that_returned_is_stored_and_one_that_surely_failed_is_not() -> None:
    story = Story()
    story.returns(story.publishes(0), "a.1", numbers=(0,))
    assert story.kinds() == ["a publish is not stored"]
    story = Story()
    attempt = story.publishes(0)
    story.stores(0)
    story.fails(attempt)
    assert story.kinds() == ["a failed publish"]
    story = Story()
    attempt = story.publishes(0)
    story.stores(0)
    story.fails(attempt, sure=False)
    assert story.findings() == []


def test_a_publish_that_never_ends() -> None:
    story = Story()
    story.publishes(0)
    story.at = 60
    story.over()
    assert story.kinds() == ["a publish waits"]


def test_a_number_twice_in_the_log() -> None:
    story = Story()
    story.stores(0, 1, 0)
    assert story.kinds() == ["published twice"]


def test_a_dedupe_is_kept_as_long_as_its_event() -> None:
    def story(keep_events: int) -> list[str]:
        told = Story(keep_events=keep_events)
        for cursor in ("a.1", "a.4"):
            attempt = told.publishes(0, dedupe="d0")
            told.stores(0, dedupe="d0")
            told.returns(attempt, cursor, numbers=(0,))
            told.stores(1 if cursor == "a.1" else 3)
            told.stores(2 if cursor == "a.1" else 4)
        return told.kinds()

    assert story(keep_events=2) == []
    assert story(keep_events=3) == ["a repeated publish"]


def test_a_hole_in_the_offsets() -> None:
    story = Story()
    story.stores(0)
    story.stores(1, offset=3)
    assert story.kinds() == ["an offset"]


@pytest.mark.parametrize(
    ("kept", "kinds"),
    [(((3, 2), (4, 3)), []), (((4, 3),), ["retention"]), (((2, 1), (3, 2), (4, 3)), ["retention"])],
)
def test_retention_keeps_what_the_limits_say(kept: tuple[tuple[int, int], ...], kinds: list[str]) -> None:
    story = Story(keep_events=2)
    story.stores(0, 1, 2, 3)
    story.keeps(*kept)
    assert story.kinds() == kinds


def test_retention_by_bytes_and_age() -> None:
    story = Story(keep_bytes=25)
    story.stores(0, 1, 2, size=10)
    story.keeps((2, 1), (3, 2))
    assert story.findings() == []
    aged = Story(keep_seconds=5)
    aged.stores(0)
    aged.at = 4
    aged.stores(1)
    aged.at = 6
    aged.keeps((2, 1))
    assert aged.findings() == []


# --- the end


def test_what_is_left_and_who_is_behind() -> None:
    story = caught_up()
    story.over(("A", "c0", "a.2", "a.3"))
    story.leaves("followers")
    assert story.kinds() == ["not caught up", "followers left"]


def test_the_events_of_a_story_look_like_those_on_the_wire() -> None:
    assert event("a.4", 3) == {"channel": "c0", "id": "a.4", "event": "state", "data": [3, ""], "key": None}
