"""Folds: events of one key that go together into one, by a rule that both sides know.

A client that comes back to 5,000 tokens is sent one event with all their text. What it makes of its state by that one
is what it would have made of it by the 5,000: so nothing is lost, whatever of it was sent folded and whatever was not.

====== ==================================================== ================================================
fold   two events go together into                          what a client's state becomes by an event
====== ==================================================== ================================================
concat the older text or array, and the newer one behind it the same
latest the newer one                                        the event's data
merge  one patch that does what both do                     the state, patched (a JSON merge patch, RFC 7396)
sum    their sum                                            the state, and the event's number added to it
====== ==================================================== ================================================

Only events that follow each other are folded. A client that is cut off between two events goes on behind the first, and
what it was sent by then must be all up to there: an event of another key in between would be left out, or come twice.

What does not go together (a text and a number; two patches of which the one sets a value that the other changes in its
midst) is sent as the events that it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from ..event import Event

__all__ = ["Folder", "apply", "folded"]

_encode: Final = msgspec.json.Encoder().encode


class MisfitError(Exception):
    """Two values do not go together."""


class Folder:
    """Takes events in their order, and folds those that go together.

    Attributes:
        size: bytes of data of what was made of them.
        count: how many events were taken.
    """

    __slots__ = ("_done", "_parts", "_run", "_value", "count", "size")

    def __init__(self) -> None:
        self.size = 0
        self.count = 0
        self._done: list[Event] = []
        self._run: Event | None = None  # the newest of those that go together
        self._parts = 0
        self._value: Any = None  # what they are together, where there are two at least

    def add(self, event: Event) -> None:
        """Take the next event."""
        self.count += 1
        run = self._run
        if run is not None and event.fold is not None and _like(run, event):
            try:
                self._value = _together(event.fold, run.data if self._parts == 1 else self._value, event.data)
            except MisfitError:
                pass
            else:
                self.size += len(event.json) - (len(run.json) if event.fold == "latest" else 0)
                self._parts += event.folded
                self._run = event
                return
        self._close()
        self._run, self._parts = event, event.folded
        self.size += len(event.json)

    def events(self) -> list[Event]:
        """Return what was made of the events that were taken: an event that stands for several has the newest one's
        cursor and time, and says how many they are. Nothing can be taken afterwards."""
        self._close()
        return self._done

    def __len__(self) -> int:
        """How many events were made."""
        return len(self._done) + (self._run is not None)

    def _close(self) -> None:
        run, self._run = self._run, None
        if run is not None and self._parts > run.folded:
            value = "".join(self._value) if type(self._value) is _Texts else self._value
            run = msgspec.structs.replace(run, json=_encode(value), folded=self._parts)
        if run is not None:
            self._done.append(run)


def folded(events: Iterable[Event]) -> list[Event]:
    """Return events with those folded that go together."""
    folder = Folder()
    for event in events:
        folder.add(event)
    return folder.events()


def apply(fold: str, state: Any, data: Any) -> Any:
    """Return what a client's state of a key becomes by an event of it.

    Args:
        fold: the event's.
        state: what it was; None where this is the first. It is not changed.
        data: the event's.

    Where both do not go together, the data is the state: it begins anew.
    """
    if fold == "merge":
        return _patched(state, data)
    if state is None or fold == "latest":
        return data
    try:
        value = _together(fold, list(state) if type(state) is list else state, data)
    except MisfitError:
        return data
    return "".join(value) if type(value) is _Texts else value


def _like(one: Event, other: Event) -> bool:
    return one.key == other.key and one.fold == other.fold and one.name == other.name


class _Texts(list[str]):
    """Texts one behind the other, joined when no more come: or 5,000 tokens would be copied 5,000 times."""


def _concat(old: Any, new: Any) -> Any:
    if type(new) is str and type(old) in (str, _Texts):
        texts = _Texts([old]) if type(old) is str else old
        texts.append(new)
        return texts
    if type(old) is type(new) is list:
        old.extend(new)  # of this run alone: each event's data is decoded anew
        return old
    raise MisfitError


def _sum(old: Any, new: Any) -> Any:
    if type(old) not in (int, float) or type(new) not in (int, float):
        raise MisfitError
    total = old + new
    if not math.isfinite(total):
        raise MisfitError
    return total


def _patch(old: Any, new: Any) -> Any:
    """One patch that does what both do. An array, a text or null stands for itself, whatever was there before."""
    if not _fits(old, new):
        raise MisfitError
    if type(new) is not dict:
        return new
    for name, value in new.items():  # into the older one, which is of this run alone: it may be large, and they many
        old[name] = _patch(old[name], value) if name in old else value
    return old


def _fits(old: Any, new: Any) -> bool:
    """Whether one patch can say both. None can where the older one sets a value that the newer one changes."""
    if type(new) is not dict:
        return True
    return type(old) is dict and all(_fits(old[name], value) for name, value in new.items() if name in old)


_TOGETHER: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "concat": _concat,
    "latest": lambda old, new: new,
    "merge": _patch,
    "sum": _sum,
}


def _together(fold: str, old: Any, new: Any) -> Any:
    try:
        return _TOGETHER[fold](old, new)
    except (OverflowError, RecursionError):  # of two numbers, or patches deeper than this process can go
        raise MisfitError from None


def _patched(state: Any, patch: Any) -> Any:
    """A JSON merge patch, applied (RFC 7396 section 2)."""
    if type(patch) is not dict:
        return patch
    patched = dict(state) if type(state) is dict else {}
    for name, value in patch.items():
        if value is None:
            patched.pop(name, None)
        else:
            patched[name] = _patched(patched.get(name), value)
    return patched
