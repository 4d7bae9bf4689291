"""What to set on the machines, where their defaults do not do: each with its command."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["Machine", "Setting", "settings"]


class Machine(NamedTuple):
    """What a server has to hold.

    Attributes:
        clients: of it.
        a_worker: of one of its workers.
        ports: connections from one address of a proxy's to one of its own; 0: there is no proxy.
        returning: clients a second that come to it when those of another server do.
    """

    clients: int
    a_worker: int
    ports: int
    returning: float


class Setting(msgspec.Struct, frozen=True):
    """One thing to set.

    Attributes:
        where: ``server`` or ``proxy``.
        name, value: it.
        why: in a sentence, with the default.
        command: how.
    """

    where: str
    name: str
    value: str
    why: str
    command: str


def settings(machine: Machine) -> list[Setting]:
    """Those whose usual defaults are too small for this."""
    found = []
    descriptors = _round(machine.a_worker + 1_000)
    if descriptors > 1_024:
        why = f"a worker has {machine.a_worker:,} connections, each a descriptor; 1,024 is a usual limit of a process"
        command = f"systemctl edit shop  # [Service] LimitNOFILE={descriptors}"
        found.append(Setting("server", "LimitNOFILE", str(descriptors), why, command))
    if descriptors > 1 << 20:
        why = "no process may have more descriptors than this; 1,048,576 by default"
        found.append(_sysctl("server", "fs.nr_open", str(descriptors), why))
    burst = _round(machine.returning)
    if machine.returning > 2_048:
        why = (
            f"{machine.returning:,.0f} clients come in one second; what a listening socket holds back is 4,096 at most"
        )
        found.append(_sysctl("server", "net.core.somaxconn", str(burst), f"{why} (and Limits(backlog={burst}))"))
        why = "likewise for connections that are being opened; 1,024 or so by default"
        found.append(_sysctl("server", "net.ipv4.tcp_max_syn_backlog", str(burst), why))
    if machine.clients > 1 << 17:
        why = "where a firewall tracks connections it forgets some, or refuses, beyond 262,144 by default"
        found.append(_sysctl("server", "net.netfilter.nf_conntrack_max", str(_round(2 * machine.clients)), why))
    if machine.ports > 28_232:
        most = 65_536 - 1_024
        why = f"{machine.ports:,} connections from one address to one address and port; 28,232 ports by default"
        if machine.ports > most:
            why += f", {most:,} at most: give the proxy or the server {-(-machine.ports // most)} addresses as well"
        found.append(_sysctl("proxy", "net.ipv4.ip_local_port_range", "1024 65535", why))
    return found


def _sysctl(where: str, name: str, value: str, why: str) -> Setting:
    return Setting(
        where, name, value, why, f"sysctl -w {name}={value!r}" if " " in value else f"sysctl -w {name}={value}"
    )


def _round(number: float) -> int:
    """The next power of two, which is easier to remember."""
    return 1 << max(0, int(number - 1)).bit_length() if number > 1 else 1
