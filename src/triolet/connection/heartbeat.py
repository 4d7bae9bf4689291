"""Heartbeat: tells the client that the server lives, and finds a client that went silent."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from ..bounds import HEARTBEAT_LOOKS
from ..closing import SILENT, SLOW
from ..wire.frames import encode_ping
from ..wire.messages import Beat
from .connection import Connection
from .writer import encode, put

__all__ = ["beat", "begin"]


def begin(conn: Connection, *, pings: bool = False) -> Callable[[], None]:
    """Have :func:`beat` started in the connection's nursery when it has something to do for the first time: a client
    that comes and goes pays for no heartbeat. Returns what calls that off, once the connection has ended."""
    conn.heard_at = trio.current_time()  # one that was let in late, for the log was away, could say nothing before
    look = int(conn.history.opened_at / _step(conn)) + 1 + conn.context.random.randrange(2 * HEARTBEAT_LOOKS)
    start = partial(_start, conn, pings, look)
    wakes_at = _wakes_at(conn, pings, look)
    conn.context.timer.call_at(wakes_at, start, start)
    return partial(conn.context.timer.forget, wakes_at, start)


async def beat(conn: Connection, pings: bool, look: int) -> None:
    """Send heartbeats until the connection ends, so that its client hears something every ``limits.beat_seconds``.

    It looks twice in that time, at one of ``HEARTBEAT_LOOKS`` moments that was drawn: clients that connected together,
    or heard the same event, do not all have their heartbeats together, and those that do share one wake-up of the
    process. A client that was sent something since the last look needs no heartbeat now, but the next time. It says how
    far the client was sent each channel, so one that saw no event for an hour still comes back to the right place: also
    where it was sent much of another channel meanwhile, and the events of this one are not for it. A WebSocket of
    which nothing was heard for half of ``beat_seconds``, as from look to look, is pinged besides, whatever it was sent:
    its answer shows that it is there.

    If the outlet is full the heartbeat is left out: the writer watches that client. A client whose outlet buffers is
    watched here: it may wait for long before it is full.

    Args:
        conn: the connection.
        pings: whether the client is pinged, as it is on a WebSocket whose frames are made here. Then a client that
            answers nothing for ``limits.silence_seconds`` is given up.
        look: the number of the first look. Looks are numbered from when Trio's clock began, so that the moments of all
            connections coincide, and the timer wakes those that share one together.

    Cancellation: nothing is lost.
    """
    sent: int | None = None  # as it was at the last look; the first heartbeat is never left out
    said = pinged = False
    took_at = back_at = -math.inf
    before = -math.inf
    wakes_at = _wakes_at(conn, pings, look)
    while True:
        # Asked anew and not remembered: while this task slept, the reader may have heard the client, and the outlet may
        # have gone on. Neither has to wake this task for that.
        now = trio.current_time()
        # What this process was late, as one is that stood still, is not its client's: that was asked nothing meanwhile,
        # and given nothing. What had come by then was read before this task was woken. Where the last look came after
        # this one was due, it has counted the time until then.
        late = max(0.0, now - max(wakes_at, before))
        before = now
        conn.heard_at = min(now, conn.heard_at + late)
        back_at = min(now, max(conn.outlet.progress_at, back_at) + late)
        if now >= _silent_at(conn, pings, took_at):
            conn.end(SILENT)
        elif conn.outlet.pending and now >= _stalled_at(conn, back_at):
            conn.end(SLOW)
        elif now >= look * _step(conn):
            look += HEARTBEAT_LOOKS
            # Who takes what waits for it, however slowly, is there, and no ping reaches it before all of that.
            if conn.outlet.pending:
                took_at = conn.outlet.progress_at
            said = not said and (sent in (None, _sent(conn)) or conn.subscriptions.followings.has_passed())
            sent = _sent(conn)
            pinged = pings and conn.heard_at <= now - HEARTBEAT_LOOKS * _step(conn) and (said or not pinged)
            _write(conn, said, pinged)
        wakes_at = _wakes_at(conn, pings, look, took_at, back_at)
        await conn.context.timer.until(wakes_at)


def _start(conn: Connection, pings: bool, look: int) -> None:
    if conn.nursery is not None and not conn.ending.cancelled:
        conn.nursery.start_soon(beat, conn, pings, look)


def _wakes_at(
    conn: Connection, pings: bool, look: int, took_at: float = -math.inf, back_at: float = -math.inf
) -> float:
    return min(look * _step(conn), _silent_at(conn, pings, took_at), _stalled_at(conn, back_at))


def _step(conn: Connection) -> float:
    return conn.limits.beat_seconds / (2 * HEARTBEAT_LOOKS)


def _sent(conn: Connection) -> int:
    """Return a number that changes when something other than heartbeats is sent."""
    # A sum of what is counted anyway, so that sending an event to a client costs nothing for its heartbeat.
    return conn.outgoing.said + conn.subscriptions.followings.offsets


def _silent_at(conn: Connection, pings: bool, took_at: float) -> float:
    """Return when the client counts as gone if nothing more is heard of it; infinite if it is not pinged."""
    # Without pings it has nothing to say. On a socket of ours TCP_USER_TIMEOUT finds it gone (sockets/link.py).
    return max(conn.heard_at, took_at) + conn.limits.silence_seconds if pings else math.inf


def _stalled_at(conn: Connection, back_at: float) -> float:
    """Return when to look whether a buffering outlet has stalled; infinite for an outlet that does not buffer."""
    if not conn.outlet.buffers:
        return math.inf
    since = max(conn.outlet.progress_at, back_at) if conn.outlet.pending else trio.current_time()
    return since + conn.limits.stall_seconds


def _write(conn: Connection, said: bool, pinged: bool) -> None:
    """Write a heartbeat, or a ping, or both; a raw socket has only pings."""
    batches: list[Any] = []
    if said and conn.raw is None:
        followings, now = conn.subscriptions.followings, int(conn.context.now() * 1000)
        told = Beat(now, dict(followings.places()), conn.context.hub.stale, followings.apart())
        batches.append(encode(conn, told))
    if pinged:
        batches.append(encode_ping())
    if batches and not put(conn, conn.codec.concat(batches), has_events=False):
        # A full outlet needs no beat: the writer watches this client. But one that only reads, slowly, is heard of by
        # its answers to pings alone, and its outlet may be full at each look.
        if pinged and not conn.outgoing.has_control:  # a pong that waits is owed
            conn.outgoing.control(encode_ping())
    elif said:
        conn.subscriptions.followings.note()
