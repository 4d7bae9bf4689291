"""Triolet: live updates on Trio.

What a user types is here:

- ``Triolet``: the extension for a Quart-Trio app
- ``Limits``: every bound and timeout
- ``Connection``: what a ``live.socket`` handler is given
- ``Event``, ``Cursor``, ``Draft``, ``Gap``: what is published and followed
- ``EventLog``: the contract of a log of your own
- the errors, each a ``TrioletError``
"""

from .connection import Connection
from .errors import (
    ChannelNameError,
    ConfigError,
    ConnectionEnded,
    CursorError,
    DataError,
    LogBroken,
    LogBusy,
    LogError,
    LogFull,
    NotServingError,
    TrioletError,
)
from .event import Cursor, Draft, Event, Gap
from .extension import Triolet
from .limits import Limits
from .log import EventLog

__all__ = [
    "ChannelNameError",
    "ConfigError",
    "Connection",
    "ConnectionEnded",
    "Cursor",
    "CursorError",
    "DataError",
    "Draft",
    "Event",
    "EventLog",
    "Gap",
    "Limits",
    "LogBroken",
    "LogBusy",
    "LogError",
    "LogFull",
    "NotServingError",
    "Triolet",
    "TrioletError",
]
