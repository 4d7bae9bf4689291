"""Whether a client behind Hypercorn's protocol code is still there: it is pinged, and must be heard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..limits import Limits
from .bounds import KEEPALIVE_PHASES

__all__ = ["Keepalive"]


class Keepalive:
    """Pings one client every ``limits.beat_seconds``, and finds that it was silent for ``limits.silence_seconds``.

    What answers a ping is the protocol's: a pong (RFC 6455), or a PING of HTTP/2 with ACK (RFC 9113 section 6.7). A
    client that has frozen cannot, while its kernel goes on taking what is sent, for hours.

    Args:
        limits: of which these two seconds are taken.
        ping: sends a ping. It may wait for the client's kernel, within a bound of its own.
        excused: whether nothing is expected of the client now, because nothing of it is read, or it has asked for
            nothing. It is not pinged then, and its silence begins anew.
        client: its address, as ASGI has it.
        caught_up: waits until all that has come of the client is used: its answer may be there.
    """

    __slots__ = (
        "_beat_seconds",
        "_caught_up",
        "_excused",
        "_heard_at",
        "_phase",
        "_ping",
        "_running",
        "_silence_seconds",
    )

    def __init__(
        self,
        limits: Limits,
        ping: Callable[[], Awaitable[None]],
        excused: Callable[[], bool],
        client: Any,
        caught_up: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self._phase = client[1] % KEEPALIVE_PHASES if client else 0
        self._beat_seconds = limits.beat_seconds
        self._silence_seconds = limits.silence_seconds
        self._ping = ping
        self._excused = excused
        self._caught_up = caught_up
        self._heard_at = 0.0
        self._running = trio.CancelScope()

    def heard(self) -> None:
        """Something came from the client, whatever it was."""
        self._heard_at = trio.current_time()

    def stop(self) -> None:
        """The client needs no watching any more; :meth:`run` returns."""
        self._running.cancel()

    async def run(self) -> bool:
        """Ping until the client is found silent, and return True; False once it was stopped.

        Cancellation: it is pinged no more.
        """
        with self._running:
            self.heard()
            due = self._heard_at + self._beat_seconds * (1 + self._phase / KEEPALIVE_PHASES) / 2
            while True:
                wakes_at = min(due, self._heard_at + self._silence_seconds)
                await trio.sleep_until(wakes_at)
                now = trio.current_time()
                await trio.lowlevel.checkpoint()  # what has come by now is read first
                # A process that is late, as one is that stood still, has asked its client nothing meanwhile.
                self._heard_at = min(now, self._heard_at + now - wakes_at)
                if now >= self._heard_at + self._silence_seconds:
                    await self._caught_up()
                excused = self._excused()
                if excused:
                    self.heard()
                elif now >= self._heard_at + self._silence_seconds:
                    return True
                if now >= due:
                    due = now + self._beat_seconds
                    if not excused:
                        await self._ping()
        return False
