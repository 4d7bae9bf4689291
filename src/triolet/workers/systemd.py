"""What a service says to systemd, and how often it says that it lives: sd_notify(3), without its library."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import MutableMapping
from typing import Final

import trio

from .bounds import WATCHDOG_BEATS

__all__ = ["Notifier", "count"]

logger = logging.getLogger("triolet.supervisor")

MOST_DIGITS: Final = 20
"""Of a number in the environment, where systemd has 64 bits."""


def count(text: str) -> int:
    """A number of systemd's in the environment; 0 where it is none."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else 0


class Notifier:
    """Tells systemd; where the service was not started by it, tells nobody.

    Args:
        address: ``NOTIFY_SOCKET``, a path or, with an ``@`` before it, an abstract name.
        watchdog_seconds: after which systemd takes a service for dead that gives no sign of life.
    """

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_seconds = watchdog_seconds
        self._unheard = False

    @classmethod
    def of(cls, environment: MutableMapping[str, str], pid: int) -> Notifier:
        """The one of the environment. It is taken out: what the process starts is not to speak for it."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", str(pid)) == str(pid)
        watched = meant and (number := count(microseconds)) > 0
        return cls(address, number / 1e6 if watched else None)

    def ready(self) -> None:
        """The service serves, or serves again."""
        self._say("READY=1")

    def reloading(self) -> None:
        """It is being made anew; :meth:`ready` ends that."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It ends."""
        self._say("STOPPING=1")

    async def keep_alive(self) -> None:
        """Give signs of life until cancelled: an event loop that turns no longer gives none."""
        if self._watchdog_seconds is None or not self._address:
            return
        while True:
            self._say("WATCHDOG=1")
            await trio.sleep(self._watchdog_seconds / WATCHDOG_BEATS)

    def _say(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.setblocking(False)
                line.sendto(text.encode(), self._address)
            self._unheard = False
        except OSError as error:
            if not self._unheard:  # once: signs of life come again and again
                shown = self._address.replace("\0", "@")
                why = error.strerror or error
                logger.warning("systemd is not told %s over NOTIFY_SOCKET=%s: %s", text.split("\n")[0], shown, why)
            self._unheard = True
