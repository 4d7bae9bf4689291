"""``--reload``: for development, serve anew when a file of the app changes."""

from __future__ import annotations

import argparse
import importlib
import logging
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

import trio

from ..bounds import RELOAD_KILL_SECONDS
from ..errors import ConfigError
from ..server.listeners import close_listener
from ..workers.addresses import Access, bind_all
from ..workers.signals import Signals

__all__ = ["serve_reloading"]

logger = logging.getLogger("triolet.supervisor")

GRACE: Final = "1"
"""Seconds that the old process has: its clients come back to the new one."""


def serve_reloading(
    options: argparse.Namespace, arguments: Sequence[str], addresses: Sequence[str], signals: Signals
) -> int:
    """Serve in a process that is started anew at each change, until a signal comes. Returns the exit code.

    The listening sockets stay open between two of them: who connects meanwhile waits.

    Raises:
        ConfigError: watchfiles is not installed, or an address is taken.
    """
    try:
        watchfiles = importlib.import_module("watchfiles")
    except ModuleNotFoundError:
        raise ConfigError("--reload needs watchfiles: pip install 'triolet[reload]'") from None
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of each change, as is done here
    listeners = bind_all(addresses, Access(options.uds_mode, options.uds_group))
    try:
        numbers = [listener.fileno() for listener in listeners]
        command = _command(arguments, numbers)
        trio.run(_serve, command, numbers, options.app_dir, watchfiles, signals)
    finally:
        for listener in listeners:
            close_listener(listener)
    return 0


def _command(arguments: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """The same command on sockets that are open already, without what is done here."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument in ("--bind", "--grace", "--uds-mode", "--uds-group"):
            skip = not skip
        elif argument != "--reload" and not argument.startswith(("--bind=", "--grace=", "--uds-mode=", "--uds-group=")):
            kept.append(argument)
    binds = [part for number in numbers for part in ("--bind", f"fd://{number}")]
    return [sys.executable, "-P", "-m", "triolet", *kept, *binds, "--grace", GRACE]


async def _serve(command: list[str], numbers: list[int], folder: str, watchfiles: Any, signals: Signals) -> None:
    async with trio.open_nursery() as nursery:
        changed = trio.Event()

        kinds = watchfiles.PythonFilter(extra_extensions=[".toml"])

        async def watch() -> None:
            nonlocal changed
            async for changes in watchfiles.awatch(folder, watch_filter=kinds, step=50):
                logger.info("changed: %s", ", ".join(sorted({path for _, path in changes})[:5]))
                changed.set()

        async def end() -> None:
            await anext(signals)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        nursery.start_soon(end)
        while True:
            changed = trio.Event()
            await _one_life(command, numbers, changed)


async def _one_life(command: list[str], numbers: list[int], changed: trio.Event) -> None:
    """One process, until something changes. One that has ended by itself is not started again before that."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, pass_fds=numbers, start_new_session=True
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_say_that_it_waits, process)
            await changed.wait()
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _say_that_it_waits(process: trio.Process) -> None:
    code = await process.wait()
    logger.info("the server has ended with %d, and is started anew at the next change", code)


async def _end(process: trio.Process) -> None:
    if process.poll() is None:
        process.terminate()
    with trio.move_on_after(RELOAD_KILL_SECONDS):
        await process.wait()
    if process.poll() is None:
        process.kill()
        await process.wait()
