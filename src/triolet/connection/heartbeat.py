"""Heartbeat: tells the client that the server lives, and finds a client that went silent."""

from __future__ import annotations

import math
from typing import Any

import trio

from ..closing import SILENT, SLOW
from ..wire.frames import encode_ping
from ..wire.messages import Beat
from .connection import Connection

__all__ = ["beat"]


async def beat(conn: Connection) -> None:
    """Beat every ``limits.beat_seconds`` until the connection ends.

    A beat carries how far the client was sent each channel, so a client that saw no event for an hour still
    comes back to the right place. It goes out even while events do: they are written past us. Where the outlet is
    full it is left out: the writer watches that client. One whose outlet buffers is watched here: it may wait for
    long before it is full.
    """
    due = trio.current_time() + conn.limits.beat_seconds
    while True:
        await trio.sleep_until(min(due, _silent_at(conn), _stalled_at(conn)))
        now = trio.current_time()
        if now >= _silent_at(conn):
            conn.end(SILENT)
        elif conn.outlet.pending and now >= _stalled_at(conn):
            conn.end(SLOW)
        elif now >= due:
            due = now + conn.limits.beat_seconds
            if (said := _beat(conn)) is not None:
                conn.outlet.write(said)


def _silent_at(conn: Connection) -> float:
    """When the client is gone, if nothing more is heard. One that is not pinged has nothing to say."""
    return conn.heard_at + conn.limits.silence_seconds if conn.pings else math.inf


def _stalled_at(conn: Connection) -> float:
    """When to look whether a buffering outlet has stalled."""
    if not conn.outlet.buffers:
        return math.inf
    since = conn.outlet.progress_at if conn.outlet.pending else trio.current_time()
    return since + conn.limits.stall_seconds


def _beat(conn: Connection) -> Any:
    """What to say, if anything: a raw socket has only pings."""
    ping = encode_ping() if conn.pings else None
    if conn.raw is not None:
        return ping
    cursors = {channel: str(f.position) for channel, f in conn.followers.items() if f.opened}
    said = conn.codec.say(Beat(int(conn.surroundings.now() * 1000), cursors))
    return said if ping is None else conn.codec.concat([said, ping])
