"""The subscriptions of one connection: what becomes of each, from its follow until it is taken away or left."""

from __future__ import annotations

import logging
import math
from functools import partial

import msgspec
import trio

from ..closing import ENDED, LAGGING, REFUSED, RESTARTING, REVOKED, Closing
from ..errors import ConfigError, ConnectionEnded, CursorError
from ..event import Cursor
from ..hub import Follower, Lag, State, Step, Subscription, key_of, waits_for_state
from ..identity import Revocation
from ..presence.sessions import Session
from ..sockets.outlet import Outlet
from ..wire.codec import Codec
from ..wire.many_codec import ManyCodec
from ..wire.messages import Refused
from .access import Access
from .context import Context
from .ending import Ending
from .followings import Following, Followings
from .history import History
from .marks import Marks
from .outgoing import Outgoing
from .recheck import Check

__all__ = ["Subscriptions"]

logger = logging.getLogger("triolet.connection")


class Subscriptions:
    """What one connection follows, and its followers; the hub tells it what becomes of them.

    Bounds: ``limits.follows`` subscriptions.

    Args:
        conn_id: the connection's id, for log lines.
        context: what all connections share.
        codec: how events look on this client's wire.
        outlet: where the hub writes them.
        outgoing: where refusals are said, and whose writer is woken.
        ending: ends the connection.
        history: remembers what happens.
        access: what the client was let in with.

    Attributes:
        access: what the client was let in with, and by what it may ask for more.
        followings: what it follows.
        behind: the followers that the writer has to read on for, in the order of their turns.
        over: why the connection ends when all is written that waits, for all is over that it was opened for; None: it
            goes on.
        by_a_word: whether what is being written to the outlet has no event in it.
        marks: what says with each of its events where the client stands in all channels; None where nothing does.
    """

    __slots__ = (
        "_conn_id",
        "_context",
        "_ending",
        "_history",
        "_outgoing",
        "_returned",
        "access",
        "behind",
        "by_a_word",
        "codec",
        "followings",
        "marks",
        "outlet",
        "over",
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
        access: Access,
    ) -> None:
        self._conn_id = conn_id
        self._context = context
        self.codec = codec
        self.outlet = outlet
        self._outgoing = outgoing
        self._ending = ending
        self._history = history
        self.access = access
        self._returned = False
        self.by_a_word = False
        self.over: Closing | None = None
        self.followings = Followings()
        self.marks: Marks | None = None
        if isinstance(codec, ManyCodec):
            self.marks = Marks(codec, self.followings, context.limits.follows)
        self.behind: dict[Follower, None] = {}

    async def add(
        self, subscription: Subscription, since: int | None = None, asked: trio.CancelScope | None = None
    ) -> None:
        """Follow a channel, without asking whether the client may. What is followed already under the same name, or the
        same channel without one, is followed anew.

        Args:
            subscription: what was decided.
            since: the position among the revocations before that was; None is now. What was revoked after it is taken
                away again, as if it had been followed before.
            asked: is cancelled where the client has taken back that it asked for this; then it is not followed.

        Raises:
            ConfigError: the app's fault; ``limits.follows`` channels are followed already.
            ConnectionEnded: the connection ended while the log was asked.
            LogError: the store's fault; it cannot say where the channel's head is.

        Cancellation: nothing is left behind; a channel that was followed before is still followed.
        """
        if subscription.policy is None and self._context.policy is not None:
            subscription = msgspec.structs.replace(subscription, policy=self._context.policy)
        since = self._context.revocations.position if since is None else since
        follower = await self._context.hub.follow(subscription, self)
        # No await from here on, and all bounds are asked only now: while the log was asked the connection may have
        # ended, or another task of it may have followed as many channels as it may.
        if asked is not None and asked.cancel_called:  # in the moment in which the log has answered
            self._context.hub.leave(follower)
            return
        self.remove(subscription.key)
        if self._ending.closing is not None:
            self._context.hub.leave(follower)
            raise ConnectionEnded(self._ending.closing)
        if len(self.followings.by_key) >= self._context.limits.follows:
            self._context.hub.leave(follower)
            raise ConfigError(f"this connection follows {len(self.followings.by_key)} channels: limits.follows")
        try:
            session = _join(self._context, subscription)
        except BaseException:  # before the follower is known here: nothing else would ever end it
            self._context.hub.leave(follower)
            raise
        following = Following(subscription, follower, session)
        self.followings.add(following)
        if (revoked := _revoked(self._context, self.access, following, since)) is not None:
            self.refuse(following, revoked)
            return
        self.fell_behind(follower)
        if subscription.recheck is not None and self.access.ask_again is not None:
            self._check_on(following, subscription.recheck)
        if _was_here(subscription.after) and not self._returned:
            self._returned = True
            self._context.metrics.returned += 1

    async def follow_url(self, url: str, after: Cursor | None, sub: str | None, asked: trio.CancelScope | None) -> None:
        """Follow by URL: the Quart view behind it decides, as for a request of its own. A refusal is answered.

        Args:
            url: the URL as the client wrote it.
            after: the cursor to go on from; None is what the URL's ``?after=`` says.
            sub: what the client calls this subscription; None where it has no name.
            asked: as of :meth:`add`; nothing is answered then.

        Raises:
            ConnectionEnded, LogError: as :meth:`add`.
        """
        since = self._context.revocations.position
        try:
            decided = await self.access.decide(url) if self.access.decide is not None else None
        except CursorError:  # one URL that cannot be is no reason to end what else is followed
            decided = None
        if asked is not None and asked.cancel_called:
            return
        if decided is None:
            self.turn_away(url, sub)
            return
        after = decided.after if after is None else after
        try:
            await self.add(msgspec.structs.replace(decided, after=after, url=url, sub=sub), since, asked)
        except ConfigError:  # of the app's handler it is a bug; of a client it is more than it may ask for
            self.turn_away(url, sub, "follows")

    def turn_away(self, url: str, sub: str | None, reason: str | None = None) -> None:
        """Answer that a URL is not followed. What had its name before is not followed either, for the answer names no
        other.
        """
        if sub is not None:
            self.remove(key_of(sub))
        self._context.metrics.follows_refused += 1
        self._outgoing.answer(Refused(url, sub=sub, reason=reason))

    def remove(self, key: str) -> None:
        """Follow something no longer. It is no error if it was not followed.

        Args:
            key: a channel; or of what its client calls it: see :func:`.key_of`.
        """
        following = self.followings.by_key.get(key)
        if following is None:
            return
        # `Followings.offsets` has this follower's no more; so the sum of both, by which the heartbeat sees that
        # something was sent, stays the same.
        self._outgoing.said += following.follower.sent
        if self.marks is not None and not waits_for_state(following.follower):
            self.marks.keep(following.channel, following.follower.position)
        if self.followings.remove(following):
            self._leave(following.follower)
        if following.check is not None:
            following.check.stop()
        if following.session is not None:
            assert self._context.presence is not None
            self._context.presence.leave(following.session)

    def merge(self, follower: Follower, into: Follower) -> None:
        """Have what a follower serves served by another one, which stands at the same place."""
        self.followings.merge(follower, into)
        self._leave(follower)

    def remove_all(self) -> None:
        """Follow nothing any more. Synchronous, so nothing can cancel it."""
        for key in list(self.followings.by_key):
            self.remove(key)
        self.behind.clear()

    def cut(self, closing: Closing, *, tasks: bool = True) -> None:
        """End the connection, and with it its events: no byte of one goes out after this.

        It is for a client that may not have them any more. The followers leave the hub at once, and not when the
        connection's tasks have ended. What its kernel has not taken of a batch cannot be called back in part, so such a
        client is reset, and hears no goodbye. Synchronous, so nothing can cancel it.

        Args:
            closing: why.
            tasks: whether its tasks are ended too. That costs most, and where it is False the caller does it later.
        """
        self.remove_all()
        (self._ending.end if tasks else self._ending.decide)(closing)
        if self.outlet.pending or not self.outlet.empty:  # TLS's last record is in no number of bytes
            self.outlet.cut()
        self.outlet.until = math.inf  # where there is room, a goodbye is said

    def begin(self, nursery: trio.Nursery) -> None:
        """The connection's tasks start, and with them the rechecks of what it follows already."""
        for following in self.followings.by_key.values():
            if following.check is not None:
                nursery.start_soon(following.check.run)

    def named_by(self, revocation: Revocation) -> list[Following]:
        """Return what is followed that a revocation speaks of. Nothing has ended yet."""
        channel, followings = revocation.channel, self.followings
        asked = followings.by_key.values() if channel is None else followings.on(channel)
        return [
            following
            for following in asked
            if revocation.ends(self.access.identity, following.channel, self.access.paths(following.url))
        ]

    def enforce(self, since: int) -> None:
        """End what was revoked since a position, under the identity that the client has now."""
        access = self.access
        revoked = self._context.revocations.since(since, access.identity, None, access.paths(None))
        if revoked is not None:
            self._context.metrics.revoked["connections"] += revoked is REVOKED and self._ending.closing is None
            self.cut(revoked)
        for following in list(self.followings.by_key.values()):
            if (revoked := _revoked(self._context, self.access, following, since)) is not None:
                self.refuse(following, revoked)

    def refuse(self, following: Following, closing: Closing) -> None:
        """End what its client may not follow any more, announced: no byte of an event goes out for it after this.
        The connection ends with it where it follows nothing else (by its own URL, or because it can follow no more), or
        where bytes of events wait: whose they are is not known.

        Args:
            following: one that may have ended already; then nothing happens.
            closing: why the connection ends, if it does.
        """
        channel, url = following.channel, following.url
        by_key = self.followings.by_key
        if by_key.get(following.key) is not following:
            return
        is_own = url is None and channel == self.access.own
        ends = (
            ((is_own or self.access.complete) and len(by_key) == 1)
            or closing is RESTARTING
            or self.outlet.pending > 0
            or not self.outlet.empty
        )
        if closing is REVOKED:
            self._context.metrics.revoked["connections" if ends else "subscriptions"] += 1
        if ends:
            self.cut(closing)
            return
        self.remove(following.key)
        self._history.note("refused", channel, closing.reason)
        self._outgoing.answer(Refused(url, channel, following.sub))

    def give_up(self, follower: Follower, reason: str, closing: Closing) -> None:
        """End what a follower serves although its client may have it, because it fails: its client is told so, and when
        to ask again. The connection ends with it where it follows nothing else, and was opened for no more.

        Args:
            reason: why, in the words of :class:`.Refused`.
            closing: when to come back; and why the connection ends, if it does.
        """
        if follower.state is State.ENDED:
            return
        failed = [one for one in self.followings.on(follower.channel) if one.follower is follower]
        if (self.access.own is not None or self.access.complete) and len(failed) == len(self.followings.by_key):
            self._ending.end(closing)
            return
        self.followings.lacks = closing
        for one in failed:
            self.remove(one.key)
            self._history.note("refused", one.channel, reason)
            retry = self._context.retry(closing)
            self._outgoing.answer(Refused(one.url, one.channel, one.sub, reason, retry))

    def acknowledge(self, channel: str, cursor: str) -> None:
        """Count how old the event was that the client has applied. Nothing but that histogram depends on it.

        Raises:
            CursorError: the client's fault; ``cursor`` is no cursor.
        """
        applied = Cursor.parse(cursor)
        following = next(iter(self.followings.on(channel)), None)  # all of a channel have the same window
        published_at = None if following is None else following.follower.window.published_at(applied)
        if published_at is not None:
            self._context.metrics.event_acknowledged(published_at)

    def stall(self) -> None:
        """Make all followers fall behind, because the outlet is full: the writer goes on for each from its cursor."""
        # All of them share the outlet. One that stayed live would be written to by the pump, past what waits in there.
        followings = self.followings.by_key.values()
        if any(following.follower.state is State.LIVE for following in followings):
            self._context.metrics.fell_behind += 1
            self._history.note("fell behind", None, "its kernel took no more")
        for following in followings:
            following.follower.fall_behind(by_a_word=self.by_a_word)
        self._outgoing.wake()

    # --- called by the hub, for its followers

    def fell_behind(self, follower: Follower) -> None:
        """Have the writer read on for a follower."""
        if follower.announced:  # it waited at the head, where another one of the channel is live: it was up to date
            follower.behind_since = trio.current_time()
        self.behind[follower] = None
        self._outgoing.wake()

    def finish(self, follower: Follower) -> None:
        """Follow a channel no longer that has ended, as its client was told. A connection that was opened at a
        channel's URL, or can follow no more, is over where it follows nothing else."""
        self._context.metrics.ends_told += 1
        self._history.note("ended", follower.channel)
        for following in self.followings.on(follower.channel):
            if following.follower is follower:
                self.remove(following.key)
        if (self.access.own is not None or self.access.complete) and not self.followings.by_key:
            self.over = self.followings.lacks or ENDED
            self._outgoing.wake()  # the end may wait for its kernel still: the writer says goodbye behind it

    def stepped(self, follower: Follower, step: Step, lag: Lag) -> None:
        """Act on what a follower's policy says anew. Each step of each follower is logged once."""
        if step is Step.CATCH_UP:
            return
        name = step.name.lower()
        self._context.metrics.steps[name] += 1
        self._history.note("policy", follower.channel, f"{name}, {lag.events} events and {lag.seconds:.1f} s behind")
        if step is Step.DISCONNECT:
            self._ending.end(LAGGING)
        # Once, because a client at the edge of a bound may change from step to step for ever.
        if not follower.logged & 1 << step:
            follower.logged |= 1 << step
            logger.info("connection %d: %s, %d events and %.1f s behind", self._conn_id, name, lag.events, lag.seconds)

    def _leave(self, follower: Follower) -> None:
        self.behind.pop(follower, None)
        self._context.hub.leave(follower)

    def _check_on(self, following: Following, seconds: float) -> None:
        """Have the view of what is followed asked again, for as long as it is."""
        ask = partial(_may_follow, self.access, following)
        following.check = Check(self._context, seconds, ask, partial(self.refuse, following, REFUSED))
        if self._ending.nursery is not None:  # else it starts with the others
            self._ending.nursery.start_soon(following.check.run)


def _join(context: Context, subscription: Subscription) -> Session | None:
    """Make the client present in the channel, if it follows it as a member."""
    if subscription.member is None or context.presence is None:
        return None
    return context.presence.join(subscription.channel, subscription.member)


def _revoked(context: Context, access: Access, following: Following, since: int) -> Closing | None:
    if context.revocations.position == since:  # as nearly always
        return None
    return context.revocations.since(since, access.identity, following.channel, access.paths(following.url))


async def _may_follow(access: Access, following: Following) -> bool:
    assert access.ask_again is not None, "it was looked for before"
    return await access.ask_again(following.url) == following.channel


def _was_here(after: Cursor | None) -> bool:
    """Whether who goes on after this had events before: neither "from now", nor the oldest, nor the newest few."""
    return after is not None and (after.epoch != "" or after.offset > 0)
