"""Whoever publishes: through a server's app, or through HTTP; again with the same dedupe; or given up halfway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import h11
import trio

from triolet.errors import LogError, LogUncertain, NotServingError
from triolet.event import Event
from triolet.testing.network import Line

from .history import Published, Publishing, Unpublished
from .plan import Publish
from .stage import channel_name, draft_of, is_sure

if TYPE_CHECKING:
    from .world import World

__all__ = ["Publisher"]

ADDRESS = "203.0.113.1"
PATIENCE_SECONDS = 60
"""After which whoever publishes through HTTP gives up."""


class Publisher:
    """Publishes for the whole play; every event holds a number of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = 0
        self._attempts = 0

    async def publish(self, step: Publish) -> None:
        """Do all that a step says."""
        for turn in range(step.count):
            if turn and step.pace:
                await trio.sleep(step.pace)
            elif turn:
                await trio.lowlevel.checkpoint()
            first = self._numbers
            self._numbers += max(1, step.batch)
            numbers = tuple(range(first, self._numbers))
            dedupes = tuple(f"d{number}" if step.repeats else None for number in numbers)
            await self._attempt(step, numbers, dedupes)
            if step.repeats:
                await self._attempt(step, numbers, dedupes)
            if step.repeats and step.batch:  # and once more, with something new among it
                numbers = (*numbers[1:], self._numbers)
                self._numbers += 1
                await self._attempt(step, numbers, tuple(f"d{number}" for number in numbers))

    async def _attempt(self, step: Publish, numbers: tuple[int, ...], dedupes: tuple[str | None, ...]) -> None:
        history = self._world.history
        self._attempts += 1
        attempt = self._attempts
        history.add(
            Publishing(history.now, attempt, step.server, channel_name(step.channel), numbers, dedupes, step.via)
        )
        if step.cancelled is None:
            await self._one(attempt, step, numbers, dedupes)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_later, nursery.cancel_scope, step.cancelled)
            try:
                await self._one(attempt, step, numbers, dedupes)
            except trio.Cancelled:
                history.add(Unpublished(history.now, attempt, "cancelled", False))
                raise
            nursery.cancel_scope.cancel()

    async def _one(
        self, attempt: int, step: Publish, numbers: tuple[int, ...], dedupes: tuple[str | None, ...]
    ) -> None:
        history = self._world.history
        try:
            if step.via == "http":
                cursors, held = await self._through_http(step, numbers, dedupes)
            else:
                events = await self._through_app(step, numbers, dedupes)
                cursors = tuple(str(event.cursor) for event in events)
                held = tuple(event.data[0] for event in events)
        except NotServingError:
            history.add(Unpublished(history.now, attempt, "nobody serves", True))
        except LogError as error:
            history.add(Unpublished(history.now, attempt, f"{error}", is_sure(error)))
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            history.add(Unpublished(history.now, attempt, f"{type(error).__name__}", False))
        else:
            history.add(Published(history.now, attempt, cursors, held))

    async def _through_app(
        self, step: Publish, numbers: tuple[int, ...], dedupes: tuple[str | None, ...]
    ) -> list[Event]:
        live = self._world.hosts[step.server].live
        if live is None:
            raise NotServingError("no server")
        channel = channel_name(step.channel)
        drafts = [draft_of(number, step.size, dedupe) for number, dedupe in zip(numbers, dedupes, strict=True)]
        if step.batch:
            return await live.publish_many(channel, drafts)
        only, number = drafts[0], numbers[0]
        data = [number, "x" * step.size]
        return [await live.publish(channel, data, name=only.name, key=only.key, dedupe=only.dedupe)]

    async def _through_http(
        self, step: Publish, numbers: tuple[int, ...], dedupes: tuple[str | None, ...]
    ) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Raises LogError where the answer is that nothing was stored."""
        world = self._world
        host = world.hosts[step.server]
        end = world.network.connect(ADDRESS, lambda link: host.accept(link, ADDRESS), Line())
        http = h11.Connection(h11.CLIENT)
        body = json.dumps({"size": step.size, "events": list(zip(numbers, dedupes, strict=True))}).encode()
        headers = [("host", "test"), ("content-type", "application/json"), ("content-length", str(len(body)))]
        asked = h11.Request(method="POST", target=f"/publish/{channel_name(step.channel)}", headers=headers)
        try:
            sent = [http.send(asked), http.send(h11.Data(data=body)), http.send(h11.EndOfMessage())]
            with trio.fail_after(PATIENCE_SECONDS):
                await end.send_all(b"".join(part or b"" for part in sent))
                status, answer = await _read(end, http)
        except trio.TooSlowError:
            raise trio.BrokenResourceError("no answer") from None
        finally:
            end.reset()
        if status == 200:
            told = json.loads(answer)
            return tuple(told["cursors"]), tuple(told["numbers"])
        if status == 503 and answer and "error" in (told := json.loads(answer)):
            raise (LogError if told["sure"] else LogUncertain)(told["error"])
        raise trio.BrokenResourceError(f"status {status}")


async def _read(end: trio.abc.ReceiveStream, http: h11.Connection) -> tuple[int, bytes]:
    status, body = 0, b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await end.receive_some()))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            raise trio.BrokenResourceError("the server went")
    return status, body


async def _cancel_later(scope: trio.CancelScope, passes: int) -> None:
    for _ in range(passes):
        await trio.lowlevel.checkpoint()
    scope.cancel()
