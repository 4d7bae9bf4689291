"""The runs of a play: their sources, whoever waits for what becomes of them, and whoever stops them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import trio

from triolet.errors import ChannelEnded, LogError, NotServingError, RunError
from triolet.runs import Run

from .history import History
from .plan import channel_name
from .publisher import Publisher
from .run_history import Beginning, Begun, Gave, Halted, Outcome, SourceOver, Unbegun
from .stage import draft_of
from .steps_runs import Begin, Halt

__all__ = ["Runs"]

PATIENCE_SECONDS = 8
"""After which whoever stops a run gives up: where his server is killed it never ends."""


class Runs:
    """Begins and stops all runs of a play; each item holds a number of its own."""

    def __init__(self, history: History, publisher: Publisher, hosts: Sequence[Any]) -> None:
        self._history = history
        self._publisher = publisher
        self._hosts = hosts
        self._asked = 0
        self._in_hand: dict[str, tuple[Run, int]] = {}

    async def run(self, step: Begin) -> None:
        """Begin what a step says, and wait until it is over, or its process is."""
        self._asked += 1
        history, number, channel, host = (
            self._history,
            self._asked,
            channel_name(step.channel),
            self._hosts[step.server],
        )
        live, over = host.live, host.over
        history.add(Beginning(history.now, number, step.server, channel, step.unwatched))
        try:
            if live is None:
                raise NotServingError("nobody serves")
            source, unwatched = self._source(number, step), step.unwatched or None
            run = await live.run(channel, source, stop_when_unwatched=unwatched)
        except (LogError, NotServingError, ChannelEnded, RunError) as error:
            history.add(Unbegun(history.now, number, type(error).__name__, str(error)))
            return
        history.add(Begun(history.now, number))
        self._in_hand[channel] = run, step.server
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait, number, run, nursery.cancel_scope)
            await over.wait()
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    async def _wait(self, number: int, run: Run, scope: trio.CancelScope) -> None:
        self._history.add(Outcome(self._history.now, number, await run.wait()))
        scope.cancel()

    async def _source(self, run: int, step: Begin) -> AsyncIterator[Any]:
        history, how = self._history, "left"
        try:
            for turn in range(step.count):
                await trio.sleep(step.pace if turn else 0)
                yield self._item(run, step)
            how = "failed"
            if step.then == "odd":
                yield object()
            if step.then == "raises":
                raise RuntimeError("the source fails")
            how = "done"
        except trio.Cancelled:
            if step.word:
                yield self._item(run, step)
            raise
        finally:
            history.add(SourceOver(history.now, run, how))

    def _item(self, run: int, step: Begin) -> Any:
        (number,) = self._publisher.new(1)
        self._history.add(Gave(self._history.now, run, number))
        return draft_of(number, step.size, fold=step.fold)

    async def halt(self, step: Halt) -> None:
        """Do what a step says."""
        history, channel, since = self._history, channel_name(step.channel), self._history.now
        run, home = self._in_hand.get(channel, (None, 0))
        server = home if step.server is None else step.server
        live, told = self._hosts[server].live, False
        with suppress(NotServingError), trio.move_on_after(PATIENCE_SECONDS):
            if step.server is None and run is not None:
                await run.stop("by hand")
                told = True
            elif live is not None:
                told = await live.stop_run(channel, "asked")
        history.add(Halted(history.now, since, server, channel, told))
