"""A client's end of a connection, which is read when its client likes to."""

from __future__ import annotations

from typing import Any, Protocol

import trio

from triolet.testing.network import ClientEnd

__all__ = ["Gate", "SilenceError"]


class Patient(Protocol):
    """Whose end it is. See Player."""

    pause: float

    @property
    def patience(self) -> float:
        """Seconds of silence after which it takes the connection for lost."""

    async def until(self, name: str) -> None:
        """Wait until a time of its own."""


class SilenceError(Exception):
    """Nothing was heard for longer than a client waits."""


class Gate(ClientEnd):
    """A connection's end whose client reads when it likes to, and waits no longer than it does."""

    def __init__(self, end: ClientEnd, player: Patient) -> None:
        super().__init__(end.network, end.connection)
        self._player = player

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self._player.until("stalled_until")
        if self._player.pause:
            await trio.sleep(self._player.pause)
        with trio.move_on_after(self._player.patience):
            return await super().receive_some(max_bytes)
        raise SilenceError

    async def send_all(self, data: Any) -> None:
        with trio.move_on_after(self._player.patience):
            return await super().send_all(data)
        raise SilenceError
