"""One WebSocket over a stream that we have dialled: by trio-websocket, or by websockets. The one file that knows
either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, cast

import trio

from ..bounds import CLIENT_GOODBYE_SECONDS, CLIENT_MESSAGE_BYTES
from ..errors import ConfigError, first_of
from .errors import FINAL_CODES, Ended
from .heard import kind_of
from .http import Answer, refusal

__all__ = ["Socket", "check_library", "open_socket"]

PROTOCOL: Final = "triolet.1"
NOT_IMPLEMENTED: Final = (501, 505)
"""Statuses of 5xx that say something of the way, and not of the moment."""


class Socket(Protocol):
    """A WebSocket that is open."""

    async def receive(self) -> str:
        """The next message. Raises Ended."""

    async def send(self, text: str) -> None:
        """Send a message. Raises Ended."""


class _Sheltered:
    """A nursery's face for a library: what it starts outlives a cancellation, so that it hears the answer to our close
    frame. It is ended by :meth:`end`, at the latest ``CLIENT_GOODBYE_SECONDS`` after that."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: list[trio.CancelScope] = []

    def start_soon(self, call: Callable[..., Any], *args: Any, name: object = None) -> None:
        scope = trio.CancelScope(shield=True)
        self._scopes.append(scope)
        self._nursery.start_soon(self._run, scope, call, args, name=name or call)

    def end(self) -> None:
        for scope in self._scopes:
            scope.cancel()

    async def _run(self, scope: trio.CancelScope, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        with scope:
            await call(*args)


@asynccontextmanager
async def open_socket(
    library: str,
    stream: trio.abc.Stream,
    authority: str,
    target: str,
    headers: dict[str, str],
    heard: Callable[[], bool],
) -> AsyncIterator[Socket]:
    """Open a WebSocket, and say goodbye at the end of the block, if that may be ``heard``.

    Raises:
        Ended: it is refused, or it ends within the block; with what was said about coming back.
    """
    try:
        async with trio.open_nursery() as nursery:
            sheltered = _Sheltered(nursery)
            try:
                make = LIBRARIES[library]
                async with make(cast(trio.Nursery, sheltered), stream, authority, target, headers, heard) as socket:
                    yield socket
            finally:
                sheltered.end()
                await trio.aclose_forcefully(stream)
    except BaseExceptionGroup as group:
        _, errors = group.split(trio.Cancelled)
        await trio.lowlevel.checkpoint_if_cancelled()
        raise (group if errors is None else first_of(errors)) from None


def _closed(code: int | None, reason: str | None) -> Ended:
    final = code in FINAL_CODES
    return Ended(reason or f"closed {code}", kind_of(code) if final else "network", code=code, **_never(final))


def _never(final: bool) -> dict[str, Any]:
    return {"retry": None} if final else {}


def _rejected(status: int, headers: dict[str, str], body: bytes) -> Ended:
    """The upgrade was answered with another status: by the app, or by what stands before it."""
    ended = refusal(Answer(status, headers, body))
    ended.blames = status < 500 or status in NOT_IMPLEMENTED
    return ended


# --- trio-websocket


@asynccontextmanager
async def _trio_websocket(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    authority: str,
    target: str,
    headers: dict[str, str],
    heard: Callable[[], bool],
) -> AsyncIterator[Socket]:
    import trio_websocket
    from wsproto.utilities import ProtocolError

    class Opened:
        async def receive(self) -> str:
            try:
                return _text(await connection.get_message())
            except trio_websocket.ConnectionClosed as error:
                raise closed(error) from None

        async def send(self, text: str) -> None:
            try:
                await connection.send_message(text)
            except trio_websocket.ConnectionClosed as error:
                raise closed(error) from None
            except ProtocolError:  # it was closed meanwhile
                raise Ended("the connection ended") from None

    def closed(error: trio_websocket.ConnectionClosed) -> Ended:
        reason = error.reason
        return _closed(None, "the connection ended") if reason is None else _closed(reason.code, reason.reason)

    class Reading:
        """The nursery in which its reader runs: what that raises, it raises for us."""

        def start_soon(self, call: Callable[..., Any], *args: Any) -> None:
            nursery.start_soon(run, call)

    opened = False

    async def run(call: Callable[..., Any]) -> None:
        try:
            await call()
            if not opened:  # which it leaves us to find out
                raise Ended("the connection ended before the WebSocket was open")
        except trio_websocket.ConnectionRejected as error:
            given = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in error.headers}
            raise _rejected(error.status_code, given, bytes(error.body or b"")) from None
        except (trio_websocket.HandshakeError, ProtocolError, trio_websocket.ConnectionClosed) as error:
            raise Ended(f"no WebSocket: {error}"[:200], "bad answer", blames=True) from None

    connection = await trio_websocket.wrap_client_stream(
        cast(trio.Nursery, Reading()),
        cast(trio.SocketStream, stream),
        authority,
        target,
        subprotocols=[PROTOCOL],
        extra_headers=[(name.encode(), text.encode("latin-1")) for name, text in headers.items()],
        max_message_size=CLIENT_MESSAGE_BYTES,
        receive_buffer_size=None,
    )
    opened = True
    try:
        yield Opened()
    finally:
        if heard():
            with trio.move_on_after(CLIENT_GOODBYE_SECONDS, shield=True):
                await connection.aclose()


# --- websockets


@asynccontextmanager
async def _websockets(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    authority: str,
    target: str,
    headers: dict[str, str],
    heard: Callable[[], bool],
) -> AsyncIterator[Socket]:
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
    from websockets.trio.client import connect
    from websockets.typing import Subprotocol

    class Opened:
        async def receive(self) -> str:
            try:
                return _text(await connection.recv())
            except ConnectionClosed as error:
                raise closed(error) from None

        async def send(self, text: str) -> None:
            try:
                await connection.send(text)
            except ConnectionClosed as error:
                raise closed(error) from None

    def closed(error: ConnectionClosed) -> Ended:
        return _closed(1006, None) if error.rcvd is None else _closed(error.rcvd.code, error.rcvd.reason)

    try:
        connection = await connect(
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
        ).connect(nursery)
    except InvalidStatus as error:
        answer = error.response
        given = {name.lower(): text for name, text in answer.headers.raw_items()}
        raise _rejected(answer.status_code, given, bytes(answer.body or b"")) from None
    except (InvalidHandshake, EOFError) as error:
        raise Ended(f"no WebSocket: {error}"[:200], "bad answer", blames=True) from None
    try:
        yield Opened()
    finally:
        if heard():
            with trio.move_on_after(CLIENT_GOODBYE_SECONDS, shield=True):
                await connection.aclose()


def _text(message: str | bytes) -> str:
    if isinstance(message, str):
        return message
    raise Ended("a binary message", "bad answer")


Maker = Callable[..., AbstractAsyncContextManager[Socket]]

LIBRARIES: Final[dict[str, Maker]] = {"trio-websocket": _trio_websocket, "websockets": _websockets}


def check_library(name: str) -> str:
    """Return the name of a library that there is. Raises ConfigError."""
    if name not in LIBRARIES:
        raise ConfigError(f"websocket={name!r:.60}: one of {', '.join(LIBRARIES)}")
    return name
