"""One client's connection to a proxy: its requests passed on one by one, and what the server answers passed back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11
import trio

from ..budget import Budget
from ..sockets.stream import ClientStream
from .network import ClientEnd, MemoryLink
from .reach import Reach

__all__ = ["Manner", "Relay"]

PROXY_ADDRESS = "192.0.2.2"
"""Where the server sees requests come from."""

BODY_BYTES = 1 << 20
"""The longest body of a request; nginx's default."""

HEAD_BYTES = 32 << 10
PIECE = 4 << 10
"""A client that takes so much has not been idle."""

ONE_HOP = {
    b"connection",
    b"expect",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
"""Headers that concern one connection only (RFC 9110, 7.6.1)."""

FORWARDED = {b"content-length", b"x-forwarded-for", b"x-forwarded-proto"}
"""Headers that we write ourselves."""

Headers = list[tuple[bytes, bytes]]
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


@dataclass(frozen=True)
class Manner:
    """How a proxy behaves; ``buffer_bytes`` is 0 where it does not buffer. See :func:`triolet.testing.proxy`."""

    idle_timeout: float
    buffer_bytes: int
    blocks_upgrade: bool
    strips_upgrade: bool
    ignores_accel: bool


class ServerError(Exception):
    """The server did not answer as it should.

    Attributes:
        status: what a client is told that was told nothing yet.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Relay:
    """A client's connection, from its first request to its end."""

    def __init__(self, server: Reach, manner: Manner, link: MemoryLink) -> None:
        self._server = server
        self._manner = manner
        self._link = link
        self._stream = ClientStream(link, Budget(1 << 30))
        self._client = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._kept: bytearray | None = None
        self._watch = trio.CancelScope()
        self._unwatched = trio.Event()

    async def run(self) -> None:
        """Serve it to its end."""
        try:
            while (asked := await self._next_request()) is not None:
                await self._answer(*asked)
                if (self._client.our_state, self._client.their_state) != (h11.DONE, h11.DONE):
                    break
                self._client.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
        except GONE:
            pass
        finally:
            self._link.close()

    # --- the client's side

    async def _next_request(self) -> tuple[h11.Request, bytes] | None:
        """A whole request with its body; None where no more comes."""
        request: h11.Request | None = None
        body = b""
        while True:
            event = await self._client_event()
            if isinstance(event, h11.Request):
                request = event
                if self._client.they_are_waiting_for_100_continue:
                    await self._tell(h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES:
                    await self._refuse(413)
                    return None
            elif request is not None and isinstance(event, h11.EndOfMessage):
                return request, body
            else:
                return None

    async def _client_event(self) -> Any:
        while (event := self._client.next_event()) is h11.NEED_DATA:
            with trio.fail_after(self._manner.idle_timeout):
                self._client.receive_data(await self._stream.receive_some())
        return event

    async def _tell(self, *events: Any) -> None:
        """Send a client something, or keep it back."""
        data = b"".join(self._client.send(event) or b"" for event in events)
        if self._kept is not None:
            self._kept += data
            if len(self._kept) < self._manner.buffer_bytes:
                return
            data = bytes(self._kept)
            self._kept.clear()
        await self._send(data)

    async def _let_go(self) -> None:
        """Send what was kept back."""
        if self._kept is not None:
            kept, self._kept = bytes(self._kept), None
            await self._send(kept)

    async def _send(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            with trio.fail_after(self._manner.idle_timeout):
                await self._stream.send_all(data[start : start + PIECE])

    async def _refuse(self, status: int) -> None:
        """Answer for ourselves, where an answer has not begun, and close."""
        if self._client.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{status} {HTTPStatus(status).phrase}\n".encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        response = h11.Response(status_code=status, headers=headers)
        with suppress(*GONE):
            await self._tell(response, h11.Data(data=body), h11.EndOfMessage())

    # --- one request

    async def _answer(self, request: h11.Request, body: bytes) -> None:
        """Ask the server, for as long as the client stays, and tell the client what it says."""
        upgrade = dict(request.headers).get(b"upgrade")
        if upgrade and self._manner.blocks_upgrade:
            await self._refuse(400)
            return
        asked = self._forwarded(request, len(body), None if self._manner.strips_upgrade else upgrade)
        end = self._server.connect(address=PROXY_ADDRESS)
        failure: Exception | None = None
        self._watch = trio.CancelScope()
        self._unwatched = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_client, nursery.cancel_scope)
            try:
                await self._exchange(end, asked, body)
            except (ServerError, *GONE) as error:
                failure = error
            finally:
                end.close()
                nursery.cancel_scope.cancel()
        if isinstance(failure, ServerError):
            await self._let_go()
            await self._refuse(failure.status)
        elif failure is not None:
            raise failure

    async def _watch_client(self, exchange: trio.CancelScope) -> None:
        """Give a request up whose client goes. What comes before the answer has ended is the next request."""
        try:
            with self._watch:
                while len(self._client.trailing_data[0]) < HEAD_BYTES:
                    data = await self._stream.receive_some()
                    if not data:
                        exchange.cancel()
                    self._client.receive_data(data)
        except trio.BrokenResourceError:
            exchange.cancel()
        finally:
            self._unwatched.set()

    def _forwarded(self, request: h11.Request, length: int, upgrade: bytes | None) -> h11.Request:
        headers = [(name, value) for name, value in _beyond(request.headers) if name not in FORWARDED]
        passed_by = [value for name, value in request.headers if name == b"x-forwarded-for"]
        if not any(name == b"host" for name, _ in headers):
            headers.append((b"host", b"upstream"))  # HTTP/1.0 needs none
        if length or request.method in (b"POST", b"PUT", b"PATCH"):
            headers.append((b"content-length", b"%d" % length))
        headers.append((b"x-forwarded-for", b", ".join([*passed_by, self._link.getpeername()[0].encode()])))
        headers.append((b"x-forwarded-proto", b"http"))
        if upgrade is None:
            headers.append((b"connection", b"close"))
        else:
            headers += [(b"connection", b"upgrade"), (b"upgrade", upgrade)]
        return h11.Request(method=request.method, target=request.target, headers=headers)

    async def _exchange(self, end: ClientEnd, asked: h11.Request, body: bytes) -> None:
        server = h11.Connection(h11.CLIENT)
        events = [asked, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()]
        try:
            with trio.fail_after(self._manner.idle_timeout):
                await end.send_all(b"".join(server.send(event) or b"" for event in events))
        except trio.TooSlowError:
            raise ServerError(504) from None
        except trio.BrokenResourceError:
            raise ServerError(502) from None
        head = await self._server_event(end, server)
        while isinstance(head, h11.InformationalResponse) and head.status_code != 101:
            head = await self._server_event(end, server)
        if isinstance(head, h11.InformationalResponse):
            await self._tunnel(end, head, server.trailing_data[0])
        else:
            await self._pass_on(end, server, head)

    async def _server_event(self, end: ClientEnd, server: h11.Connection) -> Any:
        try:
            while (event := server.next_event()) is h11.NEED_DATA:
                server.receive_data(await self._from_server(end))
        except trio.TooSlowError:
            raise ServerError(504) from None
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            raise ServerError(502) from None
        if isinstance(event, h11.ConnectionClosed):
            raise ServerError(502)
        return event

    async def _from_server(self, end: ClientEnd) -> bytes:
        with trio.fail_after(self._manner.idle_timeout):
            return await end.receive_some()

    async def _pass_on(self, end: ClientEnd, server: h11.Connection, head: h11.Response) -> None:
        headers = _beyond(head.headers)
        if self._manner.buffer_bytes:
            unbuffered = (b"x-accel-buffering", b"no") in [(name, value.lower()) for name, value in headers]
            if self._manner.ignores_accel or not unbuffered:
                self._kept = bytearray()
        await self._tell(h11.Response(status_code=head.status_code, headers=headers, reason=head.reason))
        while isinstance(event := await self._server_event(end, server), h11.Data):
            await self._tell(h11.Data(data=event.data))
        await self._tell(h11.EndOfMessage())
        await self._let_go()

    async def _tunnel(self, end: ClientEnd, head: h11.InformationalResponse, first: bytes) -> None:
        """Pass on whatever comes, until one side ends, or the server has sent nothing for too long."""
        self._watch.cancel()
        await self._unwatched.wait()
        switch = h11.InformationalResponse(status_code=101, headers=head.headers, reason=head.reason)
        await self._send((self._client.send(switch) or b"") + first)
        async with trio.open_nursery() as nursery:

            async def up() -> None:
                with suppress(*GONE):
                    await end.send_all(self._client.trailing_data[0])
                    while data := await self._stream.receive_some():
                        await end.send_all(data)
                nursery.cancel_scope.cancel()

            async def down() -> None:
                with suppress(*GONE):
                    while data := await self._from_server(end):
                        await self._send(data)
                nursery.cancel_scope.cancel()

            nursery.start_soon(up)
            nursery.start_soon(down)


def _beyond(headers: Any) -> Headers:
    """Those that concern more than one hop."""
    found: Headers = [(bytes(name), bytes(value)) for name, value in headers]
    named = {one.strip().lower() for name, value in found if name == b"connection" for one in value.split(b",")}
    return [(name, value) for name, value in found if name not in ONE_HOP | named]
