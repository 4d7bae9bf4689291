"""A command that is no server: it runs until it is done, or a signal comes, or nobody reads any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable

import trio

from ..errors import first_of
from ..workers.signals import Signals

__all__ = ["nobody_reads", "until_signal"]


def until_signal(signals: Signals, call: Callable[[], Awaitable[int]], *, unfinished: int = 0) -> int:
    """Run a command on Trio. Returns its exit code; ``unfinished`` where a signal ended it, or nobody reads any more.

    Raises:
        Exception: what it raises, as it is and not in a group.
    """
    try:
        return trio.run(_run, signals, call, unfinished)
    except BaseExceptionGroup as group:
        _, errors = group.split(trio.Cancelled)
        raise first_of(errors or group) from None


async def _run(signals: Signals, call: Callable[[], Awaitable[int]], code: int) -> int:
    async def end() -> None:
        await anext(signals)
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            code = await call()
            nursery.cancel_scope.cancel()
    except* BrokenPipeError:  # nobody reads any more
        nobody_reads()
    return code


def nobody_reads() -> None:
    """What is left to write goes nowhere, or the interpreter complains at its end."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it is open to the end
