"""Where things are: a base, and the URLs that are seen from it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from ..errors import ConfigError, repr_of
from .client_address import read_address

__all__ = ["Base", "is_loopback", "quoted", "without_secrets"]

_PORTS: Final = {"http": 80, "https": 443}
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_KEPT: Final = "/%:@!$&'()*+,;=-._~"
"""Characters of a path that stay as they are (RFC 3986, section 3.3); ``%`` since what is escaped is not to be
escaped again.
"""


_SHOWN: Final = frozenset({"after", "done", "fold", "format", "snapshot", "synchronous", "wait"})
"""Parameters of a URL's query whose values are no secrets: Triolet's own. Of another nobody knows that."""
_BLANK: Final = re.compile("[\0-\x20\x7f\ud800-\udfff]")
"""What stands in no URL: blanks, controls, and halves of a character."""


class Base:
    """The origin of a server, and the path below which its URLs are.

    Args:
        base: ``https://shop.example``, or with a path that a proxy puts before, ``https://example.org/shop``.

    Attributes:
        host, port, tls: where to connect.
        authority: for the header ``Host``.

    Raises:
        ConfigError: this is no such URL.
    """

    def __init__(self, base: str) -> None:
        wrong = ConfigError(f"{quoted(base)} is no base: it is as https://shop.example, or https://example.org/shop")
        if not isinstance(base, str) or _BLANK.search(base):
            raise wrong
        try:
            parts = urlsplit(base)
            scheme, port, host = _SCHEMES.get(parts.scheme), parts.port, _in_ascii(parts.hostname or "")
        except ValueError:  # a port or a host that is none
            raise wrong from None
        if scheme is None or not host or port == 0 or parts.query or parts.fragment or parts.username is not None:
            raise wrong
        self.tls = scheme == "https"
        self.host: str = host
        self.port: int = port or _PORTS[scheme]
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = shown if self.port == _PORTS[scheme] else f"{shown}:{self.port}"
        self._origin = f"{scheme}://{self.authority}"
        self._prefix = parts.path.rstrip("/")

    def __str__(self) -> str:
        return self._origin + self._prefix

    def target(self, url: str, **query: str | None) -> str:
        """The path and query to ask for, of a URL seen from the base: ``/orders/A123/events``.

        Args:
            url: it.
            query: what is asked besides, in place of what the URL says of the same name; None is nothing.

        Raises:
            ConfigError: it is no URL, or one of another origin, which the credentials are not for.
        """
        wrong = ConfigError(f"{quoted(url)} is no URL of {self}")
        if not isinstance(url, str) or _BLANK.search(url):
            raise wrong
        try:
            parts = urlsplit(url)
        except ValueError:
            raise wrong from None
        if parts.scheme or parts.netloc:
            whole = parts._replace(scheme=_SCHEMES.get(parts.scheme, parts.scheme) or self._origin.partition(":")[0])
            other = Base(f"{whole.scheme}://{whole.netloc}")
            if other._origin != self._origin:
                raise ConfigError(f"{quoted(url)} is not of {self._origin}: open another client for it")
            path = parts.path or "/"
        else:
            path = f"{self._prefix}/{parts.path.lstrip('/')}"
        said = {name: value for name, value in query.items() if value is not None}
        kept = [pair for pair in parts.query.split("&") if pair.partition("=")[0] not in said]
        asked = "&".join(filter(None, (*kept, urlencode(said))))
        return quote(path, safe=_KEPT) + (f"?{quote(asked, safe=_KEPT + '?')}" if asked else "")

    def url(self, target: str) -> str:
        """The whole URL of a path and query."""
        return self._origin + target


def without_secrets(url: str) -> str:
    """A URL as it may stand in a message, a log or a report: all of them are to be written by this.

    Left out is what stands before an ``@``, which may be a password (one that is written as it should not be has
    slashes and question marks in it, so the last ``@`` counts), and what the query says, where tickets, tokens and
    signatures are; but for Triolet's own parameters.
    """
    before, at, rest = url.rpartition("@")
    if at:
        scheme, slashes, _ = before.partition("//")
        url = f"{scheme}{slashes}…@{rest}" if slashes else f"…@{rest}"
    url, mark, query = url.partition("#")[0].partition("?")
    fields = [field if field.partition("=")[0] in _SHOWN else _named(field) for field in query.split("&")]
    return f"{url}?{'&'.join(fields)}" if mark else url


def _named(field: str) -> str:
    name, equals, _ = field.partition("=")
    return f"{name}=…" if equals else "…"


def quoted(url: object) -> str:
    """A URL as an error quotes it: in short, and without secrets."""
    return repr_of(without_secrets(url) if isinstance(url, str) else url, 200)


def _in_ascii(host: str) -> str:
    """A host's name as DNS, TLS and the header ``Host`` have it (RFC 3490). Raises UnicodeError where it is none."""
    return host.encode("idna").decode("ascii")  # of one in ASCII it is looked at how long its parts are


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: no proxy stands before it."""
    address = read_address(host)
    return host == "localhost" or host.endswith(".localhost") if address is None else address.is_loopback
