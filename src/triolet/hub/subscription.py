"""A subscription: what a client asks to follow, as one value that goes from the request or handler to the follower."""

from __future__ import annotations

import msgspec

from ..event import Cursor
from ..presence.members import Member
from .policies import Policy

__all__ = ["Subscription"]


class Subscription(msgspec.Struct, frozen=True):
    """A channel to follow, and how.

    Attributes:
        channel: its name.
        after: the cursor to go on from; None is "from now".
        url: the URL that was followed, as the client wrote it; None where it followed no URL.
        policy: what happens when the client stays behind; None is the app's.
        member: the member that the client is to the others in the channel; None if it is not present as one.
        recheck: within how many seconds the view is asked again; None is never.
    """

    channel: str
    after: Cursor | None = None
    url: str | None = None
    policy: Policy | None = None
    member: Member | None = None
    recheck: float | None = None
