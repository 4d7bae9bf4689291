"""Triolet: live updates on Trio.

What a user types is here:

- ``Triolet``: the extension for a Quart-Trio app
- ``SyncPublisher``: publishes from code without Trio: Flask, Django, Celery, threads, notebooks
- ``Limits``: every bound and timeout; ``Keep``: how much of some channels is kept
- ``Connection``: what a ``live.socket`` handler is given
- ``policies``: what happens when a client stays behind
- ``Reducer``: makes a channel's state of its events, for clients that come late
- ``Run``: a stream that outlives its readers, of ``live.run``
- ``Event``, ``Cursor``, ``Draft``, ``Gap``, ``Live``: what is published and followed; ``Feed``: what ``live.follow`` is
- ``Member``, ``Roster``: who is present, of ``live.presence(channel)``
- ``Command``: what a view of ``@live.command`` is given
- ``Identity``: who a client is, of ``@live.identify``; ``JWT``: a ready function for it
- ``EventLog``: the contract of a log of your own
- ``Statistics``, ``ConnectionSnapshot``, ``Explanation``: what ``live.statistics()``, ``live.connections()`` and
  ``live.explain(conn)`` give
- the errors, each a ``TrioletError``
"""

# The rooms, from the bottom up. A file imports from its own room or from a lower storey.
#
#   closing, errors, bounds, value, event, pattern, limits, clock, budget, counters  1
#   sync/  wire/                                               2
#   log/  sockets/                                             3
#   sqlite/  redis/  presence/  identity/  client/             4
#   hub/  http/  probe/  plan/                                 5
#   connection/  server/  runs/                                6
#   transports/  monitoring/  admin/                           7
#   app/  workers/                                             8
#   standalone/                                                9
#   cli  testing/  the face                                   10

from .app.command import Command
from .app.extension import Triolet
from .app.sync_publisher import SyncPublisher
from .connection import Connection
from .errors import (
    BadToken,
    ChannelEnded,
    ChannelNameError,
    ConfigError,
    ConnectionEnded,
    CursorError,
    DataError,
    LogAway,
    LogBroken,
    LogBusy,
    LogError,
    LogFull,
    LogUncertain,
    NotServingError,
    RunError,
    SnapshotError,
    TrioletError,
    UnknownConnectionError,
    WrongThreadError,
)
from .event import Cursor, Draft, Event, Gap, Live
from .hub import Feed, Reducer, policies
from .identity import JWT, Identity
from .limits import Keep, Limits
from .log import EventLog
from .monitoring.explain import Explanation
from .monitoring.snapshot import ConnectionSnapshot
from .monitoring.statistics import Statistics
from .presence.members import Member, Roster
from .runs import Run

__all__ = [
    "JWT",
    "BadToken",
    "ChannelEnded",
    "ChannelNameError",
    "Command",
    "ConfigError",
    "Connection",
    "ConnectionEnded",
    "ConnectionSnapshot",
    "Cursor",
    "CursorError",
    "DataError",
    "Draft",
    "Event",
    "EventLog",
    "Explanation",
    "Feed",
    "Gap",
    "Identity",
    "Keep",
    "Limits",
    "Live",
    "LogAway",
    "LogBroken",
    "LogBusy",
    "LogError",
    "LogFull",
    "LogUncertain",
    "Member",
    "NotServingError",
    "Reducer",
    "Roster",
    "Run",
    "RunError",
    "SnapshotError",
    "Statistics",
    "SyncPublisher",
    "Triolet",
    "TrioletError",
    "UnknownConnectionError",
    "WrongThreadError",
    "policies",
]
