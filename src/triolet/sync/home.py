"""The run of Trio that something lives in, so that a call from elsewhere is told apart before it does harm."""

from __future__ import annotations

import trio

from ..errors import WrongThreadError

__all__ = ["Home"]


class Home:
    """Remembers the run of Trio that it is made in.

    What lives in a run (a log, a hub, a connection) wakes tasks of that run. From another thread, or from another event
    loop, that would corrupt Trio's own bookkeeping: tasks are never run again, and nothing says so. So each public
    coroutine asks here first. It costs some 100 ns.

    Raises:
        WrongThreadError: no Trio runs here.
    """

    __slots__ = ("_token",)

    def __init__(self) -> None:
        self._token = _present()
        if self._token is None:
            raise WrongThreadError("it")

    def check(self, what: str) -> None:
        """Go on only in that run.

        Raises:
            WrongThreadError: this is another one, or none; nothing has been changed.
        """
        try:
            if trio.lowlevel.current_trio_token() is self._token:
                return
        except RuntimeError:  # another event loop, or none
            pass
        raise WrongThreadError(what)


def _present() -> trio.lowlevel.TrioToken | None:
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:  # another event loop, or none
        return None
