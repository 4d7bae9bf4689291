"""``triolet serve``: one app, on one worker."""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import os
import signal
import socket
import ssl
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import trio

from ..errors import ConfigError
from ..server.worker import Settings, Worker, raise_descriptor_limit

__all__ = ["add_arguments", "run"]

logger = logging.getLogger("triolet.server")

COLLECT_AFTER = (5_000, 20, 100)
"""New objects, less those that went, before the collector looks at the young ones, and how often of that at the
older ones too (Python: 700, 10, 10). Ten thousand connections are a million objects, looked at in one go."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``triolet serve`` understands."""
    parser.add_argument("app", help="where the app is, as module:name; module:make() calls a factory")
    parser.add_argument(
        "--bind",
        action="append",
        metavar="HOST:PORT",
        help="where to listen: host:port, [ipv6]:port or unix:path; may be repeated (127.0.0.1:8000)",
    )
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


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    app = load_app(options.app, options.app_dir)
    settings = settings_for(app, options)
    raise_descriptor_limit()
    listeners = [bind(text) for text in options.bind or ["127.0.0.1:8000"]]
    status = [] if options.metrics is None else [bind_status(options.metrics)]
    return int(trio.run(_serve, app, settings, listeners, status))


async def _serve(app: Any, settings: Settings, listeners: list[socket.socket], status: Sequence[socket.socket]) -> bool:
    """Serve until told to stop. Returns whether the app failed."""
    worker = Worker(app, settings)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

        async def stop() -> None:
            await anext(signals)

        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                await worker.run(listeners, stop, status=status, task_status=task_status)

            await nursery.start(serve)
            calm_collector()
            for listener in status:
                logger.info("metrics and health on %s", _address("http", listener))
            scheme = "http" if settings.tls is None else "https"
            for listener in listeners:
                logger.info("serving on %s", _address(scheme, listener))
    logger.info("ended")
    return worker.failed


def calm_collector() -> None:
    """Have Python look for cyclic garbage less often, and no longer among the modules and the app.

    Connections make many objects that live long, and next to no cycles: when thousands come at once, the collector's
    defaults took a tenth of the time, and the live clients waited.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


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
    settings = Settings(
        grace=options.grace, tls=_tls(options), http2=options.http2, root_path=options.root_path.rstrip("/")
    )
    return settings if service is None else replace(settings, limits=service.limits)


def bind(text: str) -> socket.socket:
    """Bind a listening socket to ``host:port``, ``[ipv6]:port`` or ``unix:path``.

    Raises:
        ConfigError: no such address, or it is taken.
    """
    try:
        if text.startswith("unix:"):
            return _bind_unix(text.removeprefix("unix:"))
        host, _, port = text.rpartition(":")
        return _bind_tcp(host.strip("[]"), int(port))
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {text!r}: {error}") from None


def bind_status(text: str) -> socket.socket:
    """Bind the operator's listener: as :func:`bind`, and a port alone is one of 127.0.0.1.

    What it tells is not for everybody, so another address than the loopback's is warned of.

    Raises:
        ConfigError: no such address, or it is taken.
    """
    listener = bind(f"127.0.0.1:{text}" if text.isdecimal() else text)
    name = listener.getsockname()
    if isinstance(name, tuple) and not ip_address(name[0]).is_loopback:
        logger.warning("metrics and health are open to whoever reaches %s: is that a network of yours alone?", text)
    return listener


def _bind_tcp(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def _bind_unix(path: str) -> socket.socket:
    """Bind a Unix socket; one that a dead server has left there is taken away."""
    listener = socket.socket(socket.AF_UNIX)
    with suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            try:
                listener.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            listener.close()
            listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    return listener


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


def _address(scheme: str, listener: socket.socket) -> str:
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    return f"{scheme}://[{name[0]}]:{name[1]}" if ":" in name[0] else f"{scheme}://{name[0]}:{name[1]}"


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 86_400:
        raise argparse.ArgumentTypeError("must be more than 0 seconds, and less than a day")
    return seconds
