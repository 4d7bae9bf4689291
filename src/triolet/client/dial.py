"""Connections: the one place that opens them, which a test replaces by its own network."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import h11
import trio

from ..bounds import READ_BYTES
from ..wire.address import is_loopback
from .errors import Ended

__all__ = ["Dial", "dial_tcp", "secure", "through_proxy"]

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a connection to a host and port, without TLS: that is put upon it."""


async def dial_tcp(host: str, port: int) -> trio.abc.Stream:
    """Connect by TCP. Raises OSError."""
    return await trio.open_tcp_stream(host, port)


async def through_proxy(host: str, port: int, *, tls: bool) -> trio.abc.Stream:
    """Connect as the environment says: directly, or through the proxy of ``HTTPS_PROXY``, ``HTTP_PROXY`` and
    ``ALL_PROXY``, but for hosts of ``NO_PROXY``, by CONNECT (RFC 9110, section 9.3.6).

    Raises:
        OSError: nobody is there.
        Ended: the proxy does not connect.
    """
    proxies = getproxies()
    proxy = proxies.get("https" if tls else "http") or proxies.get("all")
    if not proxy or is_loopback(host) or proxy_bypass(host):
        return await dial_tcp(host, port)
    try:
        parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # which quotes a part of it
        raise Ended("the environment's proxy is no URL, as http://proxy:3128", retry=None, blames=True) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Ended(f"a proxy {parts.scheme}:// is not known here: http:// or https://", retry=None, blames=True)
    stream = await dial_tcp(parts.hostname, port)
    try:
        if parts.scheme == "https":
            stream = await secure(stream, parts.hostname, ssl.create_default_context())
        await _connect(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", parts.username, parts.password)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def secure(stream: trio.abc.Stream, host: str, context: ssl.SSLContext) -> trio.abc.Stream:
    """Put TLS upon a connection. Raises ssl.SSLError, in trio.BrokenResourceError."""
    secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    await secured.do_handshake()
    return secured


async def _connect(stream: trio.abc.Stream, authority: str, user: str | None, password: str | None) -> None:
    headers = [("Host", authority)]
    if user is not None:
        pair = f"{unquote(user)}:{unquote(password or '')}"
        headers.append(("Proxy-Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    proxy = h11.Connection(h11.CLIENT)
    await stream.send_all(proxy.send(h11.Request(method="CONNECT", target=authority, headers=headers)) or b"")
    try:
        while (event := proxy.next_event()) is h11.NEED_DATA:
            proxy.receive_data(bytes(await stream.receive_some(READ_BYTES)))
    except h11.RemoteProtocolError as error:
        raise Ended(f"the proxy does not connect to {authority}: {error}") from None
    if not isinstance(event, h11.Response) or event.status_code != HTTPStatus.OK:
        said = event.status_code if isinstance(event, h11.Response) else "no answer"
        raise Ended(f"the proxy does not connect to {authority}: {said}")
