"""What a request on a channel's URL asks for: the part all four transports share."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from ..errors import CursorError, TrioletError
from ..event import Cursor
from ..limits import Limits

__all__ = [
    "Ask",
    "AskError",
    "Headers",
    "Scope",
    "TransportKind",
    "header",
    "parse_after",
    "parse_ask",
]

Scope: TypeAlias = "dict[str, Any]"
Headers: TypeAlias = "list[tuple[bytes, bytes]]"


class TransportKind(Enum):
    """Which transport a request asks for."""

    WEBSOCKET = "websocket"
    SSE = "sse"
    LONG_POLL = "long poll"
    SHORT_POLL = "short poll"


class AskError(TrioletError):
    """The request is refused: ``status``, and for the client a word that says what was wrong, and a sentence."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"error": self.error, "message": str(self)})


class Ask(msgspec.Struct, frozen=True):
    """What a request asks for: a transport, the cursor to go on from (None: from now), seconds to wait."""

    transport: TransportKind
    after: Cursor | None
    wait: float = 0


def parse_ask(scope: Scope, limits: Limits, *, upgrade: bool = False) -> Ask:
    """Negotiate: one URL, four transports.

    ``Accept: text/event-stream`` asks for SSE, ``?wait=`` for a long poll. The cursor is the ``Last-Event-ID``
    header's (a browser that comes back sends it), else that of ``?after=``.

    Raises:
        AskError: 400; the cursor or the wait has no known form.
    """
    query = _query(scope)
    after = _after(header(scope, b"last-event-id"), query)
    if upgrade:
        return Ask(TransportKind.WEBSOCKET, after)
    if _accepts_event_stream(scope):
        return Ask(TransportKind.SSE, after)
    wait = _wait(query["wait"], limits) if "wait" in query else 0
    if wait:
        return Ask(TransportKind.LONG_POLL, after, wait)
    return Ask(TransportKind.SHORT_POLL, after)


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of a name, as text."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def _query(scope: Scope) -> dict[str, str]:
    """The query's first values. What is not UTF-8 is replaced, and refused later where it matters."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return dict(reversed(pairs))


def parse_after(scope: Scope) -> Cursor | None:
    """The cursor that a URL asks to follow after, if it does. Raises CursorError."""
    text = _query(scope).get("after")
    return Cursor.parse(text) if text else None


def _after(last_event_id: str | None, query: dict[str, str]) -> Cursor | None:
    text = last_event_id or query.get("after")
    if not text:
        return None
    try:
        return Cursor.parse(text)
    except CursorError as error:
        raise AskError(400, "cursor", str(error)) from None


def _wait(text: str, limits: Limits) -> float:
    if not text:
        return limits.wait_seconds
    if len(text) <= 8 and text.replace(".", "", 1).isdecimal() and text.isascii():
        return min(float(text), limits.wait_seconds)
    raise AskError(400, "wait", f"wait is a number of seconds, at most {limits.wait_seconds:g}, not {text!r:.40}")


def _accepts_event_stream(scope: Scope) -> bool:
    return any(name == b"accept" and b"text/event-stream" in value.lower() for name, value in scope["headers"])
