"""How long an answer of Redis is waited for, by a process that may be late itself (see sockets/patience.py).

All are waited for here, that a connection is open too. coredis is told of no time: with one of its own it would give up
a server whose answer lies there already.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import trio

from ..sockets.patience import Patience

__all__ = ["answer_in_time"]


class Asked(Protocol):
    """What was asked for: coredis' Request, or a connection."""

    async def get_result(self) -> Any:
        """Wait for its answer, again and again if need be."""


async def answer_in_time(asked: Asked, seconds: float) -> Any:
    """Return the answer.

    What lies there counts, however late it is looked at. Where this process was late it may have been late with the
    request as well: the server is given as much more time, up to ``seconds``.

    Raises:
        TimeoutError: there is none after so many seconds.
        RedisError, OSError: as coredis raises them.

    Cancellation: the request may be done or not.
    """
    answer = await _wait_for(asked, seconds)
    if answer is None:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return answer[0]


async def _wait_for(asked: Asked, seconds: float) -> tuple[Any] | None:
    patience = Patience(trio.current_time() + seconds)
    due = patience.until
    answer = await patience.wait(partial(_result, asked))
    late = trio.current_time() - due
    if answer is None and late > 0:
        patience.until = trio.current_time() + min(late, seconds)
        answer = await patience.wait(partial(_result, asked))
    return answer


async def _result(asked: Asked) -> tuple[Any]:
    return (await asked.get_result(),)
