"""WebSockets by trio-websocket, the default."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import h11
import trio
import trio_websocket
from wsproto.utilities import ProtocolError

from .bounds import CLIENT_GOODBYE_SECONDS, CLIENT_MESSAGE_BYTES
from .errors import Ended
from .socket import PROTOCOL, Socket, closed, rejected, text_of

__all__ = ["open_one"]


class _Opened:
    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self._connection = connection

    async def receive(self) -> str:
        try:
            return text_of(await self._connection.get_message())
        except trio_websocket.ConnectionClosed as error:
            raise _ended(error) from None

    async def send(self, text: str) -> None:
        try:
            await self._connection.send_message(text)
        except trio_websocket.ConnectionClosed as error:
            raise _ended(error) from None
        except ProtocolError:  # it was closed meanwhile
            raise Ended("the connection ended") from None


class _Reading:
    """A nursery's face for the library: what its reader raises, it raises for us."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.opened = False

    def start_soon(self, call: Callable[..., Any], *args: Any) -> None:
        self._nursery.start_soon(self._run, call, name=call)

    async def _run(self, call: Callable[..., Any]) -> None:
        try:
            await call()
            if not self.opened:  # which the library leaves us to find out
                raise Ended("the connection ended before the WebSocket was open")
        except trio_websocket.ConnectionRejected as error:
            given = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in error.headers}
            raise rejected(error.status_code, given, bytes(error.body or b"")) from None
        # Of an answer that is no HTTP, or no upgrade, the library tells the server, and falls over that: h11's error.
        except (
            trio_websocket.HandshakeError,
            trio_websocket.ConnectionClosed,
            ProtocolError,
            h11.ProtocolError,
        ) as error:
            raise Ended(f"no WebSocket: {error}"[:200], "bad answer", blames=True) from None


@asynccontextmanager
async def open_one(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    authority: str,
    target: str,
    headers: dict[str, str],
    heard: Callable[[], bool],
) -> AsyncIterator[Socket]:
    """Open one on a stream; close it at the end of the block, if that may be ``heard``. Raises Ended."""
    reading = _Reading(nursery)
    connection = await trio_websocket.wrap_client_stream(
        cast(trio.Nursery, reading),
        cast(trio.SocketStream, stream),
        authority,
        target,
        subprotocols=[PROTOCOL],
        extra_headers=[(name.encode(), text.encode("latin-1")) for name, text in headers.items()],
        max_message_size=CLIENT_MESSAGE_BYTES,
        receive_buffer_size=None,
    )
    reading.opened = True
    try:
        yield _Opened(connection)
    finally:
        if heard():
            with trio.move_on_after(CLIENT_GOODBYE_SECONDS, shield=True):  # the server may be gone
                await connection.aclose()


def _ended(error: trio_websocket.ConnectionClosed) -> Ended:
    reason = error.reason
    return closed(None, "the connection ended") if reason is None else closed(reason.code, reason.reason)
