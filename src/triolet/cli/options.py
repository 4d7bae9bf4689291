"""What ``triolet serve`` understands."""

from __future__ import annotations

import argparse
from typing import Any

from ..bounds import MOST_WORKERS
from ..errors import ConfigError
from ..server.forwarded import Forwarded
from ..server.settings import Settings
from ..workers.child import CONTROL_OPTION

__all__ = ["BIND", "add_arguments"]

BIND = "127.0.0.1:8000"


class _Admin(argparse.Action):
    """Keeps which of its two names an option was given by, for what is said of its address."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Keep the address and the name."""
        namespace.admin, namespace.admin_option = values, option


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``triolet serve`` understands."""
    parser.add_argument(
        "app",
        help='where the app is: module:name, module:object.name, or a call of a factory, module:make("x"); or the '
        "channels.toml to make one of",
    )
    _where(parser)
    _how(parser)
    _tls(parser)
    _behind(parser)
    _logs(parser)


def _where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bind",
        action="append",
        metavar="ADDRESS",
        help="where to listen: host:port, [ipv6]:port, unix:path, fd://3 (a socket that was inherited), or a port "
        f"alone, which is 127.0.0.1's; may be repeated (systemd's sockets if it has passed some, else {BIND})",
    )
    parser.add_argument(
        "--uds-mode", type=_mode, metavar="MODE", help="the mode of Unix sockets, as 660 (what the umask leaves)"
    )
    parser.add_argument("--uds-group", metavar="GROUP", help="the group of Unix sockets, by name or number (our own)")
    parser.add_argument(
        "--admin",
        "--metrics",
        action=_Admin,
        metavar="ADDRESS",
        help="a listener for the operator: /metrics, /health, /publish, /connections and more; a port alone is "
        "127.0.0.1's (none). --metrics is its old name",
    )
    parser.add_argument(
        "--admin-key-file",
        metavar="FILE",
        help="the key for --admin, on the file's first line; read again at SIGHUP (the environment's "
        "TRIOLET_ADMIN_KEY)",
    )


def _how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="processes that serve, under a supervisor that starts them again, and all anew at SIGHUP (this one alone)",
    )
    parser.add_argument(CONTROL_OPTION, type=int, help=argparse.SUPPRESS)
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=Settings.grace,
        metavar="SECONDS",
        help="from SIGTERM to the end, whatever clients do (%(default)g)",
    )
    parser.add_argument(
        "--app-dir", default=".", metavar="FOLDER", help="where to import the app from (the working directory)"
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="for development: serve anew when a .py or .toml file in --app-dir changes; needs triolet[reload]",
    )


def _tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--certfile", metavar="FILE", help="TLS: the certificate chain, PEM")
    parser.add_argument("--keyfile", metavar="FILE", help="TLS: its private key, PEM")
    parser.add_argument(
        "--keyfile-password-file",
        metavar="FILE",
        help="TLS: the password of an encrypted key, on the file's first line (the environment's "
        "TRIOLET_KEYFILE_PASSWORD)",
    )
    parser.add_argument("--http2", action="store_true", help="speak HTTP/2 as well; only with TLS")


def _behind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root-path",
        default="",
        metavar="PATH",
        help="the path below which requests come in, be it stripped by a proxy or not",
    )
    parser.add_argument(
        "--forwarded-allow-ips",
        type=_forwarded,
        metavar="LIST",
        help="peers whose X-Forwarded-For, -Proto, -Host and -Prefix are believed: addresses and networks, with commas "
        "between them; unix for Unix sockets, * for all (none)",
    )
    parser.add_argument(
        "--proxy-protocol",
        action="store_true",
        help="each connection begins with PROXY protocol, version 1 or 2, which says who the client is",
    )


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument(
        "--log-format", default="text", choices=["text", "json"], help="lines of text, or of JSON (%(default)s)"
    )
    parser.add_argument("--access-log", action="store_true", help="a line in the log for each request (none)")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 86_400:
        raise argparse.ArgumentTypeError("must be more than 0 seconds, and less than a day")
    return seconds


def _whole(text: str, base: int, most: int, why: str) -> int:
    try:
        number = int(text, base)
    except ValueError:
        raise argparse.ArgumentTypeError(why) from None
    if not 1 <= number <= most:
        raise argparse.ArgumentTypeError(why)
    return number


def _workers(text: str) -> int:
    return _whole(text, 10, MOST_WORKERS, f"must be 1 to {MOST_WORKERS}")


def _mode(text: str) -> int:
    return _whole(text, 8, 0o777, "must be a mode as chmod's, from 001 to 777")


def _forwarded(text: str) -> Forwarded:
    try:
        return Forwarded.parse(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
