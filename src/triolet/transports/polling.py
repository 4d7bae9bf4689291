"""Long and short polling: a page of events and the cursor to ask with next. No state is kept between two polls."""

from __future__ import annotations

import math
from contextlib import nullcontext
from hashlib import sha256
from typing import Final

import trio

from ..bounds import DRAINED_POLL_SECONDS
from ..closing import RESTARTING, REVOKED, Closing
from ..connection import Context
from ..event import Cursor
from ..hub import Allow, Park, Polled, Subscription
from ..identity import Grant
from ..identity.revocations import WaitingPoll
from ..wire.poll_body import poll_body
from .negotiate import Ask, AskError, TransportKind, expired

__all__ = ["ENDED_POLLS", "Answer", "answer_when_draining", "poll"]

ENDED_POLLS: Final[dict[Closing | None, tuple[int, str, str]]] = {
    REVOKED: (403, "revoked", "what this client was let in with was revoked"),
}
"""How a poll is answered that ends for a reason: status, word and sentence."""


class Answer:
    """What a poll is answered with: ``status``, ``headers`` and ``body``."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


async def poll(
    context: Context,
    subscription: Subscription,
    ask: Ask,
    if_none_match: str | None,
    grant: Grant | None = None,
    held: WaitingPoll | None = None,
    park: Park = trio.sleep_forever,
) -> Answer:
    """Answer a poll. A member that polls is present while it does, and a little longer.

    A long poll waits until there is an event or its time is over; a short one answers at once, with 304 where
    nothing is new. A server that drains answers at once.

    Args:
        context: what all clients share.
        subscription: what the client may have of what it asks for. Where it may not see every event, a long poll goes
            on waiting where what came is not for it: the cursor of the answer alone has moved on.
        ask: what the client asks for.
        if_none_match: its tags of what it has.
        grant: what the client was let in with, and until when.
        held: says when the poll is to be answered because of what was revoked; None is never.
        park: where a long poll waits, until it is cancelled. Where the client's end can be noticed meanwhile, that is
            done here, without a task of its own: it raises then.

    Raises:
        Exception: what ``park`` raises.
        LogError: the log cannot be read.
        AskError: what the client was let in with has expired meanwhile, or was revoked; or more is held for clients
            than may be, so no answer was made, and the client is to come back.

    Cancellation: nothing is lost: the client asks again with the cursor it has.
    """
    channel, member, allow = subscription.channel, subscription.member, subscription.allow
    held = held or WaitingPoll(None, channel, "")
    presence = None if member is None else context.presence
    with nullcontext() if presence is None or member is None else presence.polls(channel, member):
        until = math.inf if grant is None else grant.until
        if ask.transport is TransportKind.LONG_POLL:
            page = await _wait_for_page(context, subscription, ask.wait, held, until, park)
        else:
            page = await _page(context, subscription, ask.after)
    if _has_ended(held, until) or page is None:
        raise _ended(context, held)
    if context.budget.over:  # many may have waited for the same event, and all would hold their answers now
        raise AskError(503, "memory", "there is no memory for the answer now; try again")
    metrics = context.metrics
    metrics.polled += len(page.events)
    if page.gap is not None:
        metrics.gap_told(page.gap)
    metrics.ends_told += page.ending is not None
    # The tag is where the client would go on from: the answer to ``after`` changes exactly when that does.
    cursor = page.end
    live = cursor == page.head
    stale = context.hub.stale
    etag = f'"{ask.after}-{cursor}{_selected(page, allow)}{"-stale" if stale else ""}"'
    is_all = allow is None and page.snapshot is None
    kept_by = b"no-cache" if is_all else b"private, no-cache"
    headers = [(b"cache-control", kept_by), (b"etag", etag.encode()), (b"vary", b"accept, last-event-id")]
    is_same = if_none_match is not None and etag in if_none_match and page.snapshot is None
    if ask.transport is TransportKind.SHORT_POLL and is_same:
        metrics.not_modified += 1
        return Answer(304, headers, b"")
    if ask.transport is TransportKind.SHORT_POLL:
        metrics.short_polls += 1
    retry = None
    if page.ending is None:
        retry = _retry(context, ask, live, context.draining.is_set() or held.closing is RESTARTING)
    now = int(context.now() * 1000)
    state = None if page.snapshot is None else page.snapshot.message(channel)
    filtered = allow is not None
    body = poll_body(channel, page.events, page.gap, cursor, live, retry, now, stale, filtered, page.ending, state)
    return Answer(200, [*headers, (b"content-type", b"application/json")], body)


def _selected(page: Polled, allow: Allow | None) -> str:
    """What a tag adds where a client may not see every event: which of them are in the answer."""
    # Two clients that went on from the same place have the same tag else, and other answers: a cache that both ask
    # through (a browser in which one logs out and another in) would be told 304 for the one, and give the other's.
    if allow is None or not page.events:
        return ""
    offsets = ",".join([str(event.offset) for event in page.events])
    return f"-{sha256(offsets.encode()).hexdigest()[:16]}"


async def _page(
    context: Context,
    subscription: Subscription,
    after: Cursor | None,
    wait: float = 0,
    park: Park = trio.sleep_forever,
) -> Polled:
    return await context.hub.page(
        subscription.channel,
        after,
        wait,
        subscription.allow,
        park,
        folds=subscription.folds,
        snapshot=subscription.snapshot,
    )


async def _wait_for_page(
    context: Context, subscription: Subscription, wait: float, held: WaitingPoll, until: float, park: Park
) -> Polled | None:
    """Read what a long poll is answered with; None where it has ended before."""
    after = subscription.after
    with trio.CancelScope(deadline=until) as waiting:
        held.stop = waiting.cancel
        context.long_polls[waiting] = None
        if context.draining.is_set():
            _answer_soon(context, waiting)
        try:
            if after is None and subscription.snapshot is None:
                after = (await context.hub.page(subscription.channel, None)).head
            page = await _page(context, subscription, after, wait, park)
        finally:
            del context.long_polls[waiting]
    if _has_ended(held, until):
        return None  # at once, also where the log is away
    if waiting.cancelled_caught:
        page = await _page(context, subscription, after)
    answer = "events" if page.says_something else "draining" if waiting.cancelled_caught else "timeout"
    context.metrics.long_polls[answer] += 1
    return page


async def answer_when_draining(context: Context) -> None:
    """Wait for the server to drain, then have all long polls answered that wait: one task, and none for each."""
    await context.draining.wait()
    for waiting in context.long_polls:
        _answer_soon(context, waiting)


def _answer_soon(context: Context, waiting: trio.CancelScope) -> None:
    """At a drawn time, so that not all come back at once."""
    soon = trio.current_time() + context.random.uniform(0, DRAINED_POLL_SECONDS)
    waiting.deadline = min(waiting.deadline, soon)


def _has_ended(held: WaitingPoll, until: float) -> bool:
    return held.closing in ENDED_POLLS or trio.current_time() >= until


def _ended(context: Context, held: WaitingPoll) -> AskError:
    """What a poll is answered that has lost what it was let in with."""
    if held.closing in ENDED_POLLS:
        return AskError(*ENDED_POLLS[held.closing])
    context.metrics.expired += 1
    return expired()


def _retry(context: Context, ask: Ask, live: bool, leaves: bool) -> int:
    """When to ask again, in ms: at once where there is more or the next poll waits; drawn where all are to leave."""
    if leaves:
        assert RESTARTING.retry is not None
        return context.random.randint(*RESTARTING.retry)
    if not live or ask.transport is TransportKind.LONG_POLL:
        return 0
    return int(context.limits.poll_seconds * 1000)
