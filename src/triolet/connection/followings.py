"""What one connection follows, each under a name of its own, and how followers of one channel share its live events.

A client that names its subscriptions may follow a channel many times. What the writer says for one of them stands in a
bracket, which names those that it is for. The pump knows nothing of that: what it writes is for those that the last
``live`` of the channel has named. So of one channel one follower at most may be live. Another one that arrives where
that stands, under the same policy and filter, is merged into it: the live one serves both from then on. One that cannot
be merged waits at the head, and is written each round in a bracket. So do all of a channel that is followed without a
name as well, as the app's handler does: what stands in no bracket is for that one alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..closing import Closing
from ..event import Cursor
from ..hub import Follower, State, Subscription
from ..hub.filter import Filter
from ..presence.sessions import Session
from .recheck import Check

__all__ = ["ALONE", "Following", "Followings", "Share"]


class Following:
    """One subscription of a connection.

    Attributes:
        key: under which it is known. See :attr:`.Subscription.key`.
        sub: that name; None where it has none.
        url: the URL that was followed; None if the channel was followed by its name.
        follower: what serves it; others that have been merged too.
        session: its client's presence as a member; None where it is none.
        check: what asks about it again; None where nothing does.
    """

    __slots__ = ("check", "follower", "key", "session", "sub", "url")

    def __init__(self, subscription: Subscription, follower: Follower, session: Session | None) -> None:
        self.sub = subscription.sub
        self.key = subscription.key
        self.url = subscription.url
        self.follower = follower
        self.session = session
        self.check: Check | None = None

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self.follower.channel


class Share(NamedTuple):
    """How one follower is written to beside others of its channel, at the place that it has just been read up to.

    Attributes:
        subs: whom it serves; empty where that has no name. Then nothing is bracketed.
        before: whom the events in no bracket are for, where that must be said before anything else; None: nothing must.
        live: whom they are for once this one has caught up; None where it has no name.
        is_news: whether that is to be said although the follower has said before that it has caught up.
        waits: whether another one has the way without brackets.
        into: that one, where it stands at the same place, and this one can be merged into it.
    """

    subs: list[str]
    before: list[str] | None
    live: list[str] | None
    is_news: bool
    waits: bool
    into: Follower | None


ALONE: Final = Share([], None, None, is_news=False, waits=False, into=None)
"""How it is where the client has named no subscription: as if there were no others."""


class Followings:
    """All that one connection follows.

    Attributes:
        by_key: each, by its key.
        lacks: why its client is to come back once all of it has ended, for something that failed was given up; None: it
            need not.
    """

    __slots__ = ("_told", "by_key", "lacks")

    def __init__(self) -> None:
        self.by_key: dict[str, Following] = {}
        self.lacks: Closing | None = None
        self._told: dict[str, list[str]] | None = None  # by channel, whom `live` has named last; None: none has a name

    def add(self, following: Following) -> None:
        """Take one more, whose key is free. Those with a name fall behind where one comes that has none: it is live
        alone."""
        if following.sub is not None and self._told is None:
            self._told = {}
        elif following.sub is None and self._told is not None:
            for other in self.on(following.channel):
                other.follower.fall_behind()
        self.by_key[following.key] = following

    def remove(self, following: Following) -> bool:
        """Forget one. Return whether its follower serves no other."""
        del self.by_key[following.key]
        if self._told is None:
            return True
        others = self.on(following.channel)
        if not others:
            self._told.pop(following.channel, None)
        return all(other.follower is not following.follower for other in others)

    def on(self, channel: str) -> list[Following]:
        """Those of a channel."""
        if self._told is None:  # a look into a dict, since all connections of the process may be asked
            following = self.by_key.get(channel)
            return [] if following is None else [following]
        return [following for following in self.by_key.values() if following.channel == channel]

    def subs_of(self, follower: Follower) -> list[str]:
        """What the client calls those that a follower serves and that have a name."""
        ours = self.on(follower.channel) if self._told is not None else []
        return [following.sub for following in ours if following.follower is follower and following.sub is not None]

    @property
    def offsets(self) -> int:
        """The sum of the offsets that the client was sent: a number that changes when it is sent an event."""
        return sum(following.follower.sent for following in self.by_key.values())

    @property
    def followers(self) -> dict[str, Follower]:
        """The followers, each once, by the key of the first that it serves."""
        keys: dict[Follower, str] = {}
        for key, following in self.by_key.items():
            keys.setdefault(following.follower, key)
        return {key: follower for follower, key in keys.items()}

    def places(self) -> Iterator[tuple[str, str]]:
        """Up to where the client was sent each channel: by its live follower, by the one without a name, or by the only
        one. Of others of the channel that says nothing."""
        if self._told is None:
            yield from [(key, str(f.follower.position)) for key, f in self.by_key.items() if f.follower.opened]
            return
        for channel, follower in self._chosen():
            yield channel, str(follower.position)

    def apart(self) -> dict[str, str]:
        """Up to where the client was sent each subscription of which :meth:`places` does not tell, by its name: of one
        that no `live` has named, or that waits beside the live one. Empty where none has a name."""
        if self._told is None:
            return {}
        chosen = dict(self._chosen())
        places: dict[str, str] = {}
        for following in self.by_key.values():
            sub, channel, follower = following.sub, following.channel, following.follower
            is_told = chosen.get(channel) is follower and sub in self._told.get(channel, ())
            if sub is not None and follower.opened and not is_told:
                places[sub] = str(follower.position)
        return places

    def has_passed(self) -> bool:
        """Whether a channel has gone on over events that the client may not see, and it was neither written anything of
        that channel since this was asked last, nor told its place (:meth:`note`). Only a beat can tell it."""
        passed = False
        for filter, position in self._filtered():
            if filter.noted is None or filter.noted[0] != filter.writes:
                filter.noted = filter.writes, filter.told
            elif filter.noted[1] != position:
                passed = True
        return passed

    def note(self) -> None:
        """Take note that the client was told its places."""
        for filter, position in self._filtered():
            filter.noted = filter.writes, position

    def _chosen(self) -> Iterator[tuple[str, Follower]]:
        by_channel: dict[str, list[Following]] = {}
        for following in self.by_key.values():
            by_channel.setdefault(following.channel, []).append(following)
        for channel, all_of_it in by_channel.items():
            chosen = {f.follower for f in all_of_it if f.follower.state is State.LIVE}
            chosen = chosen or {f.follower for f in all_of_it if f.sub is None} or {f.follower for f in all_of_it}
            if len(chosen) == 1 and (follower := chosen.pop()).opened:
                yield channel, follower

    def _filtered(self) -> Iterator[tuple[Filter, Cursor]]:
        for following in self.by_key.values():
            follower = following.follower
            if follower.filter is not None and follower.opened:
                yield follower.filter, follower.position

    # --- for the writer

    def share(self, follower: Follower, position: Cursor) -> Share:
        """Say how a follower is written to beside others. It holds until the next await.

        Args:
            follower: one that is behind.
            position: up to where was just read for it.
        """
        if self._told is None:
            return ALONE
        mine: list[Following] = []
        others: list[Following] = []
        for following in self.on(follower.channel):
            (mine if following.follower is follower else others).append(following)
        told = self._told.get(follower.channel)
        subs = [following.sub for following in mine if following.sub is not None]
        if not subs:
            return ALONE._replace(before=[]) if others and told != [] else ALONE
        live = [other for other in others if _has_the_way(other, told or [])]
        leads = [other.sub for other in live if other.sub is not None]
        if any(other.sub is None for other in others):
            return Share(subs, [] if told != [] else None, [], False, True, None)
        if not live:
            return Share(subs, None, subs, told != subs, False, None)
        # A name that was used before may be among those that were told last.
        before = leads if not follower.opened and told is not None and not set(subs).isdisjoint(told) else None
        lead = live[0].follower
        # Where the lead was not written the present round yet, it stands before `flushed`.
        if lead.position == position and follower.would_be_live(position) and _are_alike(lead, follower):
            return Share(subs, before, [*leads, *subs], True, True, lead)
        return Share(subs, before, leads, False, True, None)

    def tell(self, channel: str, share: Share, announces: bool) -> None:
        """Take note whom the client was told that what stands in no bracket is for.

        Args:
            channel: of which it is.
            share: what was told first, and whom ``live`` would name.
            announces: whether that was said, too.
        """
        named = share.live if announces and share.live is not None else share.before
        if self._told is not None and named is not None:
            self._told[channel] = named

    def merge(self, follower: Follower, into: Follower) -> None:
        """Have a follower's subscriptions served by another one of its channel, which stands where it stands."""
        for following in self.by_key.values():
            if following.follower is follower:
                following.follower = into


def _has_the_way(following: Following, told: list[str]) -> bool:
    """Whether it is live, or was told to be and waits for the outlet alone: else two at the head would take the way
    from each other again and again."""
    follower = following.follower
    waits = follower.announced and follower.would_be_live(follower.position)
    return follower.state is State.LIVE or (waits and following.sub in told)


def _are_alike(one: Follower, other: Follower) -> bool:
    """Whether their clients get the same, from the same place."""
    if one.policy != other.policy:
        return False
    if one.filter is None or other.filter is None:
        return one.filter is other.filter
    return one.filter.asks_as(other.filter)
