"""Where keys come from: what ``JWT(keys=…)`` was given, and how its keys are had."""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from ..clock import wall_time
from ..errors import BadToken
from .bounds import JWKS_ASK_SECONDS, JWKS_AWAY_SECONDS, JWKS_BYTES, JWKS_REFRESH_SECONDS
from .keys import ALGORITHMS, BadKeys, Key, KeySet, read_file, read_given, reason_of, told_of
from .url_keys import Fetch, UrlKeys

__all__ = ["FileKeys", "GivenKeys", "KeySource", "source_of"]

logger = logging.getLogger("triolet.identity")

_URL: Final = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_NAMES_OF_FILES: Final = (".crt", ".jwk", ".jwks", ".json", ".key", ".pem", ".pub")


class KeySource(Protocol):
    """Where keys come from.

    Attributes:
        algorithms: which its keys can be for.
        told: what it is, for a repr: no secret.
    """

    @property
    def algorithms(self) -> frozenset[str]: ...
    @property
    def told(self) -> str: ...

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """Return the keys that a token may have been signed with, one at least: see :meth:`KeySet.find`.

        Raises:
            BadToken: there is none (``key``, ``algorithm``), or it cannot be told now (``keys_away``).
        """
        ...


class GivenKeys:
    """Keys that do not change."""

    __slots__ = ("_keys",)

    def __init__(self, keys: KeySet) -> None:
        self._keys = _usable(keys)
        _warn_of("keys of a JWT", keys)

    @property
    def algorithms(self) -> frozenset[str]:
        return self._keys.algorithms

    @property
    def told(self) -> str:
        return f"{len(self._keys.keys)} for {', '.join(sorted(self.algorithms))}"

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        return self._keys.find(kid, algorithm)


class FileKeys:
    """Keys of a file, which is looked at for each token, and read again when it is another.

    The loop waits for that, some 2 µs: it should be on a disk of this machine. While it is gone or no good, the last
    keys serve on, for ``JWKS_AWAY_SECONDS``.

    Raises:
        BadKeys, OSError: it cannot be read now.
    """

    __slots__ = ("_failed_at", "_keys", "_path", "_seen")

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: object = _look(path)
        self._keys = _usable(_read(path))
        self._failed_at = math.inf
        _warn_of(self.told, self._keys)

    @property
    def algorithms(self) -> frozenset[str]:
        return frozenset(ALGORITHMS)

    @property
    def told(self) -> str:
        return f"file {self._path!r}"

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        self._read_if_changed()
        if wall_time() - self._failed_at > JWKS_AWAY_SECONDS:
            raise BadToken("keys_away")
        return self._keys.find(kid, algorithm)

    def _read_if_changed(self) -> None:
        try:
            seen: object = _look(self._path)
        except (BadKeys, OSError) as error:
            seen = type(error)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            keys = _read(self._path)
        except (BadKeys, OSError) as error:
            self._failed_at = min(self._failed_at, wall_time())
            logger.warning("%s: the last good keys serve on: %s", self.told, reason_of(error))
        else:
            self._keys, self._failed_at = keys, math.inf
            logger.info("%s: read again", self.told)
            _warn_of(self.told, keys)


def _look(path: str) -> tuple[int, ...]:
    """What tells one file's content from another's, without reading it."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise BadKeys("it is no file")  # reading from a pipe could wait for ever
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: str) -> KeySet:
    _look(path)
    with open(path, "rb") as file:
        content = file.read(JWKS_BYTES + 1)
    if len(content) > JWKS_BYTES:
        raise BadKeys(f"it has more than {JWKS_BYTES} bytes")
    return read_file(content)


def _usable(keys: KeySet) -> KeySet:
    """Refuse to begin with no key. Later it may be meant: the issuer has taken all of them back."""
    if not keys.keys:
        raise BadKeys(told_of(keys))
    return keys


def source_of(keys: Any, refresh: float | None, fetch: Fetch | None) -> KeySource:
    """Find out what ``keys`` of a :class:`~triolet.JWT` is, and return where keys come from.

    Raises:
        BadKeys, OSError: no token can be checked with it.
        ModuleNotFoundError: httpx is not there, which fetches keys.
    """
    if isinstance(keys, str) and _URL.match(keys):
        url = _checked_url(keys)
        age = _checked_age(JWKS_REFRESH_SECONDS if refresh is None else refresh)
        if fetch is None:
            from .fetch import HttpFetch  # here, so that keys of one's own need no HTTP client

            fetch = HttpFetch()
        if not callable(fetch):
            raise BadKeys(f"fetch= is an async function of the URL, not {type(fetch).__name__}")
        return UrlKeys(url, fetch, age)
    if refresh is not None or fetch is not None:
        raise BadKeys("refresh= and fetch= are for the URL of a JWKS, and this is none")
    if isinstance(keys, os.PathLike) or (isinstance(keys, str) and keys[:5].lower() == "file:"):
        return FileKeys(_path_of(os.fspath(keys)))
    if isinstance(keys, str) and (keys.endswith(_NAMES_OF_FILES) or os.path.exists(keys)):
        raise BadKeys("this is the name of a file, and no secret: give a Path, or file:…")
    if not isinstance(keys, str | bytes | Mapping):
        raise BadKeys(f"it is a secret, a public key as PEM, a JWKS, a Path or a URL, not {type(keys).__name__}")
    return GivenKeys(read_given(keys))


def _checked_age(seconds: Any) -> float:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not JWKS_ASK_SECONDS <= seconds <= JWKS_AWAY_SECONDS:
        raise BadKeys(f"refresh= is a number of seconds from {JWKS_ASK_SECONDS} to {JWKS_AWAY_SECONDS}")
    return float(seconds)


def _path_of(name: str | bytes) -> str:
    path = os.fsdecode(name)
    if path[:5].lower() != "file:":
        return path
    path = unquote(path[5:])
    if path.startswith("//"):  # RFC 8089: a host may stand here, and it can only be this one
        host, slash, path = path.removeprefix("//").removeprefix("localhost").partition("/")
        if host:
            raise BadKeys("a file: URL has three slashes before an absolute path, and none before a relative one")
        path = slash + path
    return path


def _checked_url(url: str) -> str:
    """Return a URL that keys may be fetched from.

    Raises:
        BadKeys: it is not https (on the loopback: http), or holds a password.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise BadKeys("it is no URL") from None
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        raise BadKeys("it is no URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise BadKeys("keys are fetched by https, or others could give their own in between (http: from the loopback)")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadKeys("it has a user, a password or a fragment: give fetch=, a function of your own, that says them")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _warn_of(source: str, keys: KeySet) -> None:
    if faults := told_of(keys):
        logger.warning("%s: %s", source, faults)
