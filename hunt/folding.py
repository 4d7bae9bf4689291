"""Events that go together (``fold``): what a play's events hold, and what a folded one must do to a page's state.

It is the reference, and so it knows nothing of how Triolet folds: a folded event is right where every state becomes by
it what it becomes by those that it stands for, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["after", "data_of", "go_together", "is_right", "key_of", "name_of", "number_of"]

STATES: tuple[Any, ...] = (None, "text", ["array"], 7, {"a": {"x": 1, "y": 2}, "b": {"z": {"v": 1}}, "c": 3}, {"a": 4})
"""From which a page may come."""


def name_of(number: int, fold: str = "") -> str:
    """The name of the event that holds a number."""
    if fold:
        return "state" if number % 23 == 22 else "message"
    return "message" if number % 3 else "state"


def key_of(number: int, fold: str = "") -> str | None:
    """Its key; every fourth event has none. Of those that fold several in a row have the same."""
    if fold:
        return f"key {number // 9 % 2}"
    return None if number % 4 == 3 else f"key {number % 4}"


def data_of(number: int, size: int, fold: str = "") -> Any:
    """What an event holds: its number, in a value that fits the one before, or now and then does not."""
    more, odd = "x" * size, number % 11 == 7
    if fold == "concat":
        is_text = (number // 13 % 2 == 0) != odd
        return f"{number}/{more}" if is_text else [number, more]
    if fold == "sum":
        return f"{number}/" if odd else number
    if fold == "merge":
        shapes: tuple[dict[str, Any], ...] = (
            {"a": {"x": number}},
            {"a": {"y": number}, "b": None},
            {"a": number, "more": more},
            {"b": {"z": {"w": number}, "y": None}},
        )
        return [number, more] if odd else {"n": number, **shapes[number * 7 // 5 % 4]}
    return [number, more]


def number_of(data: Any) -> int | None:
    """The number that an event holds."""
    if isinstance(data, str):
        return int(data.partition("/")[0])
    if isinstance(data, dict):
        return data.get("n")
    found = data[0] if isinstance(data, list) else data
    return found if isinstance(found, int) else None


def after(fold: str, state: Any, data: Any) -> Any:
    """What a page's state becomes by an event, as the table in docs/explanation/state.rst says. Of what does not go
    together the newer is the state."""
    if fold == "merge":
        return _patched(state, data)
    if (fold == "concat" and _both(str, state, data)) or (fold == "concat" and _both(list, state, data)):
        return state + data
    return state + data if fold == "sum" and _both(int, state, data) else data


def is_right(fold: str, parts: Sequence[Any], whole: Any) -> bool:
    """Whether a folded event does what those do that it stands for."""
    for begin in STATES:
        state = begin
        for part in parts:
            state = after(fold, state, part)
        if state != after(fold, begin, whole):
            return False
    return True


def go_together(fold: str, one: Any, other: Any) -> bool:
    """Whether two events' data can be one event's."""
    if fold == "merge":
        return _patch_each_other(one, other)
    return fold == "latest" or any(_both(kind, one, other) for kind in ((int,) if fold == "sum" else (str, list)))


def _both(kind: type, one: Any, other: Any) -> bool:
    return type(one) is type(other) is kind


def _patch_each_other(one: Any, other: Any) -> bool:
    """Whether one patch can do what two do: not where the second changes what the first has set, in its midst."""
    if not isinstance(other, dict):
        return True
    return isinstance(one, dict) and all(_patch_each_other(one[name], other[name]) for name in one if name in other)


def _patched(state: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    target = dict(state) if isinstance(state, dict) else {}
    for name, value in patch.items():
        target[name] = _patched(target.get(name), value)
    return {name: value for name, value in target.items() if name not in patch or patch[name] is not None}
