"""Clients that follow many channels by one request: what the checker says of them, and that plans have them."""

from __future__ import annotations

from typing import Any

import pytest

from hunt import draw
from hunt.history import Answered, Appended
from hunt.plan import MANY
from triolet import Cursor
from triolet.event import END
from triolet.wire.places import place_key, write_places

from .story import Story, event


def place(*offsets: int) -> str:
    """Where a client stands in c0, c1, and so on."""
    return write_places([(place_key(f"c{at}"), Cursor("a", offset)) for at, offset in enumerate(offsets)])


def asked(transport: str = "many sse", after: str | None = None, at: float = 0) -> Story:
    """Somebody follows c0, which has an event, and c1, which has none."""
    story = Story(transport, client={"channels": (0, 1), "start": "0"})
    story.stores(0)
    story.at = at
    story.asks(after, status=200, wait=5 if transport == "many poll" else None)
    for channel in ("c0", "c1"):
        story.says("follow", channel=channel, url=f"/r0/{channel}?after=0", after="a.0")
    return story


def begun(after: str | None = None, third: int = 0) -> Story:
    story = asked(after=after)
    rest = (third,) if third else ()
    for channel in ("c0", "c1"):
        story.hears("open", channel=channel, cursor="a.0", place=place(0, 0, *rest))
    story.hears("live", channel="c1", cursor="a.0", place=place(0, 0, *rest))
    return story


def hears(story: Story, at: str | None) -> None:
    story.hears("event", **event("a.1", 0), place=at)
    story.over()


def test_a_block_that_says_where_its_client_stands_is_right() -> None:
    story = begun()
    hears(story, place(1, 0))
    assert story.findings() == []


@pytest.mark.parametrize(
    "at",
    [None, place(0, 0), place(1, 1), place(1), "no place"],
    ids=["none", "the one before", "another channel's ahead", "of one channel", "malformed"],
)
def test_a_block_that_says_it_wrongly_is_found(at: str | None) -> None:
    story = begun()
    hears(story, at)
    assert story.kinds() == ["a place"]


def test_what_is_not_followed_keeps_its_place() -> None:
    story = begun(place(0, 0, 7), 7)
    hears(story, place(1, 0, 7))
    assert story.findings() == []
    story = begun(place(0, 0, 7), 7)
    hears(story, place(1, 0))
    assert story.kinds() == ["a place"]


def test_an_end_that_is_told_to_who_has_it_needs_no_place() -> None:
    story = Story("many sse", client={"channels": (0,)})
    story.stores(0)
    story.history.add(Appended(0, "c0", Cursor("a", 2), END, "over", None, None, 10))
    story.asks(place(2), status=200)
    story.says("follow", channel="c0", url="/r0/c0", after="a.2")
    story.hears("open", channel="c0", cursor="a.2", place=place(2))
    story.hears("end", channel="c0", cursor="a.2", data="over", place=None)
    assert story.findings() == []


def answered(story: Story, at: str, *, live: bool = True, events: bool = True) -> None:
    message = {"type": "event", **event("a.1", 0)}
    pages: dict[str, Any] = {"c0": [message] if events else [], "c1": []}
    for channel, told in pages.items():
        cursor = "a.1" if told else "a.0"
        last: dict[str, Any] = {"place": at, "last": True} if channel == "c1" else {"last": False}
        story.hears("page", channel=channel, events=told, cursor=cursor, live=live, gap=None, retry=0, **last)
    story.ends("answered")
    story.over()


def test_the_answer_to_a_poll_says_where_its_client_stands_and_whether_there_is_more() -> None:
    story = asked("many poll")
    answered(story, place(1, 0))
    assert story.findings() == []
    story = asked("many poll")
    answered(story, place(0, 0))
    assert story.kinds() == ["a place"]
    story = asked("many poll")
    answered(story, place(1, 0), live=False)
    assert story.kinds() == ["a page"]
    story = asked("many poll", at=10)
    answered(story, place(0, 0), live=True, events=False)
    assert story.kinds() == ["a page"]


def test_a_poll_is_answered_when_there_is_news_of_one_channel() -> None:
    story = asked("many poll", at=10)
    story.history.records = [record for record in story.history.records if not isinstance(record, Answered)]
    story.at = 14
    story.over()
    assert story.kinds() == ["a late answer"]


def test_plans_have_clients_of_many_channels_beside_all_else() -> None:
    plans = [plan for plan in map(draw, range(200)) if any(client.transport in MANY for client in plan.clients)]
    assert len(plans) > 20
    some = [client for plan in plans for client in plan.clients if client.transport in MANY]
    assert {client.transport for client in some} == set(MANY)
    assert {client.way for client in some} == {"r", "k", "f"}
    assert any(client.folds for client in some)
    assert any(client.state for client in some)
    assert any(client.member for client in some)
    assert any(client.lasts for client in some)
    assert any(plan.redis for plan in plans)
    assert any(plan.has_runs for plan in plans)
    assert max(len(client.channels) for client in some) > 2
