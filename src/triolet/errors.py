"""Everything that Triolet raises, by whose fault it is.

::

    TrioletError
    ├── LocalError            the app's fault: fix the call
    │   ├── ConfigError         a setting that cannot work (also a ValueError)
    │   ├── DataError           not a JSON value, or a name out of bounds (also a ValueError)
    │   ├── ChannelNameError    a name no channel can have (also a ValueError)
    │   ├── WrongThreadError    called from another thread or event loop than the app's (also a RuntimeError)
    │   ├── NotServingError     used before the server started, or after it ended
    │   └── UnknownConnectionError  no connection of this number is open or remembered (also a LookupError)
    ├── RemoteError           the client's fault: carries the Closing it is to be sent
    │   ├── CursorError         a cursor of no known form: 400
    │   └── BadRequest          HTTP that cannot be served (wire/http_head.py)
    ├── AskError              a request on a channel's URL that is refused (transports/negotiate.py)
    ├── LogError              the store's fault: no listener heard of the event
    │   ├── LogFull             no room on the disk, or in the memory of Redis
    │   ├── LogBusy             locked by another for longer than the bound
    │   ├── LogAway             cannot be reached for longer than the bound; an append is surely not stored
    │   ├── LogUncertain        went away during an append, which may be stored: repeat it with the same dedupe
    │   └── LogBroken           not readable as a log of ours
    └── ConnectionEnded       the client is gone or was given up: carries the Closing
"""

from __future__ import annotations

import traceback

from .closing import BAD_MESSAGE, Closing

__all__ = [
    "ChannelNameError",
    "ConfigError",
    "ConnectionEnded",
    "CursorError",
    "DataError",
    "LocalError",
    "LogAway",
    "LogBroken",
    "LogBusy",
    "LogError",
    "LogFull",
    "LogUncertain",
    "NotServingError",
    "RemoteError",
    "TrioletError",
    "UnknownConnectionError",
    "WrongThreadError",
    "first_of",
    "where",
]


class TrioletError(Exception):
    """The root of all errors that Triolet raises."""


class LocalError(TrioletError):
    """The app's fault: it did something that cannot work."""


class ConfigError(LocalError, ValueError):
    """A setting cannot work; the message says which and what would."""


class DataError(LocalError, ValueError):
    """Published data is not a JSON value, or a name, key or dedupe is out of bounds."""


class ChannelNameError(LocalError, ValueError):
    """No channel can have this name."""

    def __init__(self, name: object, advice: str) -> None:
        super().__init__(f"{name!r:.80} cannot name a channel: {advice}")


class WrongThreadError(LocalError, RuntimeError):
    """A coroutine of the app's was called from another thread, or in another event loop, than the app runs in."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} was called from another thread or event loop than the one it lives in; nothing was done. Await it "
            "in a task of the app's. In a view or function that is not `async`, call "
            "trio.from_thread.run(live.publish, …) (from a thread that Trio did not start, with trio_token=)"
        )


class NotServingError(LocalError):
    """The log is not open: the server has not started, or has ended."""


class UnknownConnectionError(LocalError, LookupError):
    """The app's fault: no connection with this number is open, and none of the last that ended had it."""

    def __init__(self, conn_id: int, remembered: int) -> None:
        super().__init__(
            f"no connection {conn_id!r:.40} is open in this process, and it is none of the last {remembered} that "
            "ended: ask with conn.id, or with an id of live.connections()"
        )


class RemoteError(TrioletError):
    """The client's fault: it broke a rule.

    Attributes:
        closing: what the client is to be told. The message of the error is for the server's log, and never sent.
    """

    def __init__(self, closing: Closing, message: str = "") -> None:
        super().__init__(message or closing.reason)
        self.closing = closing


class CursorError(RemoteError):
    """The client's fault: the text is no cursor. It is answered with 400, or in band where the status is long sent."""

    def __init__(self, text: str) -> None:
        super().__init__(
            BAD_MESSAGE,
            f"{text!r:.80} is no cursor: send what the last event's id was, as '<epoch>.<offset>' or '<offset>'",
        )


class LogError(TrioletError):
    """The store's fault. An append that raised this is not stored, and no listener heard of it; but see
    LogUncertain."""


class LogFull(LogError):
    """The store has no room left for the event: on the disk, or in the memory of Redis."""


class LogBusy(LogError):
    """Another process has locked the store for longer than ``limits.lock_seconds``."""


class LogAway(LogError):
    """The store cannot be reached for longer than the bound. An event that was to be appended is surely not stored."""


class LogUncertain(LogError):
    """The store went away during an append, for longer than the bound: the event may be in the log, or come to be in
    it. A repeat with the same ``dedupe`` is safe; without one it may store the event twice."""


class LogBroken(LogError):
    """What is stored there is not a log of Triolet's, or is damaged."""


class ConnectionEnded(TrioletError):
    """The client is gone, or the server has given it up.

    Attributes:
        closing: why.
    """

    def __init__(self, closing: Closing) -> None:
        super().__init__(f"the connection has ended: {closing.code} {closing.reason}")
        self.closing = closing


def where(error: BaseException) -> str:
    """Return what was raised and where, for a log line: types, files and lines, and nothing that a client sent.

    Messages of errors are left out, because they may quote the client: a log line must hold no data of users.
    """
    if isinstance(error, BaseExceptionGroup):
        return " + ".join(where(part) for part in error.exceptions)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group, out of all groups that it is in."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
