"""What a log has, and whether everybody's history is the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import takewhile
from typing import Any

from tests.e2e.crowd import offset

from .followers import Follower
from .publishers import Publisher, ask

__all__ = ["Log", "check_follower", "check_publisher", "read"]

Log = dict[int, Any]
"""The events of a channel, by their offsets."""


def read(address: tuple[str, int], channel: str) -> Log:
    """Read a channel from its beginning to its head."""
    found: Log = {}
    after, live = "0", False
    while not live:
        status, answer = ask(address, "GET", f"/c/{channel}/events?after={after}")
        assert status == 200, answer
        assert not answer["gap"], answer["gap"]
        found.update((offset(event["id"]), event["data"]) for event in answer["events"])
        after, live = answer["cursor"], answer["live"]
    assert list(found) == list(range(1, len(found) + 1)), "offsets are contiguous"
    return found


def check_follower(follower: Follower, log: Log, refusals: Collection[int] = (503,)) -> None:
    """A client's history is the log after its first cursor: no hole, nothing twice, nothing out of order."""
    assert not follower.wrong, (follower, follower.wrong[:3])
    assert follower.start is not None, follower
    expected = [(place, log[place]) for place in range(follower.start + 1, len(log) + 1)]
    if follower.heard != expected:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(follower.heard, expected, strict=False))
        at = sum(1 for _ in same)
        raise AssertionError(f"{follower}: heard {follower.heard[at : at + 3]}, the log has {expected[at : at + 3]}")
    assert set(follower.statuses) <= {101, 200, *refusals}, follower.statuses


def check_publisher(publisher: Publisher, log: Log) -> None:
    """What was acknowledged is in the log once, where it was said to be; what was refused is not in it."""
    places = {data: place for place, data in log.items()}
    twice = [data for data, count in Counter(log.values()).items() if count > 1]
    assert not twice, f"twice in the log: {twice[:5]}"
    for data, cursor in publisher.returned.items():
        assert places.get(data) == offset(cursor), f"{data} was acknowledged as {cursor}: {places.get(data)}"
    assert not publisher.refused & places.keys(), "refused as surely not stored, and stored"
    own = [int(data.rpartition(".")[2]) for data in log.values() if data.startswith(f"{publisher.name}.")]
    assert own == sorted(own), "the order of one publisher's events"
    assert len(own) == len(publisher.returned), "nothing else of it is in the log"
