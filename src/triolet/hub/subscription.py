"""A subscription: what a client asks to follow, as one value that goes from the request or handler to the follower."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from ..errors import ConfigError
from ..event import Cursor
from ..presence.members import Member
from .filter import Allow
from .policies import Policy
from .snapshots import Source

__all__ = ["Subscription", "check_allow", "key_of"]


class Subscription(msgspec.Struct, frozen=True):
    """A channel to follow, and how.

    Attributes:
        channel: its name.
        after: the cursor to go on from; None is "from now".
        url: the URL that was followed, as the client wrote it; None where it followed no URL.
        policy: what happens when the client stays behind; None is the app's.
        member: the member that the client is to the others in the channel; None if it is not present as one.
        recheck: within how many seconds the view is asked again; None is never.
        allow: whether the client may see an event; None: all of them. It must have passed :func:`check_allow`. What a
            gap says to be missed counts all events, also those that the client could not have seen; only one of reason
            ``conflated`` counts those that it could.
        snapshot: where the channel's state comes from, if the client has asked for it: it is given to one that asks
            without a cursor, or has lost events.
        folds: whether the client has asked for what it missed with all events folded that go together.
        sub: what its client calls it, among those of its connection; None where it has no name but its channel.
    """

    channel: str
    after: Cursor | None = None
    url: str | None = None
    policy: Policy | None = None
    member: Member | None = None
    recheck: float | None = None
    allow: Allow | None = None
    snapshot: Source | None = None
    folds: bool = False
    sub: str | None = None

    @property
    def key(self) -> str:
        """Under which it is known on its connection: its channel, or what :func:`key_of` makes of its ``sub``."""
        return self.channel if self.sub is None else key_of(self.sub)


def key_of(sub: str) -> str:
    """Return under which key a subscription is known that its client has named: no channel is called so."""
    return f"\0{sub}"


def check_allow(allow: Any) -> None:
    """Check, where a route is made, that a function can say which events a client may see.

    Raises:
        ConfigError: the app's fault; it is no function, or one that has to be awaited, and nobody would.
    """
    if not callable(allow):
        raise ConfigError(f"allow= must be a function that returns True or False, not {allow!r:.80}")
    # Of an object, what is called: it may be async.
    if any(is_one(it) for it in (allow, type(allow).__call__) for is_one in _AWAITED):
        raise ConfigError(
            "allow= must be an ordinary function and no coroutine: it is asked about each event while that is written "
            "to all. Look up before, in the view or in identify, what it needs to know"
        )


_AWAITED = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
