"""Writer: brings followers that are behind up to the present, and carries the app's own messages.

It is the only task that waits for a client to read on. Live followers are the hub's: the pump writes to them. So it is
started when a client has something to catch up with, or is to be told something, for the first time.
"""

from __future__ import annotations

from typing import Any

import trio

from ..bounds import LOG_RETRY_SECONDS, MESSAGES_IN_A_ROW
from ..closing import CRASHED, SLOW
from ..errors import LogAway, LogError, SnapshotError
from ..hub import Follower, Reading, State, Step
from ..wire.messages import Bracket, LagMessage, Live, Message, Open, gap_fields
from .connection import Connection
from .followings import ALONE, Share

__all__ = ["encode", "put", "write", "write_head"]


async def write(conn: Connection) -> None:
    """Write until the connection ends.

    Cancellation: nothing is lost; the outlet still holds the rest of a batch that the kernel took in part.
    """
    in_a_row = 0
    while conn.closing is None:
        # Nothing is taken before the outlet has room: till then it waits where it is bounded, or in the log.
        await drain(conn)
        batch = conn.outgoing.take() if in_a_row < MESSAGES_IN_A_ROW or not conn.subscriptions.behind else None
        if batch is not None:
            conn.outlet.write(batch)
            in_a_row += 1
        elif conn.subscriptions.behind:
            in_a_row = 0
            await catch_up(conn, next(iter(conn.subscriptions.behind)))
        elif conn.subscriptions.over is not None:
            conn.end(conn.subscriptions.over)
        else:
            await conn.outgoing.woken()


async def write_head(conn: Connection, head: bytes) -> None:
    """Write the head of an answer, and with it what a client that is up to date is to hear: one system call less.

    Cancellation: the head may be written or not; the connection is ending then.
    """
    if not conn.outlet.empty:  # some of TLS's own records were not taken yet
        with trio.move_on_after(conn.limits.stall_seconds):
            await conn.outlet.drained()
        if not conn.outlet.empty:
            conn.end(SLOW)
            return
    follower = next(iter(conn.subscriptions.behind), None)
    if (
        follower is not None
        and follower.would_be_live(follower.position)
        and follower.window.holds(follower.position)  # or reading would wait for the log, or the app
        and follower.subscription.snapshot is None
    ):
        reading = await conn.context.hub.read(follower)
        if follower in conn.subscriptions.behind:  # else what it was let in with was taken from it meanwhile
            if say(conn, follower, reading, head=head):
                settle(conn, follower, reading)
            return
    said = conn.outgoing.take()  # the first message of a socket that follows nothing by itself
    conn.outlet.write(head if said is None else conn.codec.concat([head, said]))


async def drain(conn: Connection) -> None:
    """Wait until the outlet is empty. A client whose kernel took nothing for ``limits.stall_seconds`` is given up; the
    policies of its followers are asked meanwhile.

    Cancellation: nothing is lost.
    """
    outlet = conn.outlet
    since = trio.current_time()  # nobody has asked the kernel before
    while not outlet.empty:
        now = trio.current_time()
        wake_at = max(since, outlet.progress_at) + conn.limits.stall_seconds
        if now >= wake_at:
            conn.end(SLOW)
        for follower in conn.subscriptions.behind:
            if follower.policy is not None:
                follower.judge()
                wake_at = min(wake_at, now + conn.limits.policy_seconds)
        # Woken at the stall's end, and looked at again: `progress_at` may have moved, and then there is more time.
        with trio.move_on_at(wake_at) as patience:
            await outlet.drained()
        if patience.cancelled_caught:
            await outlet.look_again()


async def catch_up(conn: Connection, follower: Follower) -> None:
    """Take a follower one page further, and make it live if that was the last. Followers with much to read take turns.

    Cancellation: nothing is lost; the turn is given back.
    """
    if follower.would_be_live(follower.position):  # nothing to read: it need not stand in line to be told so
        await advance(conn, follower)
        return
    replay = conn.context.hub.replay
    near, wants_state = follower.window.holds(follower.position), follower.subscription.snapshot is not None
    async with replay.turn(near=near, wants_state=wants_state):
        await advance(conn, follower)
        # The turn lasts until the client has taken its page, but not for long: a few clients that take nothing must not
        # keep all others from their turns.
        with trio.move_on_after(conn.limits.replay_turn_seconds):
            await conn.outlet.drained()


async def advance(conn: Connection, follower: Follower) -> None:
    """Read on for a follower, write what there is, and decide what comes next.

    Cancellation: nothing is lost; the follower moves only when its outlet has taken what was read.
    """
    try:
        reading = await conn.context.hub.read(follower)
    except LogAway:  # the client is told in heartbeats, and goes on from its cursor when the log is back
        await trio.sleep(LOG_RETRY_SECONDS)
        return
    except LogError:
        conn.end(CRASHED)
        return
    except SnapshotError:
        conn.subscriptions.give_up(follower, "snapshot", CRASHED)
        return
    conn.context.deadlines.enforce()
    if follower.state is not State.BEHIND:  # it was unfollowed while the log was asked, or has expired
        conn.subscriptions.behind.pop(follower, None)
        return
    share = conn.subscriptions.followings.share(follower, reading.position)
    if say(conn, follower, reading, share):
        settle(conn, follower, reading, share)


def say(conn: Connection, follower: Follower, reading: Reading, share: Share = ALONE, *, head: bytes = b"") -> bool:
    """Write what was read, and what is to be announced around it. Return False if the outlet is full and took nothing.

    Args:
        conn: the connection.
        follower: the follower that was read for.
        reading: what was read.
        share: how it is written beside others of the channel.
        head: what stands before it, as one write.
    """
    # All of it as one batch, so that it is taken or refused as a whole: a gap without its events would be a lie, and
    # every write is a system call.
    channel = follower.channel
    sub = share.subs[0] if len(share.subs) == 1 else None
    batches: list[Any] = [head] if head else []
    if not follower.opened:
        # A client that is cut off before the state that it waits for asks for it again, and so knows no place yet.
        start = str(reading.start) if reading.snapshot is None else None
        filtered = follower.filter is not None and follower.filter.hides
        batches.append(encode(conn, Open(channel, start, follower.url, filtered, sub)))
    lags = follower.step is Step.BLOCK and not follower.told
    if lags:
        batches.append(encode(conn, LagMessage(channel, follower.events_behind, "block", sub)))
    batches += [encode(conn, gap_fields(channel, gap)) for gap in reading.gaps]
    if reading.snapshot is not None:
        batches.append(encode(conn, reading.snapshot.message(channel)))
    if reading.batch is not None:
        batches.append(reading.batch)
    was_read = lags or reading.batch is not None or bool(reading.gaps) or reading.snapshot is not None
    is_news = share.is_news or (was_read and not share.waits)  # where it waits, the word of the live one stands
    announces = follower.would_be_live(reading.position) and (is_news or not follower.announced)
    if announces:
        batches.append(encode(conn, Live(channel, str(reading.position), share.live)))
    if batches:
        batches[:0] = _before(conn, channel, reading, share, len(batches))
        if not put(conn, conn.codec.concat(batches), has_events=reading.batch is not None):
            return False
        conn.subscriptions.followings.tell(channel, share, announces)
        if follower.filter is not None:
            follower.filter.writes += 1
            follower.filter.told = reading.position if announces else follower.filter.told
    count(conn, follower, reading)
    follower.opened = True
    if reading.snapshot is not None:
        follower.snapshot_at = reading.position
    follower.told = follower.step is Step.BLOCK
    stays = not is_news and follower.would_be_live(reading.position)  # one that is behind is told when it is not
    follower.announced = announces or (follower.announced and stays)
    follower.advance(reading.position)
    return True


def _before(conn: Connection, channel: str, reading: Reading, share: Share, batches: int) -> list[Any]:
    """Return what stands before so many batches: whom they are for."""
    say = conn.codec.say
    before = []
    if share.before is not None:  # for nobody to act on: it only takes the way from those that were named last
        before = [say(Bracket([], 1)), say(Live(channel, str(reading.position), share.before))]
    if share.subs:
        messages = batches + (0 if reading.batch is None else reading.events - 1)
        before.append(say(Bracket(share.subs, messages)))
    return before


def encode(conn: Connection, message: Message) -> Any:
    """Encode a message that is written now: on a stream of many channels it may say where its client stands in all."""
    marks = conn.subscriptions.marks
    return conn.codec.say(message) if marks is None else marks.say(message)


def put(conn: Connection, batch: Any, *, has_events: bool) -> bool:
    """Write a batch to the outlet: one with events, or words alone. Return False if it is full and took nothing.

    Should words fill it, nobody has missed anything by that: see :meth:`Follower.fall_behind`.
    """
    conn.subscriptions.by_a_word = not has_events
    taken = conn.outgoing.write(batch)
    conn.subscriptions.by_a_word = False
    return taken


def count(conn: Connection, follower: Follower, reading: Reading) -> None:
    """Count what was written, for operators, and remember each gap."""
    metrics = conn.context.metrics
    for gap in reading.gaps:
        metrics.gap_told(gap)
        missed = "nobody knows how many" if gap.missed is None else gap.missed
        conn.history.note("gap", follower.channel, f"{gap.reason}, {gap.after} to {gap.to}, {missed} events missed")
    if reading.snapshot is not None:
        metrics.snapshots["given"] += 1
        conn.history.note("snapshot", follower.channel, f"of {reading.snapshot.cursor}")
    if reading.batch is not None:
        metrics.folded += reading.folded
        metrics.replayed += reading.events
        metrics.replays += not follower.opened


def settle(conn: Connection, follower: Follower, reading: Reading, share: Share = ALONE) -> None:
    """Decide what comes next for a follower. No await lies between reading its position and being live."""
    if reading.ends:
        conn.subscriptions.finish(follower)
        return
    del conn.subscriptions.behind[follower]
    if share.into is not None:
        conn.subscriptions.merge(follower, share.into)
        return
    if not share.waits and follower.go_live():
        if conn.history.eventful:
            conn.history.note("caught up", follower.channel)
        return
    if reading.says_nothing and conn.outlet.empty:
        # It stands past the round that is being written, or another one of the channel is live: another look before the
        # next round would find nothing.
        follower.wait_for_round()
    else:
        conn.subscriptions.behind[follower] = None  # at the end, so that a connection's followers take turns
