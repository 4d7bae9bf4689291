"""A client's address: one form in which it is told and compared, and whose it is where clients are counted.

An address can be written in many ways, and one client can have many. Everything that compares addresses, or counts
them, asks here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

__all__ = ["Address", "Network", "owner", "plain", "read_address", "read_network"]

Address: TypeAlias = "IPv4Address | IPv6Address"
Network: TypeAlias = "IPv4Network | IPv6Network"

_ZONE: Final = re.compile("%[^/]*")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
"""IPv4 that came to a socket of both (RFC 4291 section 2.5.5.2)."""
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""IPv4 that a translator has brought (RFC 6052 section 2.1)."""
_OWNED_BITS: Final = 64
"""What a client of IPv6 has at least: it may take any address of that network (RFC 4291 section 2.5.1, RFC 6177)."""


def read_address(text: str) -> Address | None:
    """Read an address. Returns None where it is none.

    IPv4 in IPv6 is IPv4. A zone (``%eth0``) is left out: it is this machine's own, and in a header any text.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def read_network(text: str) -> Network:
    """Read an address or a network, in the same form.

    Raises:
        ValueError: it is neither.
    """
    network = ip_network(_ZONE.sub("", text) if ":" in text else text, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - _MAPPED.prefixlen))
    return network


def plain(text: str) -> str:
    """Return an address as it is told to an app and to a log; what is none as it is. A link-local one keeps its
    zone, without which it says nothing."""
    if not text.lower().startswith("::ffff:"):
        return text
    address = read_address(text)
    return str(address) if isinstance(address, IPv4Address) else text


@lru_cache(maxsize=4_096)
def owner(text: str) -> str:
    """Return under what an address is counted: one of IPv4 by itself, and of IPv6 its /64; what is none as it is."""
    if ":" not in text:
        return text  # it is IPv4, or a Unix socket's
    address = read_address(text)
    if not isinstance(address, IPv6Address):
        return text if address is None else str(address)
    if address in _TRANSLATED:
        return str(IPv4Address(int(address) & 0xFFFF_FFFF))
    return str(IPv6Network((int(address), _OWNED_BITS), strict=False))
