"""WebSockets by websockets, where a program has that already: ``open_client(…, websocket="websockets")``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.trio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from .bounds import CLIENT_GOODBYE_SECONDS, CLIENT_MESSAGE_BYTES
from .errors import Ended
from .socket import PROTOCOL, Socket, closed, rejected, text_of

__all__ = ["open_one"]


class _Opened:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> str:
        try:
            return text_of(await self._connection.recv())
        except ConnectionClosed as error:
            raise _ended(error) from None

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise _ended(error) from None


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
    opening = connect(
        f"ws://{authority}{target}",  # TLS is put upon the stream already
        stream=stream,
        subprotocols=[Subprotocol(PROTOCOL)],
        compression=None,
        additional_headers=headers,
        user_agent_header=None,
        proxy=None,
        open_timeout=None,
        ping_interval=None,
        close_timeout=CLIENT_GOODBYE_SECONDS,
        max_size=CLIENT_MESSAGE_BYTES,
    )
    try:
        connection = await opening.connect(nursery)
    except (InvalidStatus, InvalidURI, ValueError) as error:
        # To be redirected the library would open another connection, which it cannot: of that it speaks in place of the
        # answer, which is no more than the context of its error.
        refused = error if isinstance(error, InvalidStatus) else error.__context__
        if not isinstance(refused, InvalidStatus):
            raise
        answer = refused.response
        given = {name.lower(): text for name, text in answer.headers.raw_items()}
        raise rejected(answer.status_code, given, bytes(answer.body or b"")) from None
    except ConnectionClosed:
        raise Ended("the connection ended before the WebSocket was open") from None
    except (InvalidHandshake, EOFError) as error:
        raise Ended(f"no WebSocket: {error}"[:200], "bad answer", blames=True) from None
    try:
        yield _Opened(connection)
    finally:
        if heard():
            with trio.move_on_after(CLIENT_GOODBYE_SECONDS, shield=True):  # the server may be gone
                await connection.aclose()


def _ended(error: ConnectionClosed) -> Ended:
    said = error.rcvd or error.sent  # ours, where the library has found what it does not take
    return closed(None, "the connection ended") if said is None else closed(said.code, said.reason)
