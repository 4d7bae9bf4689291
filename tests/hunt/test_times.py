"""What the checker says of histories in which something comes too late, or never."""

from __future__ import annotations

from hunt.plan import Rung

from .story import Story, caught_up

LATEST, SKIP = (Rung("latest", events=2),), (Rung("skip", events=2),)
DISCONNECT = (Rung("disconnect", events=5, seconds=3),)


def test_an_event_that_comes_late_or_never() -> None:
    def story(seconds: float | None, *, stalled: bool = False) -> list[str]:
        told = caught_up()
        if stalled:
            told.stalls(30)
        told.at = 10
        told.stores(3)
        if seconds is not None:
            told.at = 10 + seconds
            told.events(("a.4", 3))
        told.at = 40
        told.hears("ping", payload="")
        told.over()
        return told.kinds()

    assert story(0.5) == []
    assert story(3) == story(None) == ["a late event"]
    assert story(3, stalled=True) == []


def test_no_beat_for_too_long() -> None:
    story = caught_up(beat_seconds=4)
    for at in (4, 8, 14):
        story.at = at
        story.beats(c0="a.3")
        story.hears("ping", payload="")
    assert story.kinds() == ["a beat"]


def test_a_long_poll_that_is_not_answered_in_time() -> None:
    def story(after: str, seconds: float) -> list[str]:
        told = Story("long poll")
        told.stores(0, 1)
        told.asks(after, status=200, wait=5)
        told.history.records.pop()
        told.at = seconds
        told.ends("left: it was silent")
        return told.kinds()

    assert story("a.2", 4) == []
    assert story("a.2", 9) == ["a late answer"]
    assert story("a.1", 3) == ["a late answer"]


def test_a_drain_that_does_not_end_and_a_client_that_is_not_given_up() -> None:
    story = Story()
    story.drains(grace=2)
    story.at = 3
    story.drained()
    assert story.kinds() == ["a drain"]
    stalled = Story(policy_seconds=1, goodbye_seconds=1)
    stalled.asks("0")
    stalled.stuck(6)
    assert stalled.findings() == []
    stalled.stuck(8)
    assert stalled.kinds() == ["a stall"]
