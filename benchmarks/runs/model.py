"""What stands in for a model: tokens at a pace, each with its number and the clock's nanoseconds of its moment."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec

__all__ = ["Order", "order", "tokens"]


class Order(msgspec.Struct, frozen=True):
    """So many runs, ``NAME-0`` and on, of so many tokens, each at a rate; 0 is as fast as it goes."""

    name: str
    runs: int
    tokens: int
    rate: float


def order(options: Mapping[str, str]) -> Order:
    """Read what the benchmark asks for out of a query."""
    return msgspec.convert(dict(options), Order, strict=False)


async def tokens(wanted: Order, run: int, sleep: Callable[[float], Awaitable[None]]) -> AsyncIterator[str]:
    """Yield a run's tokens: some 20 bytes each. One that is behind its pace only takes turns with the others.

    Args:
        run: its number. The first tokens of all runs are spread over a second.
        sleep: the event loop's.
    """
    due = time.monotonic() + (run / wanted.runs if wanted.rate else 0)
    for number in range(1, wanted.tokens + 1):
        await sleep(max(0.0, due - time.monotonic()) if wanted.rate else 0)
        yield f"#{number} {time.monotonic_ns()} "
        due += 1 / wanted.rate if wanted.rate else 0
