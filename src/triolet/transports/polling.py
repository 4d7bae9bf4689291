"""Long and short polling: a page of events and the cursor to ask with next. No state is kept between two polls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from hashlib import sha256
from typing import Final

import msgspec
import trio

from ..bounds import DRAINED_POLL_SECONDS, ENDED_POLL_MS
from ..closing import RESTARTING, REVOKED, Closing
from ..connection import Context
from ..hub import Allow, Park, Polled, Subscription
from ..identity import Grant
from ..identity.revocations import WaitingPoll
from ..wire.poll_body import poll_body
from .negotiate import PROBE, Answer, Ask, AskError, TransportKind, expired

__all__ = [
    "ENDED_POLLS",
    "answer",
    "answer_when_draining",
    "poll",
    "read_pages",
    "retry_of",
    "selected",
]

ENDED_POLLS: Final[dict[Closing | None, tuple[int, str, str]]] = {
    REVOKED: (403, "revoked", "what this client was let in with was revoked"),
}
"""How a poll is answered that ends for a reason: status, word and sentence."""


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
    channel, allow = subscription.channel, subscription.allow
    held = held or WaitingPoll(None, channel, "")
    (page,) = await read_pages(context, [subscription], ask, grant, held, park)
    # The tag is where the client would go on from, and in which channel: the answer to ``after`` changes exactly when
    # that does. One URL may be another channel for another client (of the session, say), and in one browser they log in
    # one after the other.
    cursor = page.end
    live = cursor == page.head
    stale = context.hub.stale
    named = sha256(channel.encode()).hexdigest()[:16]
    etag = f'"{ask.after}-{cursor}-{named}{selected(page, allow)}{"-stale" if stale else ""}"'
    kept_by = b"no-cache" if allow is None and page.snapshot is None else b"private, no-cache"
    retry = ENDED_POLL_MS if page.ending is not None else retry_of(context, ask, live, held)
    now = int(context.now() * 1000)
    state = None if page.snapshot is None else page.snapshot.message(channel)
    filtered = allow is not None

    def body() -> bytes:
        return poll_body(
            channel, page.events, page.gap, cursor, live, retry, now, stale, filtered, page.ending, state, page.told
        )

    return answer(context, ask, None if state else if_none_match, etag, kept_by, body)


async def read_pages(
    context: Context,
    subscriptions: Sequence[Subscription],
    ask: Ask,
    grant: Grant | None,
    held: WaitingPoll,
    park: Park,
) -> list[Polled]:
    """Read what a poll is answered with, one page for each channel. Raises and cancels as :func:`poll`."""
    until = math.inf if grant is None else grant.until
    pages: list[Polled] | None
    with ExitStack() as present:
        for one in subscriptions:
            if one.member is not None and context.presence is not None:
                present.enter_context(context.presence.polls(one.channel, one.member))
        if ask.transport is TransportKind.LONG_POLL:
            pages = await _wait_for_pages(context, subscriptions, ask, held, until, park)
        else:
            pages = await context.hub.pages(subscriptions)
    if _has_ended(held, until) or pages is None:
        raise _ended(context, held)
    if context.budget.over:  # many may have waited for the same event, and all would hold their answers now
        raise AskError(503, "memory", "there is no memory for the answer now; try again")
    for page in pages:
        context.metrics.polled += len(page.events)
        if page.gap is not None:
            context.metrics.gap_told(page.gap)
        context.metrics.ends_told += page.ending is not None
        context.metrics.snapshots["given"] += page.snapshot is not None
        context.metrics.folded += sum([event.folded - 1 for event in page.events])
    return pages


def answer(
    context: Context, ask: Ask, if_none_match: str | None, etag: str, kept_by: bytes, body: Callable[[], bytes]
) -> Answer:
    """Return the answer to a poll: 304 to a short one whose client has it already.

    Args:
        context: what all clients share.
        ask: what the client asks for.
        if_none_match: its tags of what it has.
        etag: the tag of this.
        kept_by: which caches may keep it.
        body: makes it.
    """
    headers = [(b"cache-control", kept_by), (b"etag", etag.encode()), (b"vary", b"accept, last-event-id")]
    if ask.came_as is not None:
        headers.append((PROBE.encode(), ask.came_as.encode()))
    if ask.transport is TransportKind.SHORT_POLL and if_none_match is not None and etag in if_none_match:
        context.metrics.not_modified += 1
        return Answer(304, headers, b"")
    if ask.transport is TransportKind.SHORT_POLL:
        context.metrics.short_polls += 1
    return Answer(200, [*headers, (b"content-type", b"application/json")], body())


def selected(page: Polled, allow: Allow | None) -> str:
    """What a tag adds where a client may not see every event: which of them are in the answer."""
    # Two clients that went on from the same place have the same tag else, and other answers: a cache that both ask
    # through (a browser in which one logs out and another in) would be told 304 for the one, and give the other's.
    if allow is None or not page.events:
        return ""
    offsets = ",".join([str(event.offset) for event in page.events])
    return f"-{sha256(offsets.encode()).hexdigest()[:16]}"


async def _wait_for_pages(
    context: Context, subscriptions: Sequence[Subscription], ask: Ask, held: WaitingPoll, until: float, park: Park
) -> list[Polled] | None:
    """Read what a long poll is answered with; None where it has ended before."""
    with trio.CancelScope(deadline=until) as waiting:
        held.stop = waiting.cancel
        context.long_polls[waiting] = None
        if context.draining.is_set():
            _answer_soon(context, waiting)
        try:
            if any(one.after is None for one in subscriptions):
                subscriptions = [await _from_now(context, one) for one in subscriptions]
            pages = await context.hub.pages(subscriptions, ask.wait, park)
        finally:
            del context.long_polls[waiting]
    if _has_ended(held, until):
        return None  # at once, also where the log is away
    if waiting.cancelled_caught:
        pages = await context.hub.pages(subscriptions)
    said = any(page.says_something for page in pages)
    context.metrics.long_polls["events" if said else "draining" if waiting.cancelled_caught else "timeout"] += 1
    return pages


async def _from_now(context: Context, subscription: Subscription) -> Subscription:
    """Name the place at which a client begins that asks for what comes from now on. One that is to be told the
    channel's state, or its end, has none."""
    if subscription.after is not None or subscription.snapshot is not None:
        return subscription
    page = await context.hub.page(subscription.channel, None)
    return subscription if page.ending is not None else msgspec.structs.replace(subscription, after=page.head)


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


def retry_of(context: Context, ask: Ask, live: bool, held: WaitingPoll) -> int:
    """When to ask again, in ms: at once where there is more or the next poll waits; drawn where all are to leave."""
    if context.draining.is_set() or held.closing is RESTARTING:
        assert RESTARTING.retry is not None
        return context.random.randint(*RESTARTING.retry)
    if not live or ask.transport is TransportKind.LONG_POLL:
        return 0
    return int(context.limits.poll_seconds * 1000)
