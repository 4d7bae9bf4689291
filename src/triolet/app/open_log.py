"""From a log's URL to the log: in memory, in SQLite or in Redis."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote

from ..errors import ConfigError
from ..limits import Limits
from ..log import EventLog, MemoryLog
from ..wire.address import quoted

__all__ = ["open_log"]

_FORMS: Final = 'use "memory:", "sqlite:///relative.db", "sqlite:////absolute/path.db" or "redis://host:6379/0"'


def open_log(url: str, limits: Limits | None = None) -> EventLog:
    """Return the log that a URL names, not yet opened: ``async with open_log(url).open() as log``.

    Args:
        url: ``memory:``; or ``sqlite:///orders.db`` (relative to the working directory of now),
            ``sqlite:////var/lib/shop/orders.db`` (absolute). ``?synchronous=full`` makes an acknowledged
            event survive a power loss too. Characters with a meaning in URLs are written as in any URL
            (``%3F``). Or ``redis://host:6379/0``, ``rediss://…`` (TLS), ``unix:///path.sock``,
            ``redis+sentinel://host:26379,host:26379/service/0``, ``redis+cluster://host:6379,host:6379``, with options
            ``?prefix=…``, ``?start=wait`` and others: see RedisAddress.parse.
        limits: retention and waiting times; the defaults if none are given.

    Raises:
        ConfigError: no log of ours is called so; the message says what is.
    """
    if url == "memory:":
        return MemoryLog(limits)
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        # Here, so that whoever keeps events in memory does not load SQLite.
        from ..sqlite.log import SqliteLog

        path, synchronous = _sqlite_parts(url, rest)
        return SqliteLog(path, limits, synchronous=synchronous)
    if scheme.partition("+")[0] in ("redis", "rediss", "unix"):
        return _redis_log(url, limits)
    # Not what follows: it may be another server's address, with its password.
    raise ConfigError(f"log={(scheme + ':…' if rest else url)!r} names no log; {_FORMS}")


def _redis_log(url: str, limits: Limits | None) -> EventLog:
    try:
        from ..redis.log import RedisLog
    except ModuleNotFoundError as error:
        raise ConfigError(f"a log in Redis needs {error.name}: pip install 'triolet[redis]'") from error
    return RedisLog(url, limits)


def _sqlite_parts(url: str, rest: str) -> tuple[str, str]:
    path, _, query = rest.partition("?")
    if not path.startswith("///") or path == "///" or path.endswith("/") or "\0" in unquote(path):
        raise ConfigError(f"log={quoted(url)} names no file; {_FORMS} (a relative path follows three slashes)")
    path = unquote(path[3:])
    if path == ":memory:":
        raise ConfigError(f'log={quoted(url)}: SQLite in memory is not supported; use "memory:"')
    options = dict(parse_qsl(query, keep_blank_values=True))
    synchronous = options.pop("synchronous", "normal").lower()
    if options or synchronous not in ("normal", "full"):
        raise ConfigError(f"log={quoted(url)}: the only option is ?synchronous=normal or ?synchronous=full")
    return path, synchronous
