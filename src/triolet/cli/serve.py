"""``triolet serve``: from what was asked for to a process that serves, or to a supervisor of several."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import trio

from ..admin.guard import Key, guard_of
from ..admin.listener import Office, serve_admin
from ..errors import ConfigError
from ..server.acceptor import raise_descriptor_limit
from ..server.forwarded import Forwarded, read_root_path
from ..server.listeners import close_listener
from ..server.settings import Settings
from ..workers.addresses import Access, address, bind_admin, bind_all, bind_shared, passed_sockets
from ..workers.child import starter
from ..workers.control import Control
from ..workers.last_resort import LastResort
from ..workers.logs import configure, speak_again
from ..workers.places import Place
from ..workers.process import serve_alone, serve_supervised
from ..workers.signals import Signals
from ..workers.supervisor import Supervisor
from ..workers.systemd import Notifier
from .app import load_app
from .certificate import load_tls, warn_of_dates
from .layers import triolet_of
from .options import BIND
from .reload import serve_reloading

__all__ = ["serve", "settings_for"]

logger = logging.getLogger("triolet.server")

CHANNELS_FILE = ".toml"
"""How the name of a file ends of which the app is made."""


def serve(options: argparse.Namespace, arguments: Sequence[str], signals: Signals) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code.

    Args:
        options: what :func:`add_arguments` has declared.
        arguments: the same as they were written, for the workers' processes.
        signals: taken over already.
    """
    several = options.workers is not None
    configure(options.log_level, form=options.log_format, processes=several)
    if options.control is not None:
        return _serve_supervised(options, signals)
    check_options(options)
    addresses = _addresses(options)
    if options.reload:
        return serve_reloading(options, arguments, addresses, signals)
    notifier = Notifier.of(os.environ, os.getpid())
    key = _key(options)
    if several:
        return trio.run(_supervise, options, arguments, addresses, key, signals, notifier)
    last_resort = _last_resort(options, signals)
    app, settings = _app_and_settings(options, signals)
    warn_of_dates(options.certfile)
    renew = _renewal(options, key)
    listeners: list[socket.socket] = []
    operators = _operators(options, key)
    try:
        listeners = bind_all(addresses, _access(options))
        how = app, settings, listeners, operators, key, renew, signals, last_resort, notifier
        return int(trio.run(serve_alone, *how))
    finally:
        for listener in (*listeners, *operators):
            close_listener(listener)


def _addresses(options: argparse.Namespace) -> list[str]:
    """Where to listen: as it is said, or on what systemd has passed."""
    passed = passed_sockets(os.environ, os.getpid())
    if options.bind and set(passed) - set(options.bind):
        logger.warning("systemd has passed %d sockets, and --bind says otherwise: leave it out", len(passed))
    addresses = options.bind or passed or [BIND]
    for option, given in (("--uds-mode", options.uds_mode), ("--uds-group", options.uds_group)):
        if given is not None and not any(text.startswith("unix:") for text in addresses):
            raise ConfigError(f"{option} is for Unix sockets that are made here: add --bind unix:PATH, or leave it out")
    return addresses


def _key(options: argparse.Namespace) -> Key:
    if options.admin is None and options.admin_key_file is not None:
        raise ConfigError("--admin-key-file is the key for --admin: say where that listens")
    return Key(options.admin_key_file, {} if options.admin is None else os.environ)


def _renewal(options: argparse.Namespace, key: Key) -> Callable[[], None]:
    """What is done at SIGHUP, beside the app."""

    def renew() -> None:
        key.read_again()
        warn_of_dates(options.certfile)

    return renew


def _operators(options: argparse.Namespace, key: Key) -> list[socket.socket]:
    return [] if options.admin is None else [bind_admin(options.admin, key, options.admin_option)]


def _app_and_settings(options: argparse.Namespace, signals: Signals) -> tuple[Any, Settings]:
    with signals.ending_at_once():
        is_file = options.app.endswith(CHANNELS_FILE)
        app = _load_file(options.app) if is_file else load_app(options.app, options.app_dir)
    speak_again()
    settings = settings_for(app, options)
    raise_descriptor_limit()
    return app, settings


def _load_file(path: str) -> Any:
    try:
        from ..standalone.app import load_file  # here, so that whoever has an app needs no HTTP client
    except ModuleNotFoundError as error:
        raise ConfigError(f"{path!r} needs {error.name}: pip install 'triolet[standalone]'") from None
    return load_file(path)


def _serve_supervised(options: argparse.Namespace, signals: Signals) -> int:
    os.set_inheritable(options.control, False)  # the line is this process's, not that of what the app starts
    signals.ignore(signal.SIGHUP)  # that is for the supervisor
    control = Control(socket.socket(fileno=options.control))
    last_resort = _last_resort(options, signals)
    app, settings = _app_and_settings(options, signals)
    return int(trio.run(serve_supervised, app, settings, control, signals, last_resort))


def _last_resort(options: argparse.Namespace, signals: Signals) -> LastResort:
    """What bounds the time from the first signal on, also while the app is imported."""
    last_resort = LastResort(options.grace)
    signals.on_signal = last_resort.ordered
    return last_resort


def _access(options: argparse.Namespace) -> Access:
    return Access(options.uds_mode, options.uds_group)


async def _supervise(
    options: argparse.Namespace,
    arguments: Sequence[str],
    addresses: Sequence[str],
    key: Key,
    signals: Signals,
    notifier: Notifier,
) -> int:
    """Serve with several workers. Returns the exit code."""
    warn_of_dates(options.certfile)
    operators = _operators(options, key)
    shared = bind_shared(addresses, options.workers, _access(options))
    places = [Place(number, listeners) for number, listeners in enumerate(zip(*shared, strict=True))]
    scheme = "http" if options.certfile is None else "https"
    where = [address("http", listener) for listener in operators], [address(scheme, one) for one in places[0].listeners]
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(places, starter(arguments, nursery), options.grace, notifier, _renewal(options, key))
        nursery.start_soon(notifier.keep_alive)
        nursery.start_soon(_announce, supervisor, *where)
        for listener in operators:
            nursery.start_soon(serve_admin, listener, Office(supervisor, guard_of(key, listener)))
        code = await supervisor.run(signals)
        nursery.cancel_scope.cancel()
    for listener in operators:
        close_listener(listener)
    return code


async def _announce(supervisor: Supervisor, operators: Sequence[str], addresses: Sequence[str]) -> None:
    """Say where it serves, when it does: before an app that cannot start nothing stands but its own sentence."""
    await supervisor.begun.wait()
    for name in operators:
        logger.info("the operator's listener is on %s", name)
    for name in addresses:
        logger.info("serving on %s", name)


def check_options(options: argparse.Namespace) -> None:
    """Say what does not go together, before anything is begun.

    Raises:
        ConfigError: options that do not go together.
    """
    if (options.certfile is None) != (options.keyfile is None):
        raise ConfigError("TLS needs both --certfile and --keyfile")
    if options.http2 and options.certfile is None:
        raise ConfigError("--http2 needs TLS: give --certfile and --keyfile")
    if options.reload and options.workers is not None:
        raise ConfigError("--reload is for one process: leave --workers out")
    if read_root_path(options.root_path) is None:
        raise ConfigError(f"--root-path {options.root_path!r} is no path below which an app can be: write it as /live")


def settings_for(app: Any, options: argparse.Namespace) -> Settings:
    """The worker's settings. The limits are the app's own, of its Triolet.

    Raises:
        ConfigError: options that do not go together, or a certificate that cannot be loaded.
    """
    service = triolet_of(app)
    check_options(options)
    if service is not None and service.in_memory and (options.workers or 1) > 1:
        raise ConfigError(
            f'log="memory:" is known to one process only, and --workers {options.workers} would be as many logs: use '
            'log="sqlite:///events.db", or log="redis://localhost/0"'
        )
    settings = Settings(
        grace=options.grace,
        tls=load_tls(options),
        http2=options.http2,
        root_path=read_root_path(options.root_path) or "",
        forwarded=options.forwarded_allow_ips or Forwarded(),
        only_forwarded=options.forwarded_allow_ips is not None,
        proxy_protocol=options.proxy_protocol,
        access_log=options.access_log,
    )
    return settings if service is None else replace(settings, limits=service.limits)
