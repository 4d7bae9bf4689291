"""Addresses on which a server listens, as they are written on a command line, and their bound sockets."""

from __future__ import annotations

import errno
import grp
import logging
import os
import socket
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..admin.guard import Key, is_local
from ..bounds import ADMIN_BACKLOG
from ..errors import ConfigError
from ..server.listeners import NamedSocket, close_listener, listen
from ..sockets.platform import SHARES_PORTS
from .bounds import CONTROL_LISTENERS
from .systemd import count

__all__ = ["Access", "address", "bind", "bind_admin", "bind_all", "bind_shared", "passed_sockets"]

logger = logging.getLogger("triolet.server")

FIRST_PASSED: Final = 3
"""The first descriptor that systemd passes (sd_listen_fds(3))."""
LOOPBACK: Final = "127.0.0.1"
MOST_PORT: Final = 65_535
MOST_PATH_BYTES: Final = 107
"""Of a Unix socket's path, beside the zero at its end (unix(7))."""

SocketName: TypeAlias = tuple[Any, ...]
"""Where a socket of TCP is bound: host and port, of IPv6 also a flow and the scope of a link's address."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may connect to a Unix socket: its mode and group. None: what the umask leaves, and our own."""

    mode: int | None = None
    group: str | None = None


def bind_all(texts: Sequence[str], access: Access | None = None, option: str = "--bind") -> list[socket.socket]:
    """Bind a listening socket to each address, and to each that a name stands for.

    ``0.0.0.0:8000`` and ``[::]:8000`` may stand side by side: where an address of IPv4 has the same port, one of IPv6
    takes IPv6 alone.

    Args:
        texts: ``host:port``, ``[ipv6]:port``, a port alone (127.0.0.1's), ``unix:path``, ``fd://3``.
        access: to Unix sockets.
        option: which one has named them.

    Raises:
        ConfigError: no such address, or it is taken; nothing stays bound.
    """
    with _closed_on_error() as bound:
        order = sorted(range(len(texts)), key=lambda number: texts[number].startswith("["))  # IPv6 last: see above
        of_text = {number: _bind_into(texts[number], access or Access(), bound, option) for number in order}
        if len(bound) > CONTROL_LISTENERS:
            raise ConfigError(f"cannot listen on {len(bound)} addresses: {CONTROL_LISTENERS} are the most")
        return [listener for number in range(len(texts)) for listener in of_text[number]]


def bind(text: str, option: str = "--bind") -> socket.socket:
    """Bind a listening socket to one address, the first that a name stands for. See :func:`bind_all`.

    Raises:
        ConfigError: the operator's fault; there is no such address, or it is taken.
    """
    first, *others = bind_all([text], option=option)
    for other in others:
        other.close()
    return first


def bind_shared(texts: Sequence[str], count: int, access: Access | None = None) -> list[list[socket.socket]]:
    """Bind so many sockets to each address, among which the kernel shares out connections (SO_REUSEPORT), by a hash of
    addresses and ports. A Unix socket knows no such thing, nor does a socket that was inherited, nor a system without
    it: there it is one socket, so many times.

    Raises:
        ConfigError: the operator's fault; there is no such address, or it is taken, even if only by a socket that
            would share it.
    """
    return [_shared(listener, count) for listener in bind_all(texts, access)]


def bind_admin(text: str, key: Key, option: str = "--admin") -> socket.socket:
    """Bind the operator's listener, as :func:`bind`, and listen, so that nothing else is bound to its address.

    Raises:
        ConfigError: the operator's fault; there is no such address, or it is taken, or others than this machine reach
            it and there is no key.
    """
    listener = bind(text, option)
    try:
        if not key.known and not is_local(listener):
            raise ConfigError(
                f"{option} {text} is reached from elsewhere than this machine, where anybody could publish: give "
                "--admin-key-file FILE or TRIOLET_ADMIN_KEY, or listen on 127.0.0.1"
            )
        listen(listener, ADMIN_BACKLOG, option)
    except BaseException:
        close_listener(listener)
        raise
    return listener


def passed_sockets(environment: MutableMapping[str, str], pid: int) -> list[str]:
    """The sockets that systemd has passed to this process, as ``fd://3`` and so on; none where it is not meant. What
    says so is taken out of the environment: a child is not meant either.

    Raises:
        ConfigError: they are too many.
    """
    said = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    number = count(said["LISTEN_FDS"]) if said["LISTEN_PID"] == str(pid) else 0
    if number > CONTROL_LISTENERS:
        raise ConfigError(f"systemd has passed {number} sockets, and a server listens on {CONTROL_LISTENERS} at most")
    return [f"fd://{FIRST_PASSED + passed}" for passed in range(number)]


def address(scheme: str, listener: socket.socket) -> str:
    """Where a socket listens, as a URL."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{os.fsdecode(name)}"
    if ":" not in name[0]:
        return f"{scheme}://{name[0]}:{name[1]}"
    scope = f"%{socket.if_indextoname(name[3])}" if name[3] else ""
    return f"{scheme}://[{name[0]}{scope}]:{name[1]}"


def _bind_into(text: str, access: Access, bound: list[socket.socket], option: str) -> list[socket.socket]:
    new = _bind(text, access, bound, option)
    bound += new
    return new


def _bind(text: str, access: Access, bound: Sequence[socket.socket], option: str) -> list[socket.socket]:
    try:
        if text.startswith("unix:"):
            return [_bind_unix(text.removeprefix("unix:"), access, bound)]
        if text.startswith("fd://"):
            return [_inherited(_number(text.removeprefix("fd://"), "fd://3"))]
        host, _, port = f"{LOOPBACK}:{text}".rpartition(":") if text.isdecimal() else text.rpartition(":")
        if "/" in host:
            raise ValueError("write it as host:port, without a scheme")
        return _bind_host(host.strip("[]"), _port(port), bound)
    except OSError as error:
        raise ConfigError(f"cannot listen on {text!r} ({option}): {_reason(error)}") from None
    except (ValueError, OverflowError, LookupError) as error:
        why = error.args[0] if isinstance(error, LookupError) else f"{error}"
        raise ConfigError(f"cannot listen on {text!r} ({option}): {why}") from None


def _number(text: str, form: str) -> int:
    if not (text.isdecimal() and text.isascii()):
        raise ValueError(f"write it as {form}")
    return int(text)


def _port(text: str) -> int:
    number = _number(text, "host:port")
    if number > MOST_PORT:
        raise ValueError(f"a port is at most {MOST_PORT}")
    return number


def _reason(error: OSError) -> str:
    return f"{error.strerror} (errno {error.errno})" if error.errno is not None else f"{error}"


def _bind_host(host: str, port: int, bound: Sequence[socket.socket]) -> list[socket.socket]:
    """Bind to all addresses of a host. One that this machine does not have is left out, if there is another."""
    missing: OSError | None = None
    with _closed_on_error() as kept:
        for name in _names(host, port):
            try:
                drawn = kept[0].getsockname()[1] if kept and not port else port
                kept.append(_bind_tcp((name[0], drawn, *name[2:]), only6=_has_ipv4([*bound, *kept], drawn)))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
        if not kept and missing is not None:
            raise missing
        return kept


def _names(host: str, port: int) -> list[SocketName]:
    """A host's addresses as sockets have them, those of IPv4 first."""
    if not host:
        return [("0.0.0.0", port)]
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found = dict.fromkeys(_name(info[4]) for info in infos if info[0] in (socket.AF_INET, socket.AF_INET6))
    if host == "localhost":
        found = dict.fromkeys([(LOOPBACK, port), ("::1", port), *found])
    return sorted(found, key=lambda name: ":" in name[0])


def _name(said: Any) -> SocketName:
    """Without what says nothing: of IPv6 a link's address alone has a scope, and cannot be bound without it."""
    return tuple(said) if len(said) > 2 and said[3] else tuple(said[:2])


def _has_ipv4(bound: Sequence[socket.socket], port: int) -> bool:
    return any(other.family == socket.AF_INET and other.getsockname()[1] == port for other in bound)


def _bind_tcp(name: SocketName, *, only6: bool = False, shared: bool = False) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in name[0] else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if only6 and listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(name)
    except BaseException:
        listener.close()
        raise
    return listener


def _shared(first: socket.socket, count: int) -> list[socket.socket]:
    """So many of a socket that was bound without sharing, which has shown that the address is free."""
    if first.family == socket.AF_UNIX or getattr(first, "inherited", False) or not SHARES_PORTS:
        return [first, *(first.dup() for _ in range(count - 1))]
    name = first.getsockname()
    only6 = first.family == socket.AF_INET6 and bool(first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    first.close()
    try:
        with _closed_on_error() as bound:
            for _ in range(count):
                bound.append(_bind_tcp(_name(name), only6=only6, shared=True))
            return bound
    except OSError as error:
        raise ConfigError(f"cannot listen on {name[0]}:{name[1]} (--bind): {_reason(error)}") from None


def _bind_unix(path: str, access: Access, bound: Sequence[socket.socket]) -> socket.socket:
    """Bind a Unix socket; one that a dead server has left there is taken away.

    Until its mode and group are what they are to be, nobody may connect.
    """
    if not path:
        raise ValueError("write it as unix:/run/app.sock")  # the kernel would draw a name, which nobody knows
    if path.startswith("@"):
        raise ValueError(f"to an abstract name anybody may connect: give a path, or unix:./{path} for a file")
    if len(os.fsencode(path)) > MOST_PATH_BYTES:
        raise ValueError(f"the path of a Unix socket has at most {MOST_PATH_BYTES} bytes")
    if any(isinstance(other, NamedSocket) and other.has_name(path) for other in bound):
        raise ValueError("it is listed twice")  # the second would be put in the first one's place
    group = None if access.group is None else _group(access.group)
    listener = NamedSocket(socket.AF_UNIX)
    umask = None
    try:
        listener.claim_name(path)
        umask = os.umask(0o777) if access.mode is not None or group is not None else None
        listener.bind_name()
        if group is not None:
            _give(path, group)
        if umask is not None:
            os.chmod(path, 0o777 & ~umask if access.mode is None else access.mode)
    except BaseException:
        close_listener(listener)
        raise
    finally:
        if umask is not None:
            os.umask(umask)
    return listener


def _group(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise LookupError(f"there is no group {name!r} on this machine: give another --uds-group") from None


def _give(path: str, group: int) -> None:
    try:
        os.chown(path, -1, group)
    except (OSError, OverflowError) as error:
        raise ValueError(f"it cannot be given to the --uds-group {group} ({error}): be its member") from None


class _Inherited(socket.socket):
    """A socket that another process has bound: its name is not ours to take away."""

    inherited = True


def _inherited(number: int) -> socket.socket:
    listener = _Inherited(fileno=number)
    try:
        listener.set_inheritable(False)
        if listener.type != socket.SOCK_STREAM or listener.family not in _FAMILIES:
            raise ValueError("it is no stream socket of TCP or Unix")
        if not listener.getsockname():
            raise ValueError("it is bound to nothing")
    except BaseException:
        listener.detach()
        raise
    return listener


@contextmanager
def _closed_on_error() -> Iterator[list[socket.socket]]:
    """A list of sockets, which are closed if the block fails."""
    bound: list[socket.socket] = []
    try:
        yield bound
    except BaseException:
        for listener in bound:
            close_listener(listener)
        raise


_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
_NOT_HERE: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""What binding to an address says that this machine does not have, and of a family that it does not know."""
