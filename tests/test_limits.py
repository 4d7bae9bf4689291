"""Limits: each field's type and range, at once and by name."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from triolet import Keep, Limits
from triolet.errors import ConfigError

INTEGERS = [field.name for field in fields(Limits) if field.type == "int"]
NUMBERS = [field.name for field in fields(Limits) if field.type == "float"]


def test_every_limit_is_one_or_the_other() -> None:
    assert len(INTEGERS) + len(NUMBERS) + len(["keep"]) == len(fields(Limits))


@pytest.mark.parametrize("value", [1e4, 1.0, 0, -1, True, None, "5", math.nan, math.inf, 10**40, b"1", [1]], ids=repr)
def test_what_is_counted_is_a_whole_number(value: Any) -> None:
    for name in INTEGERS:
        with pytest.raises(ConfigError, match=rf"limits\.{name} "):
            Limits(**{name: value})


@pytest.mark.parametrize("value", [0, 0.0, -1, True, None, "5", math.nan, -math.inf, 1e300, 10**400, 1j], ids=repr)
def test_what_is_measured_is_a_number_above_zero(value: Any) -> None:
    for name in NUMBERS:
        with pytest.raises(ConfigError, match=rf"limits\.{name} "):
            Limits(**{name: value})


def test_only_keeping_may_be_endless() -> None:
    assert Limits(keep_seconds=math.inf).keep_seconds == math.inf
    for name in set(NUMBERS) - {"keep_seconds"}:
        with pytest.raises(ConfigError, match=name):
            Limits(**{name: math.inf})  # type: ignore[arg-type]


def test_seconds_may_be_whole_or_not() -> None:
    assert Limits(stall_seconds=5, beat_seconds=0.5).beat_seconds == 0.5


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"page_bytes": 2 << 20, "memory_bytes": 1 << 20}, "page_bytes"),
        ({"page_bytes": 1 << 30}, "page_bytes"),
        ({"window_bytes": 1 << 30}, "window_bytes"),
        ({"windows_bytes": 1 << 30}, "windows_bytes"),
        ({"replay_bytes": 1 << 30}, "replay_bytes"),
        ({"inbox_bytes": 1 << 30}, "inbox_bytes"),
    ],
)
def test_limits_that_cannot_work_together_are_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Limits(**values)


@pytest.mark.parametrize("keep", [{"a": 5}, {"": Keep()}, {1: Keep(events=1)}, [("a", Keep())], None])
def test_what_keeps_no_channels_is_refused(keep: Any) -> None:
    with pytest.raises(ConfigError, match=r"keep|pattern"):
        Limits(keep=keep)


@pytest.mark.parametrize(
    "wrong", [{"events": 0}, {"events": 1.5}, {"seconds": -1}, {"bytes": "1"}, {"events": math.inf}]
)
def test_what_is_kept_is_a_number(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"Keep\.{next(iter(wrong))} "):
        Keep(**wrong)


def test_the_first_pattern_that_matches_says_how_a_channel_is_kept() -> None:
    keep = {"a/*": Keep(events=1), "*": Keep(seconds=math.inf, bytes=7)}
    limits = Limits(keep_events=9, keep_seconds=10, keep_bytes=11, keep=keep)
    assert limits.kept("a/b") == (1, 10, 11)
    assert limits.kept("a") == (9, math.inf, 7)
    assert limits.kept("triolet.presence/a") == (9, 10, 11)
    assert limits.shortest_seconds == 10
