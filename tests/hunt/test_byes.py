"""The checker on goodbyes and on silence: histories that are right, and the same with one thing wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hunt.history import KILLED, Answered, Asked, Lost

from .story import Story


def live(transport: str = "websocket", *, mute: bool = False) -> Story:
    """Somebody has been live for ten seconds."""
    story = Story(transport, client={"mute": mute}, silence_seconds=20)
    story.asks(status=101 if transport == "websocket" else 200)
    story.opens("a.0")
    story.lives("a.0")
    story.at = 10
    return story


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_a_drain_without_a_bye(transport: str) -> None:
    told, untold = live(transport), live(transport)
    told.drains()
    told.bye(1012, "restarting", 3_000)
    told.hears("close", code=1012)
    for story in (told, untold):
        if story is untold:
            story.drains()
        story.ends("reset" if story is untold else "end")
        story.at = 11
        story.drained()
    assert told.kinds() == []
    assert untold.kinds() == ["a drain"]


@pytest.mark.parametrize(("seconds", "kinds"), [(0.1, []), (3, ["a drain"])])
def test_a_drain_that_leaves_a_poll_waiting(seconds: float, kinds: list[str]) -> None:
    story = Story("long poll")
    story.stores(0)
    story.at, story.conn = 5, 1
    story.history.add(Asked(5, 1, "A", 0, "long poll", "c0", "a.1", wait=10))
    story.at = 7
    story.drains(grace=10)
    story.at += seconds
    story.history.add(Answered(story.at, 1, 200))
    story.page(cursor="a.1")
    story.ends("answered")
    story.at = 11
    story.drained()
    assert story.kinds() == kinds


def test_a_stream_that_ends_within_its_body_after_a_bye() -> None:
    story = live("sse")
    story.drains()
    story.bye(1012, "restarting", 3_000)
    story.ends("end within the body")
    story.drained()
    assert story.kinds() == ["a bye"]


@pytest.mark.parametrize(("given_up_at", "kinds"), [(20.1, []), (29, ["silence"])])
def test_a_client_that_says_nothing(given_up_at: float, kinds: list[str]) -> None:
    story = live(mute=True)
    story.at = given_up_at
    story.bye(4409, "silent", 1_500)
    story.ends()
    assert story.kinds() == kinds


def test_an_id_that_is_not_where_the_client_stands() -> None:
    story = live("sse")
    story.stores(0, 1)
    story.hears("event", id="a.1", event="state", data=[0, ""], key="key 0", last_id="a.2")
    assert story.kinds() == ["last event id"]


@pytest.mark.parametrize("asks", [True, False])
def test_a_client_that_answers_no_ping_but_asks_for_a_command_is_there(asks: bool) -> None:
    story = live(mute=True)
    if asks:
        story.hears("reply", id="o0", status=200, data=None)
    story.at = 25
    story.bye(4409, "silent", 100)
    story.hears("close", code=4409)
    story.ends()
    assert story.kinds() == ([] if asks else ["silence"])


def test_a_server_that_is_killed_while_it_drains_has_said_so_for_a_cause() -> None:
    story = live()
    story.drains()
    story.bye(1012, "restarting", 3_000)
    story.hears("close", code=1012)
    story.ends()
    story.at += 0.1
    story.drains(KILLED)
    story.drained()
    assert story.kinds() == []


def test_a_poll_waits_where_another_log_goes_on_with_what_its_client_had() -> None:
    story = Story("long poll", look_seconds=0.5)
    story.plan = replace(story.plan, redis=True)
    story.history.add(Lost(1, "b", "a", (("c0", 0),)))
    story.at, story.conn = 5, 1
    story.history.add(Asked(5, 1, "A", 0, "long poll", "c0", "a.0", wait=10))
    story.at = 15
    story.history.add(Answered(15, 1, 200))
    story.page(cursor="b.0")
    story.ends("answered")
    assert story.kinds() == []
