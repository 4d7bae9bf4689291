"""HTTP, by httpx: event streams, polls, commands and renewals."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, cast

import httpcore
import httpx
import msgspec
import trio

from ..closing import EXPIRED, REVOKED
from ..errors import ConfigError, printable
from ..wire.address import is_loopback, quoted
from .bounds import CLIENT_PAGE_BYTES
from .dial import Dial, secure
from .errors import Ended

__all__ = ["BROKEN", "Answer", "Http", "refusal", "usual_tls"]

BROKEN: Final = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    httpx.HTTPError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
)
"""What a connection that is lost, or was never had, raises."""

_PASSING: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
"""Statuses below 500 that asking again may change; any other 4xx is an answer."""

_CLOSINGS: Final[dict[str, int]] = {closing.reason: closing.code for closing in (EXPIRED, REVOKED)}
"""Closings that an answer can name too, in its ``error``."""

Headers = dict[str, str]


class Answer:
    """The answer to a request.

    Attributes:
        status: of HTTP.
        headers: by name in lower case.
        body: not more than ``CLIENT_PAGE_BYTES``.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def retry_after(self) -> float | None:
        """Seconds until it wants to be asked again; None where it does not say."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdecimal() and text.isascii() and 0 < len(text) < 10 and int(text) else None

    @property
    def is_html(self) -> bool:
        """Whether it is a page for people."""
        return self.headers.get("content-type", "").lower().startswith(("text/html", "application/xhtml"))

    def json(self) -> Any:
        """The body's value; None where it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None


def usual_tls() -> ssl.SSLContext:
    """What certificates are checked with where a program says nothing of it."""
    return httpx.create_ssl_context()


def refusal(answer: Answer) -> Ended:
    """Why an answer is not what was asked for, and whether to ask again."""
    status = answer.status
    if 300 <= status < 400:
        where = answer.headers.get("location", "?")
        return Ended(
            f"HTTP {status}, a redirect to {quoted(where)} in place of the channel: log in?",
            "login",
            retry=None,
            status=status,
        )
    if status < 300:
        if answer.is_html:
            what = f"HTTP {status}, a page in HTML in place of the channel: log in?"
            return Ended(what, "login", retry=None, status=status)
        kind = answer.headers.get("content-type", "no type")
        final = status != 200
        retry: Any = None if final else "backoff"
        return Ended(f"HTTP {status}, {kind:.80}: no channel", "bad answer", retry=retry, status=status, blames=True)
    said = answer.json() if status in (400, 401, 403) else None
    error = said.get("error") if isinstance(said, dict) else None
    error = None if error is None else printable(str(error))
    code = _CLOSINGS.get(error or "")
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PASSING:
        usual = "expired" if status == HTTPStatus.UNAUTHORIZED else "refused"
        kind_: Any = usual if code is None else error
        what = f"HTTP {status}" if error is None else f"HTTP {status}, {error}"
        return Ended(what, kind_, retry=None, status=status, error=error, code=code)
    return Ended(f"HTTP {status}", retry=answer.retry_after or "backoff", status=status)


class Http:
    """Requests to one server, on connections that are kept for the next one.

    Args:
        host: the server's.
        tls: what TLS is checked with.
        dial: a network of one's own; None: TCP, and the environment's proxies.
        keeps_cookies: whether a cookie that the server sets comes with the next request. It must not where the requests
            are of different clients.

    Raises:
        ConfigError: the environment names a proxy that cannot be used.
    """

    def __init__(self, host: str, tls: ssl.SSLContext | bool, dial: Dial | None, *, keeps_cookies: bool = True) -> None:
        transport = None if dial is None else _DialTransport(dial, tls)
        try:
            self._client = httpx.AsyncClient(
                verify=tls,
                transport=transport,
                cookies=None if keeps_cookies else CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                trust_env=dial is None and not is_loopback(host),
                timeout=None,  # silence is looked after for all transports alike
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=8),
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:  # a scheme whose library is not there, or no URL
            # Of which a message may quote a part, and that be of its password.
            why = str(error) if isinstance(error, ImportError) else "it is no URL as http://proxy:3128"
            raise ConfigError(f"a proxy of the environment (HTTPS_PROXY, ALL_PROXY) cannot be used: {why}") from None
        self._client.headers.clear()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def ask(self, method: str, url: str, headers: Headers, body: bytes | None = None) -> Answer:
        """Ask, and return the whole answer.

        Raises:
            Ended: the answer is too long.
            OSError, httpx.HTTPError: nobody is there (see :data:`BROKEN`).
        """
        async with self.stream(method, url, headers, body) as (answer, chunks):
            whole = bytearray()
            async for chunk in chunks:
                whole += chunk
                if len(whole) > CLIENT_PAGE_BYTES:
                    raise Ended(f"an answer of more than {CLIENT_PAGE_BYTES} bytes", "bad answer", retry=None)
            answer.body = bytes(whole)
            return answer

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Headers, body: bytes | None = None
    ) -> AsyncIterator[tuple[Answer, AsyncIterator[bytes]]]:
        """Ask, and read the answer as it comes. Raises as :meth:`ask`."""
        # Not decompressed: a few kilobytes could then be gigabytes, before any of it is counted.
        asked = {"accept-encoding": "identity", "user-agent": "triolet", **headers}
        request = self._client.build_request(method, url, headers=asked, content=body)
        request.stream = _Whole(body or b"")
        response = await self._client.send(request, stream=True)
        try:
            given = {name.lower(): text for name, text in response.headers.items()}
            async with aclosing(cast(AsyncGenerator[bytes], response.aiter_raw())) as chunks:
                try:
                    yield Answer(response.status_code, given), chunks
                finally:
                    await _finish(chunks)
        finally:
            await response.aclose()


class _Whole(httpx.AsyncByteStream):
    """A request's body, for one request. httpx has a generator for it, of which is warned where it is left unfinished,
    as it is when a request is cancelled.
    """

    def __init__(self, body: bytes) -> None:
        self._left = [body]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


async def _finish(chunks: AsyncIterator[bytes]) -> None:
    """End httpx's generators from inside, where the next bytes are waited for: left unfinished, they are only warned
    of.
    """
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            async for _ in chunks:
                pass
        except (*BROKEN, httpx.StreamError):
            pass


class _DialTransport(httpx.AsyncBaseTransport):
    """Requests over connections that somebody else opens."""

    def __init__(self, dial: Dial, tls: ssl.SSLContext | bool) -> None:
        context = tls if isinstance(tls, ssl.SSLContext) else None
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=None, max_keepalive_connections=8, network_backend=_Backend(dial)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        asked = httpcore.Request(
            method=request.method,
            url=target,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        answer = await self._pool.handle_async_request(asked)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert not isinstance(self._answer.stream, Iterable)
        async for part in self._answer.stream:
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._dial(host, port))

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await secure(self._stream, server_hostname or "", ssl_context))

    def get_extra_info(self, info: str) -> Any:
        return None
