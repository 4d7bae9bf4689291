"""What a client sends behind the head of a request that is answered straight on its stream."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NoReturn, Self

import trio

from ..bounds import READ_AHEAD_BYTES, READ_BYTES
from ..budget import Account
from .stream import ClientStream

__all__ = ["Incoming"]


class Incoming:
    """The body of a request, and what its client says ahead of the answer. A context manager, for as long as it counts.

    To read on is also how the end of a client is noticed: by the task that waits for something else anyway, which is
    cancelled when that comes. No task of its own is needed.

    Args:
        stream: the client's.
        ahead: what came with the head.
        size: bytes of the body.

    Bounds: the body, and ``READ_AHEAD_BYTES`` and one read behind it. They count in the budget, and the client may be
    given up for them.

    Attributes:
        ahead: what came behind the request: the next ones, which are looked at when this one is answered.
        left: bytes of the body that have not come.
        stream: the client's.
    """

    __slots__ = ("_account", "_given_up", "_told", "ahead", "left", "stream")

    def __init__(self, stream: ClientStream, ahead: bytes, size: int = 0) -> None:
        self.stream = stream
        self.ahead = ahead
        self.left = size
        self._account: Account | None = None  # mostly nothing is held
        self._given_up: trio.Event | None = None
        self._told = False

    def __enter__(self) -> Self:
        self._hold(len(self.ahead))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.let_go()

    def let_go(self) -> None:
        """Nothing that has come is wanted any more."""
        self.ahead = b""
        if self._account is not None:
            self._account.close()
            self._account = None

    async def receive(self) -> dict[str, Any]:
        """Return the next part of the body, or wait for the client's end: ASGI's ``receive``.

        Cancellation: nothing is lost.
        """
        try:
            if self._told and not self.left:
                await self.watch()
            if self.left and not self.ahead:
                await self._read()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return {"type": "http.disconnect"}
        self._told = True
        piece, self.ahead = self.ahead[: self.left], self.ahead[self.left :]
        self.left -= len(piece)
        return {"type": "http.request", "body": piece, "more_body": self.left > 0}

    async def watch(self) -> NoReturn:
        """Wait until the client has gone, or is given up. While it has sent too much ahead its end is not seen: its
        kernel holds it back.

        Raises:
            BrokenResourceError: it has gone.

        Cancellation: nothing is lost.
        """
        while len(self.ahead) < READ_AHEAD_BYTES:
            await self._read()
        self._given_up = trio.Event()
        await self._given_up.wait()
        raise trio.BrokenResourceError("the client was given up")

    async def _read(self) -> None:
        data = await self.stream.receive_some(READ_BYTES)
        if not data:
            raise trio.BrokenResourceError("the client has ended")
        self._hold(len(data))
        self.ahead = self.ahead + data if self.ahead else bytes(data)

    def _hold(self, more: int) -> None:
        if more:
            if self._account is None:
                self._account = self.stream.outlet.budget.open_account(self._give_up)
            self._account.hold(more)

    def _give_up(self) -> None:
        self.stream.abort()
        if self._given_up is not None:
            self._given_up.set()
