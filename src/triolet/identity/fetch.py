"""Fetches a set of keys by URL, without blocking the loop.

By httpx, and not by urllib in a thread: a cancel scope ends it at any point (name, connection, TLS, each byte), where a
thread would be held by a server that sends a byte now and then.
"""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx
import trio

from .bounds import JWKS_BYTES, JWKS_REDIRECTS, JWKS_SECONDS
from .keys import BadKeys

__all__ = ["HttpFetch"]

_PORTS: Final = {"https": 443, "http": 80}
_HEAD: Final = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}


class HttpFetch:
    """Fetches by https, with httpx: proxies and a certificate authority of one's own as it reads them from the
    environment (``HTTPS_PROXY``, ``SSL_CERT_FILE``).

    It can be called from any number of Trio's runs.
    """

    __slots__ = ("_tls",)

    def __init__(self) -> None:
        self._tls: ssl.SSLContext = httpx.create_ssl_context()  # once: it reads a file of some 200 kB

    async def __call__(self, url: str) -> bytes:
        """Return the body of an answer of 200.

        Raises:
            BadKeys: another status, a redirect to another host, or more than ``JWKS_BYTES``.
            httpx.HTTPError: the server is not reached, or its certificate is not good.

        Bounds: ``JWKS_SECONDS`` for each wait (the caller bounds all of it), ``JWKS_REDIRECTS``.

        Cancellation: the connection is closed; nothing else is lost.
        """
        start, redirects = urlsplit(url), 0
        environment = start.scheme == "https"  # no proxy stands before the loopback
        async with httpx.AsyncClient(verify=self._tls, trust_env=environment, timeout=JWKS_SECONDS) as client:
            while True:
                # Not decompressed: a few kilobytes could then be gigabytes, before any of it is counted.
                async with client.stream("GET", url, headers=_HEAD) as answer:
                    if not answer.has_redirect_location:
                        return await _body(answer)
                    url, redirects = urljoin(url, answer.headers["location"]), redirects + 1
                if redirects > JWKS_REDIRECTS:
                    raise BadKeys(f"it redirects more than {JWKS_REDIRECTS} times")
                if _origin(urlsplit(url)) != _origin(start):
                    raise BadKeys("it redirects to another host")


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    try:
        return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
    except ValueError:
        return "", None, None


async def _body(answer: httpx.Response) -> bytes:
    if answer.status_code != httpx.codes.OK:
        raise BadKeys(f"it answers {answer.status_code}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise BadKeys("it answers compressed, which it was not asked for")
    body = bytearray()
    with trio.CancelScope() as enough:
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > JWKS_BYTES:
                enough.cancel()  # where the next bytes are waited for: to leave the loop here would leave it unclosed
    if len(body) > JWKS_BYTES:
        raise BadKeys(f"it answers more than {JWKS_BYTES} bytes")
    return bytes(body)
