"""What a dialogue stands on: an app that is served behind a path, and its clients. The same in memory and for real."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from tests.paths.app import LIMITS
from tests.paths.table import Cell
from triolet.testing.clients import Client
from triolet.testing.http import Answer
from triolet.testing.reach import Reach

__all__ = ["Ground", "freeze"]

SLACK_SECONDS = 1.5
"""How much later than it is promised something may be seen to happen, by who asks for it over a network."""


class Ground(ABC):
    """One path to one served app, for the dialogue of one cell.

    Attributes:
        cell: whose channel, and no other's, is published to.
        reach: how the app is reached.
        limits: the app's.
        alone: whether nobody else is served, and nothing but the client's small kernel lies between, so that what is
            held can be told to the byte.
        too_many: events of ``big_bytes``, more than the kernels and a proxy hold between the server and a client that
            does not read.
        slack: seconds by which something may be seen later than it is promised: how busy the machine is, is no part of
            the promise.
        rounds: how many times so many are published at most. A kernel between may grow its buffer as far as its
            ``tcp_rmem`` allows, 32 MB on many machines, and whether it does is its own affair.
    """

    limits = LIMITS
    alone = True
    too_many = 60
    big_bytes = 40_000
    rounds = 1
    slack = SLACK_SECONDS

    def __init__(self, cell: Cell, reach: Reach) -> None:
        self.cell = cell
        self.reach = reach
        self.channel = "-".join((cell.promise, cell.transport, cell.path)).replace(" ", "-")

    @abstractmethod
    async def stop(self) -> None:
        """Tell the server to end, as SIGTERM does."""

    @property
    def url(self) -> str:
        """Of the channel."""
        return f"/cells/{self.channel}/events"

    def client(
        self, transport: str | None = None, *, member: str | None = None, wants: str = "", **options: Any
    ) -> Client:
        """A client of the cell's channel, by the cell's transport, whose URL says what it wants."""
        query = wants if member is None else f"as={member}"
        return self.reach.client(transport or self.cell.transport, f"{self.url}?{query}".rstrip("?"), **options)

    async def publish(self, *data: Any, as_texts: bool = False) -> list[str]:
        """Publish, texts that go together or anything, and return the cursors."""
        answer = await self.reach.post(f"/cells/{self.channel}{'/texts' if as_texts else ''}", json=list(data))
        assert answer.status == 200, answer
        ids: list[str] = answer.json["ids"]
        return ids

    async def publish_big(self, count: int, size: int) -> None:
        """Publish so many numbered events of so many bytes."""
        answer = await self.reach.post(f"/cells/{self.channel}/big", json={"count": count, "bytes": size})
        assert answer.status == 200, answer

    async def look(self) -> dict[str, Any]:
        """Who is there: ``members`` of the channel, how many ``followers`` it has that keep a connection, and how many
        ``watchers``, which long polls that wait are too."""
        return (await self.reach.get(f"/cells/{self.channel}")).json  # type: ignore[no-any-return]

    async def held(self) -> int:
        """Bytes that are held for clients."""
        return int((await self.reach.get("/held")).json["held"])

    async def ask(self, path: str | None = None, **headers: str) -> Answer:
        """One request for the channel, or another one, by the cell's transport; the whole answer, if it has an end."""
        target = path or self.url
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        if self.cell.transport == "websocket":
            return await self.reach.upgrade(target, headers)
        if self.cell.transport == "sse":
            headers["accept"] = "text/event-stream"
        return await self.reach.request("GET", target, headers)

    async def wait_for(self, what: str, true: Callable[[], Awaitable[bool]], within: float) -> float:
        """Look again and again until it is so, and return how long that took."""
        took = await self.becomes(true, within)
        if took is not None:
            return took
        raise AssertionError(f"{self.cell}: it took longer than {within} s until {what}: {await self.look()}")

    async def becomes(self, true: Callable[[], Awaitable[bool]], within: float) -> float | None:
        """The same; None where it did not become so in time."""
        began = trio.current_time()
        with trio.move_on_after(within + self.slack):
            while not await true():  # noqa: ASYNC110  # it is another process that changes
                await trio.sleep(0.05)
            return trio.current_time() - began
        return None


def freeze(client: Client) -> None:
    """Do to a client what SIGSTOP does: its sockets stay open and its kernel takes what comes, but nobody reads."""
    client._scope.cancel()
