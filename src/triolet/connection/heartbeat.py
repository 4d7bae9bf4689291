"""Heartbeat: tells the client that the server lives, and finds a client that went silent."""

from __future__ import annotations

import math
from typing import Any

import trio

from ..bounds import HEARTBEAT_LOOKS
from ..closing import SILENT, SLOW
from ..wire.frames import encode_ping
from ..wire.messages import Beat
from .connection import Connection
from .supervisor import crashed

__all__ = ["Heartbeat"]


class Heartbeat:
    """Sends heartbeats until the connection ends, so that its client hears something every ``limits.beat_seconds``.

    It looks twice in that time, at one of ``HEARTBEAT_LOOKS`` moments that was drawn: clients that connected together,
    or heard the same event, do not all have their heartbeats together. Those that do are looked at in one pass of the
    timer's: a heartbeat is no task, for it waits for nothing but its time. A client that was sent something since the
    last look needs no heartbeat now, but the next time. It says how far the client was sent each channel, so one that
    saw no event for an hour still comes back to the right place. A WebSocket of which nothing was heard since the last
    look is pinged besides, whatever it was sent: its answer shows that it is there.

    If the outlet is full the heartbeat is left out: the writer watches that client. A client whose outlet buffers is
    watched here: it may wait for long before it is full.

    Args:
        conn: the connection.
        pings: whether the client is pinged, as it is on a WebSocket whose frames are made here. Then a client that
            answers nothing for ``limits.silence_seconds`` is given up.
    """

    __slots__ = ("_conn", "_look", "_looked_at", "_pinged", "_pings", "_said", "_sent", "_wakes_at")

    def __init__(self, conn: Connection, *, pings: bool = False) -> None:
        self._conn = conn
        self._pings = pings
        self._look = int(conn.history.opened_at / _step(conn)) + 1
        self._look += conn.context.random.randrange(2 * HEARTBEAT_LOOKS)
        self._looked_at = trio.current_time()
        self._sent: int | None = None  # as it was at the last look; the first heartbeat is never left out
        self._said = self._pinged = False
        self._wakes_at = math.inf

    def start(self) -> None:
        """Look from now on, until :meth:`stop`."""
        # One that was let in late, for the log was away, could say nothing before.
        self._conn.heard_at = self._looked_at = trio.current_time()
        self._wait()

    def stop(self) -> None:
        """Look no more."""
        self._conn.context.timer.forget(self._wakes_at, self)

    def _wait(self) -> None:
        # Whole numbers of steps since Trio's clock began: so the moments of all connections coincide.
        self._wakes_at = min(self._look * _step(self._conn), self._silent_at(), _stalled_at(self._conn))
        self._conn.context.timer.call_at(self._wakes_at, self, self._wake)

    def _wake(self) -> None:
        if self._conn.closing is not None:
            return
        try:
            self._act()
        except Exception as error:
            crashed(self._conn, error)
        else:
            self._wait()

    def _act(self) -> None:
        # Asked anew and not remembered: meanwhile the reader may have heard the client, and the outlet may have gone
        # on. Neither has to tell the timer.
        conn, now = self._conn, trio.current_time()
        if now >= self._silent_at():
            conn.end(SILENT)
        elif conn.outlet.pending and now >= _stalled_at(conn):
            conn.end(SLOW)
        elif now >= self._look * _step(conn):
            self._look += HEARTBEAT_LOOKS
            sent = _sent(conn)
            self._said = self._sent in (None, sent) and not self._said
            self._sent = sent
            self._pinged = self._pings and conn.heard_at <= self._looked_at and (self._said or not self._pinged)
            self._looked_at = now
            _write(conn, self._said, self._pinged)

    def _silent_at(self) -> float:
        """Return when the client counts as gone if nothing more is heard of it; infinite if it is not pinged."""
        # Without pings it has nothing to say. On a socket of ours TCP_USER_TIMEOUT finds it gone (sockets/link.py).
        return self._conn.heard_at + self._conn.limits.silence_seconds if self._pings else math.inf


def _step(conn: Connection) -> float:
    return conn.limits.beat_seconds / (2 * HEARTBEAT_LOOKS)


def _sent(conn: Connection) -> int:
    """Return a number that changes when something other than heartbeats is sent."""
    # A sum of what is counted anyway, so that sending an event to a client costs nothing for its heartbeat.
    return conn.outgoing.said + conn.subscriptions.offsets


def _stalled_at(conn: Connection) -> float:
    """Return when to look whether a buffering outlet has stalled; infinite for an outlet that does not buffer."""
    if not conn.outlet.buffers:
        return math.inf
    since = conn.outlet.progress_at if conn.outlet.pending else trio.current_time()
    return since + conn.limits.stall_seconds


def _write(conn: Connection, said: bool, pinged: bool) -> None:
    """Write a heartbeat, or a ping, or both; a raw socket has only pings."""
    batches: list[Any] = []
    if said and conn.raw is None:
        cursors = {channel: str(f.position) for channel, f in conn.followers.items() if f.opened}
        batches.append(conn.codec.say(Beat(int(conn.context.now() * 1000), cursors, conn.context.hub.stale)))
    if pinged:
        batches.append(encode_ping())
    if batches:  # a full outlet refuses it, and that is right: the writer watches this client already
        conn.outgoing.write(conn.codec.concat(batches))
