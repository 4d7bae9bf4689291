"""A publisher that outruns everyone: whatever a client's pace and policy, its history is the log, or gaps that name
what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from .crowd import KINDS, Crowd, Member, offset
from .test_slow import publish, slow_server, state

KEYS = 50
LAST = 20_000
CEILING = 8 << 20
PACES = (None, 200_000, 20_000, 2_000)
GAPS = {
    "c": {"expired"},
    "latest": {"expired", "conflated"},
    "skip": {"skipped"},
    "disconnect": set[str](),
    "ladder": {"expired", "conflated", "skipped"},
}
"""What each policy may leave out, and how it says so. ``c`` is the default: catch up."""


class History:
    """What one client heard, held against the log: events 1, 2, 3 …, whose keys come in turn."""

    def __init__(self, member: Member, start: int = 0) -> None:
        self.position = start
        self.gaps: list[str] = []
        self._newest: list[int] = []
        for _, message in member.heard:
            self._take(message)

    def _take(self, message: dict[str, object]) -> None:
        match message:
            case {"type": "open", "cursor": None}:
                pass  # the socket's own
            case {"type": "open", "cursor": str(cursor)}:
                assert offset(cursor) == self.position
            case {"type": "event", "id": str(cursor), "data": {"n": number}}:
                assert number == offset(cursor)
                assert number == (self._newest.pop(0) if self._newest else self.position + 1)
                self.position = number
            case {"type": "gap", "from": str(after), "to": str(to), "missed": missed, "reason": str(reason)}:
                assert not self._newest
                assert offset(after) == self.position
                self._pass_over(offset(to), reason, missed)
            case {"type": "live", "cursor": str(cursor)}:
                assert offset(cursor) == self.position
                assert not self._newest

    def _pass_over(self, to: int, reason: str, missed: object) -> None:
        """A gap: the cursor goes to its end, or newest events of each key follow and take it there."""
        self.gaps.append(reason)
        if reason == "conflated":
            self._newest = list(range(max(self.position, to - KEYS) + 1, to + 1))
            assert missed == to - self.position - len(self._newest) > 0
        else:
            assert missed == to - self.position > 0
            self.position = to


def at_different_paces(crowd: Crowd) -> Iterator[tuple[str, float | None, Member]]:
    """One client for each policy and pace, the transports in turn."""
    kinds = cycle(KINDS)
    for policy in GAPS:
        for pace in PACES:
            (member,) = crowd.join(1, f"/{policy}/news/events", [next(kinds)], after=0, small=pace is not None)
            crowd.slow_down([member], pace)
            yield policy, pace, member


def test_the_history_of_20_clients_at_different_paces_is_the_log_or_tells_what_is_missing(tmp_path: Path) -> None:
    limits = {"keep_events": 3_000, "stall_seconds": 60, "goodbye_seconds": 1}
    with slow_server(tmp_path, **limits) as server, Crowd(server) as crowd:
        clients = list(at_different_paces(crowd))
        publish(server, LAST, 150, batch=20, keys=KEYS)
        crowd.run(lambda: not state(server)["publishing"], "the end of the publisher", 40)
        members = [member for *_, member in clients]
        crowd.slow_down(members, None)
        crowd.run(lambda: all(member.ended or member.last == LAST for member in members), "all to be there", 40)
        for policy, pace, member in clients:
            history = History(member)
            assert set(history.gaps) <= GAPS[policy], (policy, pace)
            assert member.ended == (history.position < LAST)
            if member.ended:
                assert policy == "disconnect"
                assert {bye["code"] for bye in member.of("bye")} <= {4410}
                (back,) = crowd.join(1, f"/{policy}/news/events", [member.kind], after=history.position)
                crowd.run(lambda back=back: back.last == LAST, "the present, on coming back")  # type: ignore[misc]  # a lambda's default has no type
                assert History(back, history.position).position == LAST
            elif pace == PACES[-1]:
                assert history.gaps, (policy, pace)
        assert not server.crashes()


def test_a_publisher_that_is_to_wait_waits_for_who_reads_and_not_for_who_does_not(tmp_path: Path) -> None:
    """One client reads slowly and is waited for, one does not read, and is given up in 4 seconds."""
    with slow_server(tmp_path, goodbye_seconds=0.5) as server, Crowd(server) as crowd:
        fast = crowd.join(6, "/block/news/events")
        slow = crowd.join(2, "/block/news/events", ["websocket", "sse"])
        stalled = crowd.join(1, "/block/news/events", ["websocket"], small=True)
        crowd.slow_down(slow, 1_500_000)
        crowd.slow_down(stalled, 0)
        publish(server, 1_000, 1_000, batch=10)
        furthest = [0]

        def ended() -> bool:
            seen = state(server)
            furthest.append(seen["behind"])
            return not seen["publishing"]

        crowd.run(ended, "the end of the publisher", 30)
        assert 200 < max(furthest) <= 300
        crowd.run(lambda: all(member.last == 1_000 for member in [*fast, *slow]), "all to be there")
        for member in [*fast, *slow]:
            assert History(member).gaps == []
        assert all(lag["step"] == "block" for member in slow for lag in member.of("lag"))
        assert state(server)["connections"] == len(fast) + len(slow)


def test_past_the_memory_ceiling_those_who_hold_most_are_given_up_and_lose_nothing(tmp_path: Path) -> None:
    """80 clients that stall in the same moment would hold 18 MB of half-sent batches; the ceiling is 8."""
    with slow_server(tmp_path, memory_bytes=CEILING, stall_seconds=60) as server, Crowd(server) as crowd:
        fast = crowd.join(10, "/c/news/events")
        stalled = crowd.join(80, "/c/news/events", small=True)
        crowd.slow_down(stalled, 0)
        publish(server, 50, 5_000, batch=50)
        crowd.run(lambda: all(member.last == 50 for member in fast), "what was published")
        crowd.run(lambda: state(server)["held"] < CEILING, "room again")
        assert "limits.memory_bytes" in server.log
        crowd.slow_down(stalled, None)
        crowd.run(lambda: all(member.ended or member.last == 50 for member in stalled), "those who are left")
        left = state(server)["connections"] - len(fast)
        assert 20 < left < 40
        given_up = [member for member in stalled if member.ended]
        assert len(given_up) == len(stalled) - left
        back = {member: crowd.join(1, "/c/news/events", [member.kind], after=member.last)[0] for member in given_up}
        crowd.run(lambda: all(again.last == 50 for again in back.values()), "those who came back")
        for member, again in back.items():
            assert History(again, History(member).position).gaps == []
        for member in set(stalled) - set(given_up):
            assert History(member).gaps == []
        assert not server.crashes()
