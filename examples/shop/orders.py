"""What an order goes through, and what happened to it before anybody looked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, TypeGuard

from triolet import Draft

__all__ = ["FIRST_CURSOR", "PEOPLE", "STATES", "channel_of", "history", "is_order", "next_state", "positions"]

STATES: Final = ("created", "paid", "packed", "shipped", "delivered")

FIRST_CURSOR: Final = 1041
"""The offset of the event ``created`` in every order: 1,040 changes of the basket come before it."""

_ORDER = re.compile(r"A1(?:2[3-9]|[3-9][0-9])", re.ASCII)

_GOODS = ("enamel mug", "wool blanket", "field notebook", "brass lamp", "oak tray", "linen apron", "tea strainer")
PEOPLE: Final = (
    *("Ada", "Bela", "Chidi", "Dana", "Emre", "Fen", "Goro"),
    *("Hana", "Ines", "Jo", "Kaya", "Lior", "Mina", "Nils"),
)
_STREETS = ("Canal Street", "Mill Lane", "Harbour Road", "Station Square", "Orchard Way", "Bridge Street")


def is_order(order_id: object) -> TypeGuard[str]:
    """Whether the shop can have an order of this name: A123 to A199."""
    return isinstance(order_id, str) and _ORDER.fullmatch(order_id) is not None


def channel_of(order_id: str) -> str:
    return f"orders/{order_id}"


def next_state(states: dict[str, int]) -> str | None:
    """The state that comes after those an order has been through; None when it has been delivered."""
    newest = max((STATES.index(state) for state in states), default=-1)
    return STATES[newest + 1] if newest + 1 < len(STATES) else None


def history() -> Iterator[Draft | Any]:
    """How an order comes about: fourteen people change one basket, until somebody presses the button."""
    for step in range(FIRST_CURSOR - 1):
        person, goods = PEOPLE[step * 5 % len(PEOPLE)], _GOODS[step * 3 % len(_GOODS)]
        count = 1 + step * 7 % 4
        text = f"{person} puts in {count} × {goods}" if step % 3 else f"{person} takes out 1 × {goods}"
        yield Draft.of({"text": text}, name="basket")
    yield Draft.of({"state": "created"}, name="order-status", dedupe="created")


def positions(count: int) -> Iterator[str]:
    """Where the courier is, again and again: many events of little weight."""
    for step in range(count):
        yield f"{_STREETS[step % len(_STREETS)]} {1 + step * 3 % 90}"
