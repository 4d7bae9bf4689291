"""What may be followed of the many URLs of one request: each is asked about as a follow on a WebSocket is.

A refusal refuses its own URL, and the others go on. Where nothing is left the request is refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeAlias

import msgspec
import trio

from ..bounds import VIEWS_ASKED_AT_ONCE
from ..closing import RESTARTING, REVOKED
from ..connection import Connection, Context
from ..connection.access import Access
from ..errors import ConnectionEnded, CursorError
from ..hub import Subscription
from ..identity.revocations import WaitingPolls
from ..transports.many import ManyAsk
from ..transports.negotiate import AskError, Wish
from ..wire.messages import Refused
from ..wire.places import place_key
from .views import Decision, Refusal

__all__ = ["Many", "Said", "ask_views"]

Said: TypeAlias = "tuple[Decision | Refusal | None, Wish]"
"""What a view has said, None where there is none; and how its URL says that its client wants it."""


class Many(NamedTuple):
    """What a request follows.

    Attributes:
        ask: what its client asks for.
        since: the position among the revocations before the views were asked.
        subscriptions: the channels, each from where its client stands.
        refused: what is refused beside them.
    """

    ask: ManyAsk
    since: int
    subscriptions: list[Subscription]
    refused: list[Refused]

    @property
    def rechecks(self) -> bool:
        """Whether any view is to be asked again."""
        return any(one.recheck is not None for one in self.subscriptions)

    async def follow(self, conn: Connection) -> None:
        """Have a connection that was just made, with a codec for many channels, follow all of it.

        Raises:
            ConnectionEnded: nothing is left of it.
            LogError: the store's fault; it cannot say where the head of a channel is.
        """
        for refused in self.refused:
            conn.outgoing.answer(refused)
        for subscription in self.subscriptions:
            await conn.subscriptions.add(subscription, self.since)
        if conn.closing is not None or not conn.subscriptions.followings.by_key:
            raise ConnectionEnded(conn.closing or REVOKED)
        assert conn.subscriptions.marks is not None, "its codec is one for many channels"
        conn.subscriptions.marks.bring(self.ask.places)
        conn.subscriptions.access.complete = True

    def waiting(self, context: Context, access: Access) -> WaitingPolls:
        """Return what ends a poll of all of it, or of some, by what is revoked from now on. What was revoked since the
        views were asked is taken already.

        Raises:
            ConnectionEnded: nothing is left of it.
        """
        paths: Mapping[str, tuple[str, ...]] = {one.channel: access.paths(one.url) for one in self.subscriptions}
        held = WaitingPolls(access.grant, access.path, paths)
        for channel, known in paths.items():
            closing = context.revocations.since(self.since, access.identity, channel, known)
            if closing is RESTARTING:
                raise ConnectionEnded(closing)
            if closing is not None:
                held.take(channel, closing)
        if held.closing is not None:
            context.metrics.revoked["polls"] += 1
            raise ConnectionEnded(held.closing)
        return held


async def ask_views(decide: Callable[[str], Awaitable[Said]], ask: ManyAsk, since: int) -> Many | Refusal:
    """Ask the view behind each URL. Return what may be followed; where that is nothing, the answer to that: of a view
    that failed, if one did, for then the client is to come back.

    Args:
        decide: asks the view behind a URL.
        ask: what the client asks for.
        since: the position among the revocations before the first of its views is asked.

    Raises:
        AskError: 400; a URL says a cursor that can be none.

    Bounds: ``VIEWS_ASKED_AT_ONCE`` are asked at the same moment.

    Cancellation: nothing is lost.
    """
    said: dict[str, Said | CursorError] = {}
    left = deque(ask.urls)

    async def work() -> None:
        while left:
            url = left.popleft()
            try:
                said[url] = await decide(url)  # noqa: F821  # it is taken away behind the nursery, and not before
            except CursorError as error:
                said[url] = error

    async with trio.open_nursery() as nursery:
        for _ in range(min(len(left), VIEWS_ASKED_AT_ONCE)):
            nursery.start_soon(work)
    del decide  # what an app's log keeps of a view that failed has the task's frame in it, and the client's connection
    many, refusals = Many(ask, since, [], []), []
    keys: set[str] = set()
    for url in ask.urls:  # in their order, whichever view was the first to answer
        answer = said[url]
        if isinstance(answer, CursorError):
            raise AskError(400, "cursor", f"{answer}, in follow={url:.200}")
        decision, wish = answer
        if not isinstance(decision, Decision) or decision.channel is None:
            refusals.append(decision if isinstance(decision, Refusal) else Refusal(404, [], b""))
            many.refused.append(Refused(url))
            continue
        if (key := place_key(decision.channel)) in keys:
            many.refused.append(Refused(url, reason="repeat"))
            continue
        keys.add(key)
        place = ask.place(decision.channel)
        wish = wish if place is None else msgspec.structs.replace(wish, after=place)
        subscription = decision.subscription(wish)
        assert subscription is not None, "there is a channel"
        many.subscriptions.append(msgspec.structs.replace(subscription, url=url))
    if many.subscriptions:
        return many
    return next((one for one in refusals if one.status >= 500), refusals[0])
