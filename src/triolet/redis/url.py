"""The address of a RedisLog: where its servers are, and the options that its URL gives."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..bounds import REDIS_CLUSTER_PARTITIONS
from ..errors import ConfigError

__all__ = ["RedisAddress"]

FORMS: Final = (
    "redis://host:6379/0, rediss:// (TLS), unix:///path/to.sock, redis+sentinel://host:26379,host2:26379/service/0 "
    "or redis+cluster://host:6379,host2:6379"
)
SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
OPTIONS: Final = (
    "prefix",
    "start",
    "partitions",
    "db",
    "sentinel_username",
    "sentinel_password",
    "ca",
    "cert",
    "key",
)


@dataclass(frozen=True)
class RedisAddress:
    """Where the servers are. Neither user nor password is in its ``repr``, which may get into a log.

    Attributes:
        nodes: hosts and ports of the server itself, of the sentinels, or of some nodes of the cluster.
        path: the path of the Unix socket; empty if it is not one.
        service: the name that the sentinels give to their servers; empty without sentinels.
        is_cluster: whether it is a cluster.
        db: the number of the database.
        username, password: the servers'.
        sentinel_username, sentinel_password: the sentinels'.
        tls: certificates; None without TLS.
        prefix: begins the names of all keys.
        partitions: number of parts over which channels are spread.
        wait: whether opening the log waits for a Redis that is unavailable.
    """

    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    is_cluster: bool = False
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    prefix: str = "triolet"
    partitions: int = 1
    wait: bool = False

    def __str__(self) -> str:
        """Return where it is, for messages, without secrets."""
        if self.path:
            return f"Redis at {self.path}"
        nodes = ", ".join(f"{host}:{port}" for host, port in self.nodes)
        if self.service:
            return f"Redis {self.service!r} of the sentinels {nodes}"
        return f"the Redis cluster of {nodes}" if self.is_cluster else f"Redis at {nodes}"

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """Read a URL.

        Forms: ``redis://[user:password@]host[:port][/db]``, ``rediss://…`` (TLS, the certificate is verified),
        ``unix:///path/to.sock?db=0``, ``redis+sentinel://host:port,host:port/service[/db]``,
        ``redis+cluster://host:port,host:port``; ``rediss+sentinel`` and ``rediss+cluster`` with TLS. User and password
        are the servers'; the sentinels' are options.

        Options: ``prefix`` (of all keys, ``triolet``), ``start=wait`` (opening waits for a Redis that is away;
        ``fail`` is the default), ``partitions`` (of a cluster, 16), ``sentinel_username`` and ``sentinel_password``,
        ``ca``, ``cert`` and ``key`` (files, for TLS).

        Raises:
            ConfigError: the app's fault; the URL names no Redis. The message quotes nothing of it, because it may hold
                a password.
        """
        parts, options = _split(url)
        kind = parts.scheme.partition("+")[2]
        wait = options.get("start", "fail")
        prefix = options.get("prefix", cls.prefix)
        if wait not in ("fail", "wait"):
            raise ConfigError("?start= of a Redis URL is fail or wait")
        if not prefix or set(prefix) & set("{}*?[]\\") or not prefix.isprintable():
            raise ConfigError("?prefix= of a Redis URL is text without any of {}*?[]\\")
        path = [unquote(part) for part in parts.path.split("/")[1:] if part]
        service = path.pop(0) if kind == "sentinel" and path else ""
        if kind == "sentinel" and not service:
            raise ConfigError("redis+sentinel:// needs the service's name: redis+sentinel://host:26379/mymaster")
        is_unix = parts.scheme == "unix"
        if (is_unix and not parts.path.strip("/")) or (not is_unix and len(path) > 1) or (kind == "cluster" and path):
            raise ConfigError(f"the path of this Redis URL means nothing; use {FORMS}")
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        is_cluster = kind == "cluster"
        return cls(
            nodes=() if is_unix else _nodes(parts.netloc.rpartition("@")[2], 26379 if kind == "sentinel" else 6379),
            path=unquote(parts.path) if is_unix else "",
            service=service,
            is_cluster=is_cluster,
            db=_number("db", options.get("db", path[0] if path and not is_unix else "0"), 0),
            username=unquote(user) or None,
            password=unquote(password) or None,
            sentinel_username=options.get("sentinel_username"),
            sentinel_password=options.get("sentinel_password"),
            tls=_tls(options) if parts.scheme.startswith("rediss") else None,
            prefix=prefix,
            partitions=_number("partitions", options.get("partitions", str(REDIS_CLUSTER_PARTITIONS)), 1)
            if is_cluster
            else 1,
            wait=wait == "wait",
        )


def _split(url: str) -> tuple[SplitResult, dict[str, str]]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(f"this Redis URL cannot be read; use {FORMS}") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme not in SCHEMES or parts.fragment:
        raise ConfigError(f"this is no Redis URL; use {FORMS}")
    if not options.keys() <= set(OPTIONS):  # which, is not said: a password with a ? in it ends up here
        raise ConfigError(
            f"a Redis URL has no other options than {', '.join(OPTIONS)}; in a password a question mark is written %3F"
        )
    return parts, options


def _nodes(text: str, default: int) -> tuple[tuple[str, int], ...]:
    nodes = []
    for node in text.split(","):
        host, colon, port = node.rpartition(":")
        if not colon or node.endswith("]"):  # an IPv6 address without a port
            host, port = node, str(default)
        nodes.append((host.strip("[]") or "localhost", _number("port", port, 1)))
    return tuple(nodes)


def _number(what: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= 65535):
        raise ConfigError(f"the {what} of a Redis URL is a number of at least {least}")
    return int(text)


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ca"))
        if "cert" in options:
            context.load_cert_chain(options["cert"], options.get("key"))
    except OSError as error:
        raise ConfigError(f"the certificates of a Redis URL cannot be read: {error}") from error
    return context
