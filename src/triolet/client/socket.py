"""What one WebSocket is to us, whichever library speaks it; and what its refusals and closings mean."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, Protocol

from ..errors import printable
from .errors import FINAL_CODES, Ended
from .heard import kind_of
from .http import Answer, refusal

__all__ = ["PROTOCOL", "Socket", "closed", "rejected", "text_of"]

PROTOCOL: Final = "triolet.1"

_OF_THE_WAY: Final = (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
"""Statuses of 5xx that say something of the way, and not of the moment."""


class Socket(Protocol):
    """A WebSocket that is open."""

    async def receive(self) -> str:
        """The next message. Raises Ended."""

    async def send(self, text: str) -> None:
        """Send a message. Raises Ended."""


def closed(code: int | None, reason: str | None) -> Ended:
    """What a close frame says, where no bye came before it."""
    reason = printable(reason or "")
    if code not in FINAL_CODES:
        return Ended(reason or f"closed {code}", code=code)
    kind: Any = kind_of(code)
    return Ended(reason or f"closed {code}", kind, retry=None, code=code)


def rejected(status: int, headers: dict[str, str], body: bytes) -> Ended:
    """The upgrade was answered with another status: by the app, or by what stands before it."""
    ended = refusal(Answer(status, headers, body))
    ended.blames = status < HTTPStatus.INTERNAL_SERVER_ERROR or status in _OF_THE_WAY
    return ended


def text_of(message: str | bytes) -> str:
    """A message's text. Raises Ended."""
    if isinstance(message, str):
        return message
    raise Ended("a binary message", "bad answer")
