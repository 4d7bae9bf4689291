"""Take away what only Linux has, as far as Triolet uses it: what is left is what one process has on macOS.

``TRIOLET_WITHOUT_LINUX=1 pytest tests examples --ignore tests/e2e`` runs the suite so (``make test-without-linux``).
"""

from __future__ import annotations

import ctypes
import socket
from typing import Any

import trio  # noqa: F401  # before anything is taken away: it looks through the socket module once, when it is imported

__all__ = ["take_away"]

OPTIONS = ("SO_REUSEPORT", "TCP_USER_TIMEOUT", "TCP_NOTSENT_LOWAT")


class _Library:
    """The C library, in which there is no inotify."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._library = _CDLL(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("inotify"):
            raise AttributeError(name)
        return getattr(self._library, name)


_CDLL = ctypes.CDLL


def take_away() -> None:
    """Do it, before anything of Triolet is imported."""
    for name in OPTIONS:
        if hasattr(socket, name):
            delattr(socket, name)
    ctypes.CDLL = _Library  # type: ignore[misc, assignment]  # for those that look it up from now on
