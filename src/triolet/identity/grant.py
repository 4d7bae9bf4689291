"""A grant: what one client was let in with, and until when."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from .identity import Identity
from .request import Request

__all__ = ["Grant"]


class Grant:
    """What one connection, or one poll, was let in with. It is one object for the whole of its life, so that all that
    looks at it (what it follows, its filters, its deadline) sees a renewal at once.

    Args:
        identity: the client's; None is nobody.
        now: the wall clock, in seconds since 1970.

    Attributes:
        identity: who the client is now.
        request: the request as it was, where a handler may ask for it; else None.
        ask: asks the app who the client is by a new credential; None where that cannot come on the connection.
        subprotocol: what a WebSocket's client and its route have agreed on; None is nothing.
        until: Trio's time at which it ends; infinite where it does not.
    """

    # Who remembers something of a client does so weakly.
    __slots__ = ("__weakref__", "ask", "identity", "request", "subprotocol", "until")

    def __init__(self, identity: Identity | None, now: float) -> None:
        self.identity = identity
        self.request: Request | None = None
        self.ask: Callable[[str], Awaitable[Identity | None]] | None = None
        self.subprotocol: str | None = None
        self.until = _until(identity, now)

    def renew(self, identity: Identity, now: float) -> bool:
        """Go on with a new identity of the same subject. Return False, and change nothing, for another subject.

        Another subject is another client: what was decided for the first says nothing about it. Nobody may become
        somebody: what was decided for nobody holds for all.
        """
        if self.identity is not None and identity.subject != self.identity.subject:
            return False
        self.identity = identity
        self.until = _until(identity, now)
        return True


def _until(identity: Identity | None, now: float) -> float:
    if identity is None or identity.expires_at is None:
        return math.inf
    return trio.current_time() + identity.expires_at - now
