"""The channels that one connection follows: its followers, and its sessions where it is present as a member."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from ..closing import FLOOD, LAGGING
from ..errors import ConfigError, ConnectionEnded
from ..event import Cursor
from ..hub import Follower, Lag, State, Step, Subscription
from ..presence.sessions import Session
from ..sockets.outlet import Outlet
from ..wire.codec import Codec
from ..wire.messages import Refused
from .context import Context
from .ending import Ending
from .history import History
from .outgoing import Outgoing

__all__ = ["Decide", "Subscriptions"]

logger = logging.getLogger("triolet.connection")

Decide: TypeAlias = Callable[[str], Awaitable[Subscription | None]]
"""Asks the view behind a URL what a client that follows it gets; None is a refusal."""

FROM_THE_OLDEST = Cursor("", 0)


class Subscriptions:
    """One connection's followers, by channel; the hub tells it what becomes of them.

    Bounds: ``limits.follows`` channels.

    Args:
        conn_id: the connection's id, for the log.
        context: what all connections share.
        codec: how events look on this client's wire.
        outlet: where the hub writes them.
        outgoing: where refusals are said, and whose writer is woken.
        ending: ends the connection.
        history: remembers what happens.
        decide: asks the view behind a URL; None: this client may not follow by URL.

    Attributes:
        followers: by their channels.
        behind: the followers that the writer has to read on for, in the order of their turns.
    """

    __slots__ = (
        "_conn_id",
        "_context",
        "_decide",
        "_ending",
        "_history",
        "_outgoing",
        "_returned",
        "_sessions",
        "behind",
        "codec",
        "followers",
        "outlet",
    )

    def __init__(
        self,
        conn_id: int,
        context: Context,
        codec: Codec,
        outlet: Outlet,
        outgoing: Outgoing,
        ending: Ending,
        history: History,
        decide: Decide | None = None,
    ) -> None:
        self._conn_id = conn_id
        self._context = context
        self.codec = codec
        self.outlet = outlet
        self._outgoing = outgoing
        self._ending = ending
        self._history = history
        self._decide = decide
        self._sessions: dict[str, Session] | None = None
        self._returned = False
        self.followers: dict[str, Follower] = {}
        self.behind: dict[Follower, None] = {}

    @property
    def offsets(self) -> int:
        """The sum of the offsets that the client was sent: a number that changes when it is sent an event."""
        return sum(follower.position.offset for follower in self.followers.values())

    async def add(self, subscription: Subscription) -> None:
        """Follow a channel, without asking whether the client may. One that is followed already is followed anew.

        Raises:
            ConfigError: ``limits.follows`` channels are followed already.
            ConnectionEnded: the connection ended while the log was asked.
            LogError: the log cannot say where the channel's head is.
        """
        if subscription.policy is None and self._context.policy is not None:
            subscription = msgspec.structs.replace(subscription, policy=self._context.policy)
        follower = await self._context.hub.follow(subscription, self)
        self.remove(subscription.channel)
        if self._ending.closing is not None:
            self._context.hub.leave(follower)
            raise ConnectionEnded(self._ending.closing)
        if len(self.followers) >= self._context.limits.follows:
            self._context.hub.leave(follower)
            raise ConfigError(f"this connection follows {len(self.followers)} channels: limits.follows")
        try:
            self._join(subscription)
        except BaseException:  # before the follower is known here: nothing else would ever end it
            self._context.hub.leave(follower)
            raise
        self.followers[subscription.channel] = follower
        self.fell_behind(follower)
        if subscription.after not in (None, FROM_THE_OLDEST) and not self._returned:
            self._returned = True
            self._context.metrics.returned += 1

    async def follow_url(self, url: str, after: Cursor | None) -> None:
        """Follow by URL: the Quart view behind it decides, as for a request of its own. A refusal is answered.

        Args:
            url: as the client wrote it.
            after: where to go on from; None is what the URL's ``?after=`` says.

        Raises:
            CursorError: the URL's cursor is none.
            ConnectionEnded, LogError: as :meth:`add`.
        """
        decided = await self._decide(url) if self._decide is not None else None
        if decided is None:
            self._context.metrics.follows_refused += 1
            self._outgoing.answer(Refused(url))
            return
        after = decided.after if after is None else after
        try:
            await self.add(msgspec.structs.replace(decided, after=after, url=url))
        except ConfigError:
            self._ending.end(FLOOD)

    def remove(self, channel: str) -> None:
        """Follow a channel no longer. One that was not followed is no error."""
        follower = self.followers.pop(channel, None)
        if follower is not None:
            self._outgoing.said += follower.position.offset  # what it was sent stays sent: no beat is put off by this
            self.behind.pop(follower, None)
            self._context.hub.leave(follower)
        if self._sessions is not None and (session := self._sessions.pop(channel, None)) is not None:
            assert self._context.presence is not None
            self._context.presence.leave(session)

    def remove_all(self) -> None:
        """Follow nothing any more. Synchronous, so nothing can cancel it."""
        for channel in list(self.followers):
            self.remove(channel)
        self.behind.clear()

    def acknowledge(self, channel: str, cursor: str) -> None:
        """Count how old the event was that the client has applied. Nothing depends on it but that number.

        Raises:
            CursorError: that is no cursor.
        """
        applied = Cursor.parse(cursor)
        follower = self.followers.get(channel)
        published_at = None if follower is None else follower.window.published_at(applied)
        if published_at is not None:
            self._context.metrics.event_acknowledged(published_at)

    def stall(self) -> None:
        """The outlet is full: no follower is live any more, and the writer goes on for each from its cursor."""
        if any(follower.state is State.LIVE for follower in self.followers.values()):
            self._context.metrics.fell_behind += 1
            self._history.note("fell behind", None, "its kernel took no more")
        for follower in self.followers.values():
            follower.fall_behind()
        self._outgoing.wake()

    # --- what the hub tells the owner of followers

    def fell_behind(self, follower: Follower) -> None:
        """There is work for the writer."""
        self.behind[follower] = None
        self._outgoing.wake()

    def stepped(self, follower: Follower, step: Step, lag: Lag) -> None:
        """The policy says something new about a follower. Each step of each is logged once."""
        if step is Step.CATCH_UP:
            return
        name = step.name.lower()
        self._context.metrics.steps[name] += 1
        self._history.note("policy", follower.channel, f"{name}, {lag.events} events and {lag.seconds:.1f} s behind")
        if step is Step.DISCONNECT:
            self._ending.end(LAGGING)
        if not follower.logged & 1 << step:
            follower.logged |= 1 << step
            logger.info("connection %d: %s, %d events and %.1f s behind", self._conn_id, name, lag.events, lag.seconds)

    def _join(self, subscription: Subscription) -> None:
        """Be present in the channel, where the client follows it as a member."""
        if subscription.member is None or self._context.presence is None:
            return
        if self._sessions is None:
            self._sessions = {}
        self._sessions[subscription.channel] = self._context.presence.join(subscription.channel, subscription.member)
