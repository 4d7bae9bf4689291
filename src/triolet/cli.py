"""The command ``triolet``: ``triolet serve`` serves one app, on one worker or on several."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import trio

from .errors import ConfigError, TrioletError
from .server.acceptor import raise_descriptor_limit
from .server.listeners import close_listener
from .server.settings import Settings
from .server.status import serve_status_on
from .workers.addresses import address, bind, bind_shared, bind_status
from .workers.child import CONTROL_OPTION, starter
from .workers.control import Control
from .workers.places import Place
from .workers.process import serve_alone, serve_supervised
from .workers.supervisor import Supervisor

__all__ = ["add_arguments", "load_app", "main", "settings_for"]

logger = logging.getLogger("triolet.server")

BIND = "127.0.0.1:8000"
MOST_WORKERS = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0, or 1 where something cannot work, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="triolet", description="Live updates on Trio.")
    commands = parser.add_subparsers(dest="command", required=True)
    add_arguments(commands.add_parser("serve", help="serve an app", description="Serve an app."))
    written = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(written)
    try:
        return serve(options, written)
    except TrioletError as error:
        print(f"triolet: {error}", file=sys.stderr)  # noqa: T201 - a command speaks on its terminal
        return 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``triolet serve`` understands."""
    parser.add_argument("app", help="where the app is, as module:name; module:make() calls a factory")
    parser.add_argument(
        "--bind",
        action="append",
        metavar="HOST:PORT",
        help="where to listen: host:port, [ipv6]:port or unix:path; may be repeated (127.0.0.1:8000)",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="processes that serve, under a supervisor that starts them again, and all anew at SIGHUP (this one alone)",
    )
    parser.add_argument(CONTROL_OPTION, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument(
        "--grace", type=_seconds, default=10.0, help="seconds from SIGTERM to the end, whatever clients do (10)"
    )
    parser.add_argument(
        "--metrics",
        metavar="HOST:PORT",
        help="a listener for the operator: /metrics for Prometheus, /health/live, /health/ready; a port alone is "
        "127.0.0.1's (none)",
    )
    parser.add_argument("--certfile", help="TLS: the certificate chain, PEM")
    parser.add_argument("--keyfile", help="TLS: its private key, PEM")
    parser.add_argument("--http2", action="store_true", help="speak HTTP/2 as well; only with TLS")
    parser.add_argument("--app-dir", default=".", help="where to import the app from (the working directory)")
    parser.add_argument("--root-path", default="", help="the path below which requests come in, as ASGI's root_path")


def serve(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code.

    Args:
        options: what :func:`add_arguments` has declared.
        arguments: the same as they were written, for the workers' processes.
    """
    several = options.workers is not None
    logging.basicConfig(
        level=options.log_level.upper(),
        format=f"%(asctime)s {'%(process)d ' if several else ''}%(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    if several and options.control is None:
        return trio.run(_supervise, options, arguments)
    app = load_app(options.app, options.app_dir)
    settings = settings_for(app, options)
    raise_descriptor_limit()
    if options.control is not None:
        os.set_inheritable(options.control, False)  # the line is this process's, not that of what the app starts
        control = Control(socket.socket(fileno=options.control))
        return int(trio.run(serve_supervised, app, settings, control))
    listeners = [bind(text) for text in options.bind or [BIND]]
    status = [] if options.metrics is None else [bind_status(options.metrics)]
    return int(trio.run(serve_alone, app, settings, listeners, status))


async def _supervise(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Serve with several workers. Returns the exit code."""
    status = [] if options.metrics is None else [bind_status(options.metrics)]
    shared = [bind_shared(text, options.workers) for text in options.bind or [BIND]]
    places = [Place(number, listeners) for number, listeners in enumerate(zip(*shared, strict=True))]
    scheme = "http" if options.certfile is None else "https"
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(places, starter(arguments, nursery), options.grace)
        for listener in status:
            logger.info("metrics and health on %s", address("http", listener))
            nursery.start_soon(serve_status_on, listener, supervisor)
        for listener in places[0].listeners:
            logger.info("%d workers for %s", options.workers, address(scheme, listener))
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            code = await supervisor.run(signals)
        nursery.cancel_scope.cancel()
    for listener in status:
        close_listener(listener)
    return code


def load_app(text: str, folder: str = ".") -> Any:
    """Import an app from ``module:name``; ``module:make()`` calls a factory.

    Raises:
        ConfigError: there is none; the message says what was looked for.
    """
    module_name, _, name = text.partition(":")
    if not module_name:
        raise ConfigError(f"{text!r} names no app: write module:app")
    sys.path.insert(0, os.path.abspath(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ConfigError(f"there is no module {module_name!r} in {os.path.abspath(folder)}: --app-dir?") from None
    name = name or "app"
    app = getattr(module, name.removesuffix("()"), None)
    if app is None:
        raise ConfigError(f"module {module_name!r} has no {name!r}")
    return app() if name.endswith("()") else app


def settings_for(app: Any, options: argparse.Namespace) -> Settings:
    """The worker's settings. The limits are the app's own, of its Triolet.

    Raises:
        ConfigError: options that do not go together, or a certificate that cannot be loaded.
    """
    service = getattr(app, "extensions", {}).get("triolet")
    if (options.certfile is None) != (options.keyfile is None):
        raise ConfigError("TLS needs both --certfile and --keyfile")
    if options.http2 and options.certfile is None:
        raise ConfigError("--http2 needs TLS: give --certfile and --keyfile")
    if service is not None and service.in_memory and (options.workers or 1) > 1:
        raise ConfigError(
            f'log="memory:" is known to one process only, and --workers {options.workers} would be as many logs: use '
            'log="sqlite:///events.db", or log="redis://localhost/0"'
        )
    settings = Settings(
        grace=options.grace, tls=_tls(options), http2=options.http2, root_path=options.root_path.rstrip("/")
    )
    return settings if service is None else replace(settings, limits=service.limits)


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.certfile is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2", "http/1.1"] if options.http2 else ["http/1.1"])
    try:
        context.load_cert_chain(options.certfile, options.keyfile)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use the certificate {options.certfile!r}: {error}") from None
    return context


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 86_400:
        raise argparse.ArgumentTypeError("must be more than 0 seconds, and less than a day")
    return seconds


def _workers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_WORKERS}")
    return number
