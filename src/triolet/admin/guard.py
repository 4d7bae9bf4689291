"""Who may ask: the operator's key, and what keeps the pages of others in the operator's own browser out.

A browser on this machine reaches the loopback for any page that is open in it. Without a key three things keep such a
page out: the ``Host`` must be the loopback's, so that a name of the page's that leads here (DNS rebinding) is none;
``Origin`` and ``Sec-Fetch-Site`` must not say another site; and a body must say a type that no form can send, so that a
browser would ask first, and is told nothing (there is no CORS here). With a key the last two hold as well.
"""

from __future__ import annotations

import hmac
import logging
import re
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from ..bounds import ADMIN_KEY_BYTES
from ..errors import ConfigError
from ..wire.address import is_loopback
from .contract import Answer, refusal

__all__ = ["KEY_VARIABLE", "Guard", "Key", "guard_of", "is_local"]

logger = logging.getLogger("triolet.server")

KEY_VARIABLE: Final = "TRIOLET_ADMIN_KEY"

_PRINTABLE: Final = re.compile(rb"[!-~]*")
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+)")
_PORT: Final = re.compile(r":[0-9]*$")


class Key:
    """The operator's key, from a file or the environment, or none.

    Args:
        file: where it stands, on the first line; None: nowhere.
        environment: has it where there is no file.

    Raises:
        ConfigError: it cannot be read, or is no key; the message says what to do.
    """

    def __init__(self, file: str | None, environment: Mapping[str, str]) -> None:
        self._read: Callable[[], bytes | None] = partial(_of, environment) if file is None else partial(_of_file, file)
        self._value = self._read()

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return self._value is not None

    def read_again(self) -> None:
        """Read the file anew. Where that cannot be, the key stays what it was, and the log says why."""
        try:
            self._value = self._read()
        except ConfigError as error:
            logger.error("the operator's key stays the OLD one: %s", error)

    def opens(self, given: str) -> bool:
        """Whether this is it. It takes as long for whatever is given."""
        return self._value is not None and hmac.compare_digest(self._value, given.encode("utf-8", "surrogateescape"))


def _of_file(file: str) -> bytes:
    try:
        with open(file, "rb") as lines:
            return _checked(lines.readline(ADMIN_KEY_BYTES[1] + 2).strip(), f"the file {file!r}")
    except OSError as error:
        raise ConfigError(f"cannot read the operator's key from {file!r}: {error.strerror or error}") from None


def _of(environment: Mapping[str, str]) -> bytes | None:
    said = environment.get(KEY_VARIABLE, "")
    return _checked(said.encode("utf-8", "surrogateescape"), KEY_VARIABLE) if said else None


def _checked(key: bytes, where: str) -> bytes:
    least, most = ADMIN_KEY_BYTES
    if not least <= len(key) <= most or not _PRINTABLE.fullmatch(key):
        raise ConfigError(
            f"there is no key for --admin in {where}: it is {least} to {most} characters of printable ASCII without a "
            "space, such as `openssl rand -hex 32` makes"
        )
    return key


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine reaches a socket: it is the loopback's, or a Unix socket."""
    name = listener.getsockname()
    return not isinstance(name, tuple) or is_loopback(name[0])


def guard_of(key: Key, listener: socket.socket) -> Guard:
    """Return the guard of a listening socket. No browser reaches a Unix socket, under whatever name."""
    return Guard(key, names=isinstance(listener.getsockname(), tuple))


class Guard:
    """Says who may ask at one listening socket.

    Args:
        key: the operator's.
        names: whether a request's ``Host`` is looked at, where there is no key.
    """

    def __init__(self, key: Key, *, names: bool = True) -> None:
        self._key = key
        self._names = names

    def check(self, headers: Mapping[str, str], *, is_page: bool = False) -> Answer | None:
        """Return None where a request may be answered, or what it is told.

        Args:
            headers: of the request, by names in lower case.
            is_page: whether it is for a page, which others may link to.
        """
        if self._key.known:
            given = _BEARER.fullmatch(headers.get("authorization", ""))
            if given is None or not self._key.opens(given[1]):
                return refusal(
                    401,
                    "key",
                    "this listener needs its key: Authorization: Bearer …, of --admin-key-file or TRIOLET_ADMIN_KEY",
                    headers={"WWW-Authenticate": 'Bearer realm="triolet"'},
                )
        elif self._names and not _is_loopback(headers.get("host", "")):
            return refusal(
                421,
                "host",
                "without a key only localhost, 127.0.0.1 and [::1] are names of this listener: a page elsewhere could "
                "have others. Ask at one of these, or give --admin-key-file",
            )
        return None if is_page else _check_site(headers)


def _check_site(headers: Mapping[str, str]) -> Answer | None:
    """Refuse what a page of another site sends, by what browsers say of it."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    own = origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()
    if own and site in ("none", "same-origin"):
        return None
    return refusal(403, "origin", "a page of another site asks, and none but the operator's own may")


def _is_loopback(host: str) -> bool:
    """Whether a ``Host`` names this machine. Who sends none (HTTP/1.0, an agent that looks at health) is no browser."""
    name = _PORT.sub("", host.lower()).strip("[]").removesuffix(".")
    return not name or is_loopback(name)
