"""A process that serves an app: by itself, or as one of several workers under a supervisor."""

from __future__ import annotations

import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import trio

from ..admin.alone import Alone
from ..admin.guard import Key, guard_of
from ..admin.lines import serve_line
from ..admin.listener import Office, serve_admin
from ..errors import ConfigError, first_of
from ..server.isolation import isolated
from ..server.listeners import take_name_away
from ..server.settings import Settings
from ..server.worker import Worker
from .addresses import address
from .bounds import COLLECT_AFTER_OBJECTS
from .control import ACCEPT, ASK, BEAT, LEAVING, NOW, READY, RELEASE, Control
from .last_resort import LastResort
from .logs import speak_again
from .signals import Signals
from .systemd import Notifier

__all__ = ["serve_alone", "serve_supervised"]

logger = logging.getLogger("triolet.server")


async def serve_alone(
    app: Any,
    settings: Settings,
    listeners: list[socket.socket],
    operators: Sequence[socket.socket],
    key: Key,
    renew: Callable[[], None],
    signals: Signals,
    last_resort: LastResort,
    notifier: Notifier,
) -> bool:
    """Serve until a signal comes that ends it. Returns whether the app failed.

    SIGHUP calls ``renew``, which reads the operator's key again, and nothing else: the app was imported, and is what it
    is.

    Bounds: ``settings.grace`` seconds after the signal, and a moment more, the process is gone whatever the app does;
    after a second signal it is gone at once.

    Raises:
        ConfigError: the app's fault; it did not start.

    Cancellation: as Worker.run.
    """
    worker = Worker(app, settings)
    last_resort.clean_up = partial(_take_names_away, listeners)

    async def announce() -> None:
        await worker.started.wait()
        speak_again()
        calm_collector()
        for listener in operators:
            logger.info("the operator's listener is on %s", address("http", listener))
        for listener in listeners:
            logger.info("serving on %s", address(settings.scheme, listener))
        notifier.ready()
        await worker.draining.wait()
        notifier.stopping()
        last_resort.ordered(1)

    async def stop() -> None:
        async for number in signals:
            if number != signal.SIGHUP:
                return
            if signals.terminal_is_gone:
                logger.warning("SIGHUP: the terminal that this was started from is gone, and so it ends")
                return
            hang_up()

    def hang_up() -> None:
        serves = worker.ready  # else systemd would take a process that starts or ends for one that is ready
        if serves:
            notifier.reloading()
        renew()
        logger.info("SIGHUP: the operator's key was read again; the app serves on as it is (with --workers 1, anew)")
        if serves:
            notifier.ready()

    alone = Alone(worker)
    beside = [partial(serve_admin, one, Office(alone, guard_of(key, one))) for one in operators]
    await _beside(partial(worker.run, listeners, stop, beside=beside), announce, notifier.keep_alive)
    logger.info("ended")
    return worker.failed


async def serve_supervised(
    app: Any, settings: Settings, control: Control, signals: Signals, last_resort: LastResort
) -> bool:
    """Serve where and as long as a supervisor says; where that is gone, drain and end. Returns whether the app failed.

    SIGTERM and SIGINT mean the same as the supervisor's orders: a signal to a whole group of processes is meant once.

    Args:
        app: the ASGI app.
        settings: how to serve it.
        control: the line to the supervisor.

    Raises:
        ConfigError: the app's fault; it did not start.

    Cancellation: as Worker.run.
    """
    supervised = _Supervised(Worker(app, settings), control, signals, last_resort.ordered)
    children = (supervised.obey, supervised.obey_signals, supervised.say_ready, supervised.say_leaving)
    await _beside(partial(supervised.worker.run, [], supervised.told_to_stop), *children)
    return supervised.worker.failed


def _take_names_away(listeners: Sequence[socket.socket]) -> None:
    for listener in listeners:
        take_name_away(listener)


async def _beside(run: Callable[[], Awaitable[None]], *children: Callable[[], Awaitable[None]]) -> None:
    """Run a function, and beside it the children for as long as it takes. A ConfigError is raised by itself, in no
    group."""
    failed: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            for child in children:
                nursery.start_soon(child)
            await run()
            nursery.cancel_scope.cancel()
    except* ConfigError as errors:
        failed = first_of(errors)  # raised here, it would be in a group again before Python 3.11.4
    if failed is not None:
        raise failed from None


class _Supervised:
    """A worker that obeys the orders of its supervisor."""

    def __init__(self, worker: Worker, control: Control, signals: Signals, bound: Callable[[int], None]) -> None:
        self.worker = worker
        self._control = control
        self._signals = signals
        self._bound = bound
        self._places: dict[int, list[socket.socket]] = {}
        self._stop = trio.Event()
        self._now = trio.Event()

    async def told_to_stop(self) -> None:
        """Wait for the order to stop; once the worker drains, for the order to end at once."""
        await (self._now if self.worker.draining.is_set() else self._stop).wait()

    async def say_ready(self) -> None:
        await self.worker.started.wait()
        speak_again()
        calm_collector()
        self._control.say(READY)

    async def say_leaving(self) -> None:
        await self.worker.draining.wait()
        self._control.say(LEAVING)
        self._bound(1)

    async def obey_signals(self) -> None:
        await anext(self._signals)
        self._stop.set()
        await anext(self._signals)
        self._now.set()

    async def obey(self) -> None:
        """Do what the supervisor says. If the supervisor is gone that is an order to stop, because this worker would
        never be started again."""
        async with trio.open_nursery() as nursery:
            await self._obey(nursery)
            nursery.cancel_scope.cancel()

    async def _obey(self, nursery: trio.Nursery) -> None:
        while (order := await self._control.hear()) is not None:
            if order.what == ACCEPT:
                self._places[order.place] = order.listeners
                for listener in order.listeners:
                    self.worker.accept_on(listener)
            elif order.what == RELEASE:
                for listener in self._places.pop(order.place, ()):
                    self.worker.release(listener)
            elif order.what == ASK:
                for line in order.listeners:
                    nursery.start_soon(self._answer, trio.SocketStream(trio.socket.from_stdlib_socket(line)))
            elif order.what == BEAT:
                self._control.say(BEAT)
            else:
                self._bound(2 if order.what == NOW else 1)
                (self._now if order.what == NOW else self._stop).set()
        self._stop.set()

    async def _answer(self, line: trio.SocketStream) -> None:
        async with line:
            await isolated(partial(serve_line, line, self.worker.desk), _was_logged)


def _was_logged() -> None:
    """Nothing more is to be done about it: whoever has asked hears the end of the line."""


def calm_collector() -> None:
    """Make Python look for cyclic garbage less often, and no longer among the modules and the app.

    Connections make many objects that live long, and next to no cycles: when thousands come at once, the collector's
    defaults took a tenth of the time, and the live clients waited.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER_OBJECTS)
