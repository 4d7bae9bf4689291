"""Everything that Triolet raises, by whose fault it is.

::

    TrioletError
    ├── LocalError            the app's fault: fix the call
    │   ├── ConfigError         a setting that cannot work (also a ValueError)
    │   ├── DataError           not a JSON value, or a name out of bounds (also a ValueError)
    │   ├── ChannelNameError    a name no channel can have (also a ValueError)
    │   ├── WrongThreadError    called from another thread or event loop than the app's (also a RuntimeError)
    │   ├── ChannelEnded        published to a channel that has ended
    │   ├── RunError            a run cannot begin on this channel
    │   ├── NotServingError     used before the server started, or after it ended
    │   └── UnknownConnectionError  no connection of this number is open or remembered (also a LookupError)
    ├── RemoteError           the client's fault: carries the Closing it is to be sent
    │   ├── CursorError         a cursor of no known form: 400
    │   └── BadRequest          HTTP that cannot be served (wire/http_head.py)
    ├── BadToken              the client's credential is no good: 401, or 503 where it cannot be checked now
    ├── AskError              a request on a channel's URL that is refused (transports/negotiate.py)
    ├── LogError              the store's fault: no listener heard of the event
    │   ├── LogFull             no room on the disk, or in the memory of Redis
    │   ├── LogBusy             locked by another for longer than the bound
    │   ├── LogAway             cannot be reached for longer than the bound; an append is surely not stored
    │   ├── LogUncertain        went away during an append, which may be stored: repeat it with the same dedupe
    │   └── LogBroken           not readable as a log of ours
    ├── ClientError           what a program follows will not come (triolet.client, which has it)
    └── ConnectionEnded       the client is gone or was given up: carries the Closing
"""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Callable
from functools import partial
from inspect import unwrap
from typing import Any, Final

import trio

from .closing import BAD_MESSAGE, Closing

__all__ = [
    "PASSING",
    "BadToken",
    "ChannelEnded",
    "ChannelNameError",
    "ConfigError",
    "ConnectionEnded",
    "CursorError",
    "DataError",
    "ForeignError",
    "LocalError",
    "LogAway",
    "LogBroken",
    "LogBusy",
    "LogError",
    "LogFull",
    "LogUncertain",
    "NotServingError",
    "RemoteError",
    "RunError",
    "SnapshotError",
    "TrioletError",
    "UnknownConnectionError",
    "WrongThreadError",
    "first_of",
    "innermost",
    "is_own",
    "named",
    "only_exceptions",
    "own_place",
    "printable",
    "printable_json",
    "repr_of",
    "str_of",
    "where",
]

MESSAGE_CHARACTERS: Final = 300
"""Of an error's message in a log line: enough for what a person wrote, and not for a page of data."""

BAD_TOKENS: Final = (
    "algorithm",
    "audience",
    "claims",
    "expired",
    "issuer",
    "key",
    "keys_away",
    "malformed",
    "signature",
    "ticket",
)
"""What can be wrong with a token. ``keys_away`` is no fault of the client's: the keys to check it cannot be had now."""

_TURNING: Final = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CODES: Final = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *_TURNING)
"""Control characters, the other line ends, and what turns the direction of writing."""
_ESCAPES: Final = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CODES}
_ESCAPES.update({ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"})
_CONTROLS: Final = re.compile("[" + "".join(f"\\u{code:04x}" for code in _CODES) + "\ud800-\udfff]")
_ESCAPES.update({code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)})  # no text at all, and no stream takes them

_NOT_OWN: Final = (
    os.path.dirname(__file__) + os.sep,
    "<",  # made up, or frozen
    *{path + os.sep for name, path in sysconfig.get_paths().items() if name in ("stdlib", "platstdlib")},
)
"""Where the files lie that are not the app's: ours, the standard library's, and what was installed."""

PASSING: Final = (trio.Cancelled, KeyboardInterrupt, SystemExit)
"""What is no error of whose code it comes out of, but Trio's or the interpreter's own."""


class TrioletError(Exception):
    """The root of all errors that Triolet raises. They can be pickled and copied, whatever they are made of."""

    def __reduce__(self) -> tuple[Callable[..., TrioletError], tuple[Any, ...]]:
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(kind: type[TrioletError], args: tuple[Any, ...], fields: dict[str, Any]) -> TrioletError:
    error = kind.__new__(kind, *args)  # past __init__, which may want something else than the message
    error.__dict__.update(fields)
    return error


class LocalError(TrioletError):
    """The app's fault: it did something that cannot work."""


class ConfigError(LocalError, ValueError):
    """A setting cannot work; the message says which and what would."""


class DataError(LocalError, ValueError):
    """Published data is not a JSON value, or a name, key or dedupe is out of bounds."""


class ChannelNameError(LocalError, ValueError):
    """No channel can have this name."""

    def __init__(self, name: object, advice: str) -> None:
        super().__init__(f"{repr_of(name, 80)} cannot name a channel: {advice}")


class ChannelEnded(LocalError):
    """The channel has ended, so nothing can be appended to it; nothing was stored.

    Attributes:
        channel: its name.
    """

    def __init__(self, channel: str) -> None:
        super().__init__(
            f"the channel {channel!r:.80} has ended: nothing comes after its end. Publish to another one, or delete "
            "this one first"
        )
        self.channel = channel


class WrongThreadError(LocalError, RuntimeError):
    """A coroutine of the app's was called from another thread, or in another event loop, than the app runs in."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} was called from another thread or event loop than the one it lives in; nothing was done. Await it "
            "in a task of the app's. In a view or function that is not `async`, call "
            "trio.from_thread.run(live.publish, …) (from a thread that Trio did not start, with trio_token=); code "
            "that has no Trio publishes by a triolet.SyncPublisher"
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


class SnapshotError(LocalError):
    """The app's fault: there is no snapshot of a channel, because what makes it failed."""

    def __init__(self, channel: str, why: str) -> None:
        super().__init__(f"there is no snapshot of the channel {channel!r:.80}: {why}")


class RunError(LocalError):
    """The app's fault: no run can begin on the channel; nothing of it was stored.

    Attributes:
        channel: its name.
    """

    def __init__(self, channel: str, why: str) -> None:
        super().__init__(f"no run can begin on the channel {channel!r:.80}: {why}")
        self.channel = channel


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


class BadToken(TrioletError):
    """A client's credential is not accepted. Nothing of it stands in the error.

    Attributes:
        kind: one of :data:`BAD_TOKENS`, by which it is counted. The client hears only whether it has expired.
    """

    def __init__(self, kind: str) -> None:
        if kind not in BAD_TOKENS:
            raise ValueError(f"{kind!r:.80} is no kind of bad token: {', '.join(BAD_TOKENS)}")
        super().__init__(f"a token is not accepted: {kind}")
        self.kind = kind


class LogError(TrioletError):
    """The store's fault. An append that raised this is not stored, and no listener heard of it; but see
    LogUncertain."""


class LogFull(LogError):
    """The store has no room left for the event: on the disk, or in the memory of Redis."""


class LogBusy(LogError):
    """Something has locked the store for longer than ``limits.lock_seconds``: another process, or a transaction of the
    app's own in the log's file. The message says which, where that is known."""


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


def where(error: BaseException, *, with_message: bool = True) -> str:
    """Say what was raised, where, and with what message, for a log line.

    The place is the innermost line of the app's own, if it is the app that raised, or called what did; else the
    innermost of all. The message is bounded, and control characters in it are escaped: a client may have had a part
    in it.
    """
    if isinstance(error, BaseExceptionGroup):
        return " + ".join(where(part, with_message=with_message) for part in error.exceptions)
    frames = traceback.extract_tb(error.__traceback__)
    place = own_place(error) or (_place(frames[-1]) if frames else "")
    message = printable(str_of(error)) if with_message else ""
    return f"{type(error).__name__}{f' at {place}' if place else ''}{f': {message}' if message else ''}"


def own_place(error: BaseException) -> str:
    """The innermost line of the app's own that an error came through, as ``file.py:12``; empty where there is none."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if is_own(frame.filename)]
    return _place(own[-1]) if own else ""


def named(function: Any) -> str:
    """What a function of the app's is called, and where it stands: ``order_events (shop.py:12)``."""
    while isinstance(function, partial):
        function = function.func
    function = unwrap(function)
    name = getattr(function, "__name__", type(function).__name__)
    code = getattr(function, "__code__", None)
    return name if code is None else f"{name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"


def is_own(file: str) -> bool:
    """Whether a source file is the app's own: not ours, not the standard library's, not installed."""
    return not file.startswith(_NOT_OWN) and not {"site-packages", "dist-packages"} & set(file.split(os.sep))


def str_of(error: BaseException) -> str:
    """An error's message, also where saying it fails."""
    try:
        return str(error)
    except Exception as second:
        return f"<no message: {type(second).__name__}>"


def repr_of(value: object, most: int = 60) -> str:
    """What a value of the app's looks like, in short, also where saying it fails."""
    try:
        return f"{value!r:.{most}}"
    except Exception as error:
        return f"<{type(value).__name__}, of which repr() raises {type(error).__name__}>"


def printable(text: str, most: int = MESSAGE_CHARACTERS) -> str:
    """A text as a part of one line: bounded, with what a terminal or a reader of lines would act on escaped."""
    short = text if len(text) <= most else f"{text[:most]}…"
    return short.translate(_ESCAPES) if _CONTROLS.search(short) else short


def printable_json(json: str) -> str:
    """The same of JSON, which stays what it says: what is escaped can only stand in its texts."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def _place(frame: traceback.FrameSummary) -> str:
    return f"{os.path.basename(frame.filename)}:{frame.lineno}"


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group, out of all groups that it is in."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def innermost(error: BaseException) -> BaseException:
    """The error of a group of one, and of the groups in it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class ForeignError(Exception):
    """An app's code raised what is no Exception, and neither Trio's nor the interpreter's own. Its cause is that."""


class only_exceptions:
    """Let only Exceptions out of an app's code, and what is Trio's or the interpreter's own (a cancellation, Ctrl-C).

    Libraries that were written for asyncio raise its ``CancelledError``, which is no Exception: past every ``except
    Exception`` between a view and the top it would end the server.

    Raises:
        ForeignError: instead of such a one, and from where that was raised.
    """

    # No generator: each command passes three of them.

    __slots__ = ()

    def __enter__(self) -> None:
        """Let them out from here on."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Raise what may not go out as what may."""
        if error is None or isinstance(error, (*PASSING, Exception)):
            return
        passing = error.split(PASSING)[0] if isinstance(error, BaseExceptionGroup) else None
        if passing is not None:
            raise passing from None
        raise ForeignError(type(error).__name__).with_traceback(error.__traceback__) from error
