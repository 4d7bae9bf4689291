"""Who the client is, where a proxy stands between: what is believed, and of whom.

A header can be sent by anybody. So nothing is believed that does not come from a listed peer, and by default none is
listed. What is believed is put into the request's scope before anything reads it: one function does it for the requests
that are served straight on their sockets and for those that go through Hypercorn, so the view, ``url_for``, the access
log and the check of the ``Origin`` all see the same client.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote

from ..bounds import FORWARDED_HOPS
from ..errors import ConfigError
from ..wire.client_address import Address, Network, read_address, read_network

__all__ = ["Forwarded", "Scope", "read_root_path", "rooted"]

Scope: TypeAlias = "dict[str, Any]"


_HOST: Final = re.compile(rb"[A-Za-z0-9._~%\-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_ROOT_PATH: Final = re.compile(r"(/(?!\.{1,2}(/|\Z))[\w.~!$&'()*+,;=:@-]+)*")
"""What a path is made of, unquoted: no segment that is empty (with two slashes a URL begins that is of another host) or
goes up, no blank, and nothing that ends a path or a page's attribute."""
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_FOR_WEBSOCKET: Final = {"http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The peers that are believed.

    Attributes:
        networks: their addresses.
        unix: whether those are that come by a Unix socket.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, text: str) -> Forwarded:
        """Read a list of addresses, networks, ``unix`` and ``*``.

        Raises:
            ConfigError: something in it is none of these.
        """
        networks: list[Network] = []
        unix = False
        for part in filter(None, map(str.strip, text.split(","))):
            if part == "*":
                networks += [ip_network("0.0.0.0/0"), ip_network("::/0")]
            unix = unix or part in ("unix", "*")
            if part in ("unix", "*"):
                continue
            try:
                networks.append(read_network(part))
            except ValueError:
                raise ConfigError(f"{part!r} is no address, no network, not unix and not *") from None
        return cls(tuple(networks), unix)

    def trusts(self, client: Sequence[Any] | None) -> bool:
        """Whether a peer is believed: its address and port, or None for a Unix socket's."""
        if client is None or not self.networks:  # mostly nobody is, and no address need be read for that
            return self.unix and client is None
        address = _address(str(client[0]))
        return address is not None and self._lists(address)

    def is_proxy(self, client: Sequence[Any] | None) -> bool:
        """Whether it is a proxy that was listed as one. Where everybody is believed, nobody is known to be one."""
        return self.trusts(client) and all(network.prefixlen for network in self.networks)

    def client_behind(self, peer: Sequence[Any] | None, client: Sequence[Any] | None) -> str | None:
        """Return the address of a client of which a listed proxy has told. None: the peer is no such proxy; or it
        speaks for itself, or for another one.

        Args:
            peer: who is connected: its address and port, or None for a Unix socket's.
            client: who, by its word, asks.
        """
        told = self.is_proxy(peer) and not self.is_proxy(client)
        return str(client[0]) if told and client is not None else None

    def _lists(self, address: Address) -> bool:
        return any(address in network for network in self.networks if network.version == address.version)

    def apply(self, scope: Scope) -> None:
        """Put into a request's scope what a believed peer says of it."""
        if not self.trusts(scope.get("client")):
            return
        found = _lists_of(scope["headers"])
        hops = self._client(scope, found.get(b"x-forwarded-for", []))
        proto = _of_hop(found.get(b"x-forwarded-proto", []), hops)
        scheme = _SCHEMES.get(proto.decode("latin-1").lower())
        if scheme is not None:
            scope["scheme"] = _FOR_WEBSOCKET[scheme] if scope["type"] == "websocket" else scheme
        host = _of_hop(found.get(b"x-forwarded-host", []), hops)
        if _HOST.fullmatch(host):
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [(b"host", host), *others]
        prefix = read_root_path(_of_hop(found.get(b"x-forwarded-prefix", []), hops).decode("ascii", "replace"))
        if prefix:
            scope["root_path"] = prefix

    def _client(self, scope: Scope, chain: list[bytes]) -> int:
        """Find the client: the nearest address that is not a believed proxy's own. Returns how many hops away it is."""
        hops = 0
        for text in reversed(chain[-FORWARDED_HOPS:]):
            address = _address(text.decode("latin-1"))
            if address is None:
                break
            hops += 1
            scope["client"] = (str(address), 0)
            if not self._lists(address):
                break
        return max(hops, 1)


def read_root_path(text: str) -> str | None:
    """Return ASGI's ``root_path`` in its one form: unquoted, without a slash at its end. None: the text is no path."""
    try:
        path = unquote(text.removesuffix("/"), errors="strict")
    except UnicodeDecodeError:
        return None
    return path if _ROOT_PATH.fullmatch(path) else None


def rooted(scope: Scope, has: Callable[[str], bool] | None = None) -> Scope:
    """Return a scope whose path includes its ``root_path``, as ASGI says and Quart reads it, however it came.

    A proxy may pass on the path below which an app lives, or take it off; so may ASGI middleware that mounts an app. A
    path that begins with ``root_path`` includes it, unless the app has no such page, but has one of the whole path.

    Args:
        scope: the request's, which is left as it is.
        has: whether the app has a page at a path, where that is known.
    """
    given = scope.get("root_path") or ""
    root = given.strip("/") and "/" + given.strip("/")
    if not root or not _is_stripped(scope["path"], root, has):
        return scope if root == given else {**scope, "root_path": root}
    raw = quote(root).encode() + (scope.get("raw_path") or quote(scope["path"]).encode())
    return {**scope, "root_path": root, "path": root + scope["path"], "raw_path": raw}


def _is_stripped(path: str, root: str, has: Callable[[str], bool] | None) -> bool:
    below = path.removeprefix(root)
    if path != root and not path.startswith(f"{root}/"):
        return True
    return has is not None and has(path) and not (below and has(below))


def _lists_of(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """The elements of each ``X-Forwarded-`` header, over all its lines."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name.startswith(b"x-forwarded-"):
            found.setdefault(name, []).extend(part.strip() for part in value.split(b","))
    return found


def _of_hop(values: list[bytes], hops: int) -> bytes:
    """What was said of the client's own request, by the proxy that had it: each proxy appends, or overwrites all."""
    return values[-min(hops, len(values))] if values else b""


def _address(text: str) -> Address | None:
    """An address, with or without a port; None for ``unknown`` and all else."""
    text = text.strip().strip('"').partition("%")[0]  # behind which may stand any text, as the name of an interface
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return read_address(text)
