"""Whoever publishes: through a server's app, or through HTTP; again with the same dedupe; or given up halfway."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import h11
import outcome
import trio

from triolet.errors import ChannelEnded, LogError, LogUncertain, NotServingError, WrongThreadError

from .folding import data_of, number_of
from .history import CANCELLED, ENDED, NOT_SERVED, WRONG_LOOP, History, Published, Publishing, Unpublished
from .plan import channel_name
from .stage import draft_of, is_sure, why
from .steps import Publish

__all__ = ["Publisher"]

ADDRESS = "203.0.113.1"
PATIENCE_SECONDS = 60
"""After which whoever publishes through HTTP gives up."""

Stored = tuple[tuple[str, ...], tuple[int, ...]]
"""The cursors of events, and what they hold."""
Outcome = outcome.Outcome[Any]


class Publisher:
    """Publishes for the whole play; every event holds a number of its own."""

    def __init__(self, history: History, hosts: Sequence[Any]) -> None:
        self._history = history
        self._hosts = hosts
        self._numbers = 0
        self._attempts = 0

    async def publish(self, step: Publish) -> None:
        """Do all that a step says."""
        for turn in range(step.count):
            if turn and step.pace:
                await trio.sleep(step.pace)
            elif turn:
                await trio.lowlevel.checkpoint()
            numbers = self.new(max(1, step.batch))
            await self._attempt(step, numbers)
            if step.repeats:
                await self._attempt(step, numbers)
            if step.repeats and step.batch:  # and once more, with something new among it
                await self._attempt(step, (*numbers[1:], *self.new(1)))

    def new(self, count: int) -> tuple[int, ...]:
        """Numbers that nothing holds yet."""
        self._numbers += count
        return tuple(range(self._numbers - count, self._numbers))

    async def _attempt(self, step: Publish, numbers: tuple[int, ...]) -> None:
        history, channel = self._history, channel_name(step.channel)
        dedupes = tuple(f"d{number}" if step.repeats else None for number in numbers)
        self._attempts += 1
        attempt = self._attempts
        history.add(Publishing(history.now, attempt, step.server, channel, numbers, dedupes, step.via))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if step.cancelled is not None:
                    nursery.start_soon(_cancel_later, scope, step.cancelled)
                await self._one(attempt, step, numbers, dedupes)
                nursery.cancel_scope.cancel()

    async def _one(
        self, attempt: int, step: Publish, numbers: tuple[int, ...], dedupes: tuple[str | None, ...]
    ) -> None:
        history = self._history
        ways = {"http": self._through_http, "thread": self._from_a_thread, "elsewhere": self._elsewhere}
        try:
            cursors, held = await ways.get(step.via, self._through_app)(step, numbers, dedupes)
        except trio.Cancelled:
            history.add(Unpublished(history.now, attempt, CANCELLED, False))
            raise
        except (NotServingError, WrongThreadError) as error:
            told = NOT_SERVED if isinstance(error, NotServingError) else WRONG_LOOP
            history.add(Unpublished(history.now, attempt, told, True))
        except (LogError, ChannelEnded) as error:
            history.add(Unpublished(history.now, attempt, why(error), is_sure(error)))
        except (trio.BrokenResourceError, trio.TooSlowError, h11.RemoteProtocolError) as error:
            history.add(Unpublished(history.now, attempt, type(error).__name__, False))
        else:
            history.add(Published(history.now, attempt, cursors, held))

    async def _through_app(self, step: Publish, numbers: tuple[int, ...], dedupes: tuple[str | None, ...]) -> Stored:
        live, channel = self._hosts[step.server].live, channel_name(step.channel)
        if live is None:
            raise NotServingError("no server")
        pairs = zip(numbers, dedupes, strict=True)
        drafts = [draft_of(number, step.size, dedupe, step.fold) for number, dedupe in pairs]
        if step.batch:
            events = await live.publish_many(channel, drafts)
        else:
            only, data = drafts[0], data_of(numbers[0], step.size, step.fold)
            named = {"name": only.name, "key": only.key, "dedupe": only.dedupe, "fold": only.fold}
            events = [await live.publish(channel, data, **named)]
        return tuple(str(event.cursor) for event in events), tuple(number_of(event.data) or 0 for event in events)

    async def _from_a_thread(self, *asked: Any) -> Stored:
        """A thread of its own hands it to the app's event loop. The thread has ended before anything else goes on, so
        that the play stays the same."""
        token, sender, receiver = trio.lowlevel.current_trio_token(), *trio.open_memory_channel[Outcome](1)

        async def publish() -> None:
            sender.send_nowait(await outcome.acapture(self._through_app, *asked))

        _in_a_thread(partial(token.run_sync_soon, partial(trio.lowlevel.spawn_system_task, publish)))
        stored: Stored = (await receiver.receive()).unwrap()
        return stored

    async def _elsewhere(self, *asked: Any) -> Stored:
        """Another thread does it, in an event loop of its own: nothing else goes on meanwhile."""
        await trio.lowlevel.checkpoint()
        stored: Stored = _in_a_thread(lambda: asyncio.run(self._through_app(*asked)))
        return stored

    async def _through_http(self, step: Publish, numbers: tuple[int, ...], dedupes: tuple[str | None, ...]) -> Stored:
        """Raises LogError where the answer is that nothing was stored."""
        body = {"size": step.size, "fold": step.fold, "events": list(zip(numbers, dedupes, strict=True))}
        url = f"/publish/{channel_name(step.channel)}"
        with trio.fail_after(PATIENCE_SECONDS):
            answer = await self._hosts[step.server].request("POST", url, json=body, address=ADDRESS)
        told = json.loads(answer.body) if answer.status in (200, 503) and answer.body[:1] == b"{" else {}
        if answer.status == 200:
            return tuple(told["cursors"]), tuple(told["numbers"])
        if told.get("error") == ENDED:
            raise ChannelEnded(channel_name(step.channel))
        if "error" in told:
            raise (LogError if told["sure"] else LogUncertain)(told["error"])
        raise trio.BrokenResourceError(f"status {answer.status}")


def _in_a_thread(work: Callable[[], Any]) -> Any:
    done: list[Outcome] = []
    thread = threading.Thread(target=lambda: done.append(outcome.capture(work)))
    thread.start()
    thread.join()
    return done[0].unwrap()


async def _cancel_later(scope: trio.CancelScope, passes: int) -> None:
    for _ in range(passes):
        await trio.lowlevel.checkpoint()
    scope.cancel()
