"""Publishing on asyncio, as every Python peer does it: at a rate or saturated, until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Publisher"]


class Publisher:
    """Obeys /bench/start, /bench/stop and /bench/state, which each peer routes here.

    Args:
        publish: makes one event of so many bytes on the wire, for a transport, and hands it to every client.
    """

    def __init__(self, publish: Callable[[str, int], Awaitable[None]]) -> None:
        self._publish = publish
        self._task: asyncio.Task[None] | None = None
        self._wanted = False
        self.published = 0

    def obey(self, what: str, options: Mapping[str, str]) -> dict[str, object]:
        """Do what the benchmark asks, and answer with the state."""
        if what == "start":
            self._wanted = True
            self._task = asyncio.create_task(
                self._run(options["transport"], float(options["rate"]), int(options["burst"]), int(options["size"]))
            )
        elif what == "stop":
            self._wanted = False
        return {"published": self.published, "running": self._task is not None and not self._task.done()}

    async def _run(self, transport: str, rate: float, burst: int, size: int) -> None:
        """Publish bursts at the rate; without one, a burst at each turn of the event loop."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._wanted:
            for _ in range(burst):
                await self._publish(transport, size)
                self.published += 1
            due += 1 / rate if rate else 0
            await asyncio.sleep(max(0.0, due - loop.time()) if rate else 0)
