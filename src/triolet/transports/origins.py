"""Whose pages may ask: origins in one normal form, and what a browser wants to hear before it lets a page read.

A page's origin is its scheme, host and port (RFC 6454). A browser writes it in one form only: in lower case, names as
IDNA puts them into ASCII, without the scheme's own port, an IPv6 address at its shortest. That form is compared. What
an app lists is brought into it, or refused when the app is made; the server's own origin, which a proxy may write in
other forms, is brought into it; and what comes must be in it: what is written otherwise was written by no browser.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

import idna

from ..bounds import ORIGIN_CHARACTERS, ORIGINS_NAMED, PREFLIGHT_HEADERS, PREFLIGHT_SECONDS
from ..errors import ConfigError
from .negotiate import AskError, Headers, Scope, header

__all__ = ["Origins", "check_origins", "preflighted"]

logger = logging.getLogger("triolet")

ANY: Final = "*"
PORTS: Final = {"http": 80, "https": 443}
HOST_LETTERS: Final = 254
"""The longest name of a host, with its last dot (RFC 1035)."""

SENT: Final = (
    "Accept",
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
)
"""The headers that a page of a listed origin may send, besides those for which its preflight asks."""
EXPOSED: Final = b"ETag, Idempotency-Replayed, Retry-After"
"""The headers of answers that it may read, besides those that it may read anyway."""

_FORM: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[^\[\]]*\]|[^\s/?#@:\\\[\]]*)(?::([0-9]*))?", re.IGNORECASE)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_TOKEN: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,64}")


class _Pattern(NamedTuple):
    """``https://*.shop.example``: the names below one, however deep, and not that one itself."""

    before: str
    after: str

    def matches(self, origin: str) -> bool:
        return (
            origin.startswith(self.before)
            and origin.endswith(self.after)
            and len(origin) > len(self.before) + len(self.after)
        )


class Origins:
    """The origins that an app lists, ready to be compared.

    Args:
        listed: as :func:`check_origins` returns them.

    Bounds: the names of 256 origins that were refused.
    """

    __slots__ = ("_any", "_exact", "_patterns", "_refused")

    def __init__(self, listed: Iterable[str]) -> None:
        listed = frozenset(listed)
        self._any = ANY in listed
        self._exact = frozenset(origin for origin in listed if "*" not in origin)
        self._patterns = [_Pattern(*origin.split("*")) for origin in sorted(listed - self._exact - {ANY})]
        self._refused: set[str] = set()

    def check(self, scope: Scope, *, always: bool) -> None:
        """Refuse a page of another site: its origin must be our own or a listed one.

        A request without an Origin does not come from a page. An event stream or a poll of another origin is checked
        when it brings a cookie or an ``Authorization`` (``always`` False): without, it carries nobody's rights, and
        the browser keeps the answer from the page.

        Raises:
            AskError: 403.
        """
        found = _origins(scope)
        if not found:
            return
        carries = _carries_rights(scope)
        origin = found[0] if len(found) == 1 else ", ".join(found)
        if origin == _own(scope) or self._lists(origin) or (self._any and not carries):
            return
        self._log(origin)
        if always or carries:
            raise AskError(403, "origin", "this page's origin may not follow; list it in Triolet(origins=[…])")

    def answer(self, scope: Scope, headers: Headers) -> Headers:
        """Return the headers of an answer with those that let a page of a listed origin read it.

        What an app's own response says on the same matter stands where the origin is not listed.
        """
        ours = self._allowed(scope)
        if ours:
            said = {name for name, _ in ours}
            headers = [(name, value) for name, value in headers if name.lower() not in said]
        return _varying([*headers, *ours])

    def lets_read(self, scope: Scope) -> bool:
        """Whether the page of a request may read its answer although it is of another origin."""
        return bool(self._allowed(scope))

    def preflight(self, scope: Scope, methods: str) -> Headers | None:
        """Return the headers that answer a preflight; None if the page may not ask: the app may let it."""
        allowed = self._allowed(scope)
        if not allowed:
            self._log(", ".join(_origins(scope)))
            return None
        asked = (header(scope, b"access-control-request-headers") or "").split(",")[:PREFLIGHT_HEADERS]
        known = {name.lower() for name in SENT}
        names = [name.strip() for name in asked]
        others = [name for name in names if _TOKEN.fullmatch(name) and name.lower() not in known]
        return [
            *(pair for pair in allowed if pair[0] != b"access-control-expose-headers"),
            (b"access-control-allow-methods", methods.encode()),
            (b"access-control-allow-headers", ", ".join([*SENT, *others]).encode()),
            (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
            (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
        ]

    def _allowed(self, scope: Scope) -> Headers:
        """What lets the page of a request read its answer; nothing, where its origin is not listed."""
        found = _origins(scope)
        if len(found) != 1:
            return []
        exposed = (b"access-control-expose-headers", EXPOSED)
        if self._lists(found[0]):
            allowed = (b"access-control-allow-origin", found[0].encode("latin-1"))
            return [allowed, (b"access-control-allow-credentials", b"true"), exposed]
        return [(b"access-control-allow-origin", b"*"), exposed] if self._any else []

    def _lists(self, origin: str) -> bool:
        if origin in self._exact:
            return True
        matching = any(pattern.matches(origin) for pattern in self._patterns)
        return matching and origin == _normal(origin)

    def _log(self, origin: str) -> None:
        """Name a refused origin once. A client writes it, so it is shown as Python would write it, and cut."""
        shown = ascii(origin[:ORIGIN_CHARACTERS])
        if shown in self._refused or len(self._refused) >= ORIGINS_NAMED:
            return
        self._refused.add(shown)
        logger.warning(
            "a page of origin %s may not follow: that is neither the server's own nor in Triolet(origins=[…])", shown
        )
        if len(self._refused) == ORIGINS_NAMED:
            logger.warning("pages of %d origins may not follow; no more origins will be named", ORIGINS_NAMED)


def check_origins(origins: Any) -> frozenset[str]:
    """Return what an app lists in normal form.

    An entry is an origin as a browser writes it (``https://shop.example``), in any case, with or without a slash at
    its end, its scheme's own port, or a name in other letters than ASCII; a pattern, ``https://*.shop.example``, for
    all names below one, however deep; or ``*``, for any page whose request brings neither a cookie nor an
    ``Authorization``.

    Raises:
        ConfigError: it is no such list; the message says what to write.
    """
    if isinstance(origins, str | bytes) or not isinstance(origins, Collection):
        raise ConfigError('origins is a list of origins, like ["https://shop.example"], not one text')
    return frozenset(_listed(origin) for origin in origins)


def preflighted(scope: Scope) -> str | None:
    """Return the method, one of ours, with which a page of another origin wants to ask; None if it is no preflight."""
    method = header(scope, b"access-control-request-method") if scope["method"] == "OPTIONS" else None
    return method if method in ("GET", "HEAD", "POST") and _origins(scope) else None


def _listed(origin: Any) -> str:
    if not isinstance(origin, str):
        raise ConfigError(f"an origin is text, like 'https://shop.example', not {origin!r:.100}")
    if origin == ANY:
        return origin
    text, problem = origin.strip(), f"{origin!r:.300} is no origin:"
    if text.lower() == "null":
        raise ConfigError(f"{problem} a browser says so of any sandboxed page and file, and of an attacker's too")
    if "://" not in text:
        raise ConfigError(f"{problem} it begins with its scheme: 'https://shop.example'")
    text = text.removesuffix("/")
    form = _FORM.fullmatch(text)
    if form is None:
        raise ConfigError(f"{problem} it is scheme, host and port only, with no path, query or user")
    scheme, host, _ = form.groups()
    if scheme.lower() in ("ws", "wss", "file", "data", "blob", "about", "javascript"):
        raise ConfigError(f"{problem} a page has another scheme: http or https, mostly")
    below = host.startswith("*.")
    normal = _normal(text.replace("://*.", "://", 1) if below else text, listed=True)
    if normal is None:
        raise ConfigError(
            f"{problem} its host or port cannot be; a * stands for the first labels only, https://*.shop.example"
        )
    if not below:
        return normal
    if _is_address(normal):
        raise ConfigError(f"{problem} there are no names below an address")
    return normal.replace("://", "://*.", 1)


def _normal(origin: str, *, listed: bool = False) -> str | None:
    """Return an origin as a browser writes it; None if it is none. In a list, a host's last dot means nothing."""
    form = _FORM.fullmatch(origin)
    if form is None:
        return None
    scheme, host, digits = form.group(1).lower(), form.group(2), form.group(3)
    if listed:
        host = _in_ascii(host.removesuffix("."))
    name = _normal_host(host)
    if name is None:
        return None
    if not digits:
        return f"{scheme}://{name}"
    port = int(digits) if len(digits) <= 5 else 65_536
    if port > 65_535 or (port == 0 and listed):
        return None
    return f"{scheme}://{name}" if PORTS.get(scheme) == port else f"{scheme}://{name}:{port}"


def _normal_host(host: str) -> str | None:
    if host.startswith("["):
        return _normal_v6(host[1:-1])
    host = host.lower()
    labels = host.removesuffix(".").split(".")
    if len(host) > HOST_LETTERS or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    if _NUMBER.fullmatch(labels[-1]):  # browsers take it for an IPv4 address, and write it as four numbers
        try:
            return str(ipaddress.IPv4Address(".".join(labels)))
        except ValueError:
            return None
    return host


def _in_ascii(host: str) -> str:
    if host.isascii() or len(host) > HOST_LETTERS:
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return host  # of which no label is one


def _normal_v6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    if address.scope_id is not None:
        return None
    if address.ipv4_mapped is not None:  # Pythons differ in how they write these, and browsers write numbers
        number = int(address.ipv4_mapped)
        return f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]"
    return f"[{address.compressed}]"


def _is_address(origin: str) -> bool:
    host = origin.partition("://")[2]
    return host.startswith("[") or _NUMBER.fullmatch(host.partition(":")[0].rpartition(".")[2]) is not None


def _origins(scope: Scope) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]


def _own(scope: Scope) -> str | None:
    """The server's own origin, from the host that the client asked."""
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    return _normal(f"{scheme}://{header(scope, b'host') or ''}")


def _carries_rights(scope: Scope) -> bool:
    """Whether a browser may have added to a request what its visitor is known by."""
    return any(name in (b"cookie", b"authorization") for name, _ in scope["headers"])


def _varying(headers: Headers) -> Headers:
    """Return the headers with one ``Vary`` for all, which says that the answer depends on the origin too."""
    named = [value for name, value in headers if name.lower() == b"vary"] + [b"origin"]
    others = [(name, value) for name, value in headers if name.lower() != b"vary"]
    fields = dict.fromkeys(field.strip().lower() for value in named for field in value.split(b",") if field.strip())
    return [*others, (b"vary", b", ".join(fields))]
