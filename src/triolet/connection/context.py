"""The context: what all connections of a process share."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from ..bounds import RECHECKS_AT_ONCE
from ..budget import Budget
from ..closing import Closing
from ..counters import Metrics
from ..hub import Hub, Policy
from ..identity import Control, Deadlines, Revocations
from ..limits import Limits
from ..presence.presence import Presence
from ..sockets.turn import Turn
from ..sync.home import Home
from ..sync.timer import Timer
from .registry import Registry

__all__ = ["Context"]


class Context(msgspec.Struct, frozen=True):
    """What all connections of a process share.

    Attributes:
        hub: gives events to followers.
        limits: the app's bounds and timeouts.
        budget: counts the bytes that are held for clients.
        draining: set when the server shuts down gracefully, and wants every client to leave.
        random: draws when clients come back, and when they hear their first heartbeat. Tests seed it.
        now: the wall clock, in seconds since 1970.
        registry: the connections that are open, and those that ended lately.
        policy: the app's, for followers that bring none of their own.
        metrics: the counters of the process.
        timer: calls the heartbeats, and wakes the rechecks.
        presence: keeps which members are present; None where presence is not kept.
        control: tells all processes of one log of identities; None where there are none.
        home: the run of Trio in which all of this lives.
        revocations: what was revoked lately, and the polls that it may end.
        rechecking: has a place for each view that may be asked again at the same moment.
        long_polls: those that wait. A server that drains gives each a deadline.
    """

    hub: Hub
    limits: Limits
    budget: Budget
    draining: trio.Event
    random: random.Random
    now: Callable[[], float]
    registry: Registry[Any, Any] = msgspec.field(default_factory=Registry)
    policy: Policy | None = None
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    timer: Timer = msgspec.field(default_factory=Timer)
    presence: Presence | None = None
    control: Control | None = None
    home: Home = msgspec.field(default_factory=Home)
    revocations: Revocations = msgspec.field(default_factory=Revocations)
    rechecking: trio.Semaphore = msgspec.field(default_factory=lambda: trio.Semaphore(RECHECKS_AT_ONCE))
    long_polls: dict[trio.CancelScope, None] = msgspec.field(default_factory=dict)

    @property
    def deadlines(self) -> Deadlines:
        """When connections expire. The hub has them, since it is asked before each of its rounds."""
        return self.hub.deadlines

    @property
    def turn(self) -> Turn:
        """The turn of the event loop. The hub has it, since it is ended before each of its rounds."""
        return self.hub.turn

    def retry(self, closing: Closing) -> int | None:
        """Draw after how many milliseconds a client that ends for this reason comes back; None: not by itself."""
        # Drawn for each client, so that a server's restart does not bring all of them back in the same moment.
        return None if closing.retry is None else self.random.randint(*closing.retry)
