"""What events make that go together: the state of each key.

A program that follows with ``fold=True`` is sent as one event those of what it has missed that go together. What it
makes of them by :func:`apply` is what it would have made of all of them::

    values = Values()
    async with live.follow("/answers/42/events", after=0, fold=True) as events:
        async for item in events:
            values.take(item)
            print(values.get("text"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..event import FOLDS
from ..wire.fold import apply
from .items import Event, Item, Snapshot

__all__ = ["Values", "apply"]


class Values(Mapping[str, Any]):
    """The state of each key of one channel, as a mapping that is only read. Its values are its own: change none.

    An event of a key that says no ``fold`` is that key's newest state, and so is one whose ``fold`` this version does
    not know; an event without a key changes nothing. A gap changes nothing either: what was lost is missing in the
    states.

    Bounds: as many keys, and as large, as the channel makes them.
    """

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}

    def take(self, item: Item) -> bool:
        """Take what the channel gives. Return whether that can have changed a state.

        A :class:`Snapshot` takes the place of all states where it is an object of these by their keys; where it is
        anything else, they begin anew.
        """
        if isinstance(item, Snapshot):
            self._states = dict(item.data) if isinstance(item.data, dict) else {}
            return True
        if not isinstance(item, Event) or item.key is None:
            return False
        fold = item.fold if item.fold in FOLDS else "latest"
        self._states[item.key] = apply(fold, self._states.get(item.key), item.data)
        return True

    def __getitem__(self, key: str) -> Any:
        return self._states[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)
