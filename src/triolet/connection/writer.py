"""Writer: brings followers that are behind up to the present, and carries the app's own messages.

It is the only task that waits for a client to read on. Live followers are the hub's: the pump writes to them.
"""

from __future__ import annotations

import trio

from ..closing import SLOW
from ..errors import LogError
from ..hub import Follower, Reading, State
from ..wire.messages import Live, Open, gap_fields
from .connection import Connection

__all__ = ["write"]


async def write(conn: Connection) -> None:
    """Write until the connection ends.

    Cancellation: nothing is lost; what the kernel took of a batch, and the rest of it, stay in the outlet.
    """
    while conn.closing is None:
        await drain(conn)
        batch = conn.next_outgoing()
        if batch is not None:
            conn.outlet.write(batch)
        elif conn.behind:
            await catch_up(conn, next(iter(conn.behind)))
        else:
            await conn.woken()


async def drain(conn: Connection) -> None:
    """Wait until the client has read on. One whose kernel took nothing for ``limits.stall_seconds`` is given up."""
    outlet = conn.outlet
    while not outlet.empty:
        give_up_at = outlet.progress_at + conn.limits.stall_seconds
        if trio.current_time() >= give_up_at:
            conn.end(SLOW)
        with trio.move_on_at(give_up_at):
            await outlet.drained()


async def catch_up(conn: Connection, follower: Follower) -> None:
    """Take a follower one page further, and live if that was the last."""
    try:
        reading = await conn.hub.read(follower)
    except LogError:
        conn.log_failed()
        return
    if follower.state is not State.BEHIND:
        conn.behind.pop(follower, None)
        return
    if say(conn, follower, reading):
        settle(conn, follower, reading)


def say(conn: Connection, follower: Follower, reading: Reading) -> bool:
    """Write what was read, and what is to be announced around it. False: the outlet is full, nothing was written."""
    codec = conn.codec
    batches = []
    if not follower.opened:
        start = reading.start if reading.gap is None else reading.gap.after
        batches.append(codec.say(Open(follower.channel, str(start), follower.url)))
    if reading.gap is not None:
        batches.append(codec.say(gap_fields(follower.channel, reading.gap)))
    if reading.batch is not None:
        batches.append(reading.batch)
    announces = not follower.announced and follower.would_be_live(reading.position)
    if announces:
        batches.append(codec.say(Live(follower.channel, str(reading.position))))
    if batches and not conn.outlet.write(codec.concat(batches)):
        return False
    follower.opened = True
    follower.announced = follower.announced or announces
    follower.position = reading.position
    return True


def settle(conn: Connection, follower: Follower, reading: Reading) -> None:
    """Decide what comes next for a follower. No await lies between reading its position and being live."""
    del conn.behind[follower]
    if follower.go_live():
        return
    if reading.batch is None and conn.outlet.empty:
        follower.wait_for_round()
    else:
        conn.behind[follower] = None  # at the end, so that a connection's followers take turns
