"""Functions of the program's that are called amid ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import trio

from ..errors import ConfigError
from .items import Tell

__all__ = ["Hooks", "call"]


class Hooks(NamedTuple):
    """Those of one follow.

    Attributes:
        nursery: the client's.
        on_state: is told of its state; None: nobody is.
        on_fault: is told of broken promises of the server's; None: they are logged.
        on_tell: is told what is only for now; None: nobody is.
    """

    nursery: trio.Nursery
    on_state: Callable[..., object] | None
    on_fault: Callable[..., object] | None
    on_tell: Callable[..., object] | None

    def told(self, whose: object, tell: Tell) -> None:
        """Something is told that is only for now: in what somebody follows, or listens to."""
        if self.on_tell is not None:
            call(self.nursery, self.on_tell, whose, tell)


def call(nursery: trio.Nursery, hook: Callable[..., object], *said: object) -> None:
    """Call one. What it raises is the program's error: it ends the client's block, as it is, and no connection, for an
    OSError of the program's says nothing of the network.

    Args:
        nursery: the client's.
        hook: an ordinary function.
        said: what it is told.
    """
    try:
        given = hook(*said)
        if inspect.iscoroutine(given):
            given.close()
            raise ConfigError(
                f"{getattr(hook, '__qualname__', hook)!r:.80} is called amid other work: no async function"
            )
    except Exception as error:
        nursery.start_soon(_fail, error)


async def _fail(error: Exception) -> NoReturn:
    raise error
