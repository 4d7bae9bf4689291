"""Expiry: a connection ends when its client's identity does, unless that is renewed in time.

At the deadline the followers leave the hub first, synchronously: from then on nothing writes events to this client.
What an event's batch has left in the outlet is not sent either: the connection is reset.
Where nothing is left, the client is told why, as at any other end.

A client without a way to say something on its connection (server-sent events) renews by another request, which names
the connection by a key: 128 random bits, told with the warning. Of the key only its hash is kept, and that only until
it is used or the connection ends.
"""

from __future__ import annotations

import math
import secrets
from hashlib import sha256

import trio

from ..bounds import RENEWAL_KEY_BYTES
from ..closing import EXPIRED
from ..identity import Identity
from ..wire.messages import Expiring, Renewed
from .connection import Connection

__all__ = ["Expiry", "key_of", "renew", "watch"]


class Expiry:
    """The end of one connection by the clock. It is there for connections that expire alone.

    Attributes:
        due, key: see :class:`triolet.identity.deadlines.Holder`. The key is that which its client was told.
    """

    __slots__ = ("_conn", "_warned", "due", "key")

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._warned: float | None = None
        self.due = math.inf
        self.key: bytes | None = None

    @property
    def conn(self) -> Connection:
        """The connection."""
        return self._conn

    @property
    def until(self) -> float:
        """Trio's time at which it ends."""
        return math.inf if self._conn.grant is None else self._conn.grant.until

    @property
    def warns_at(self) -> float:
        """Trio's time at which its client is warned; that of the end, where it was, or cannot be: on a raw socket."""
        if self._conn.raw is not None or self._warned == _end_of(self._conn):
            return self.until
        return self.until - self._conn.limits.expiry_warning_seconds

    def warn(self, seconds: float) -> None:
        """Tell the client when its connection ends, and by which key that can be put off."""
        conn, key = self._conn, None
        self._warned = _end_of(conn)
        if conn.transport == "sse":
            key = secrets.token_urlsafe(RENEWAL_KEY_BYTES)
            conn.context.deadlines.name(conn.id, key_of(key))
        conn.outgoing.answer(Expiring(_milliseconds(seconds), key))

    def lapse(self) -> None:
        """Follow nothing any more. When this returns, no byte of an event goes out any more."""
        conn = self._conn
        if conn.closing is None:
            conn.context.metrics.expired += 1
        conn.subscriptions.cut(EXPIRED, tasks=False)

    def expire(self) -> None:
        """End the connection, and its tasks."""
        self._conn.end(EXPIRED)


def watch(conn: Connection) -> None:
    """End a connection when its grant does, as it says now. What was watched before is watched anew."""
    deadlines = conn.context.deadlines
    known = deadlines.find(conn.id)
    conn.outlet.until = math.inf if conn.grant is None else conn.grant.until
    deadlines.put(conn.id, Expiry(conn) if known is None else known)


def renew(conn: Connection, identity: Identity | None, since: int | None = None) -> bool:
    """Go on with a new identity, and tell the client so; or that it was refused, and when its connection ends.

    A renewal and the deadline may come in the same moment: what has come to its end by now has ended.

    Args:
        conn: the connection.
        identity: the new one, which has not expired; None where the app refuses.
        since: the position among the revocations before the app was asked; None is now. A new identity that was
            revoked after it ends the connection.

    Returns:
        Whether it goes on with it. It does not where that is another subject's, or the connection has ended.
    """
    context, grant = conn.context, conn.grant
    context.deadlines.enforce()
    before = _end_of(conn)
    done = identity is not None and grant is not None and conn.closing is None and grant.renew(identity, context.now())
    context.metrics.renewals["ok" if done else "refused"] += 1
    if done and since is not None:
        conn.subscriptions.enforce(since)
    if conn.closing is not None:
        return False
    left = math.inf if grant is None else grant.until - trio.current_time()
    if not done:
        conn.outgoing.answer(Expiring(_milliseconds(left), refused=True))
        return False
    conn.outgoing.answer(Renewed(_milliseconds(left)))
    if before != _end_of(conn) and context.deadlines.find(conn.id) is not None:
        context.deadlines.name(conn.id, None)  # it was told with a warning of the former end
    watch(conn)
    return True


def key_of(key: str) -> bytes:
    """Return what is kept of a key."""
    return sha256(key.encode()).digest()


def _end_of(conn: Connection) -> float | None:
    return None if conn.identity is None else conn.identity.expires_at


def _milliseconds(seconds: float) -> int | None:
    return None if seconds == math.inf else max(0, int(seconds * 1000))
