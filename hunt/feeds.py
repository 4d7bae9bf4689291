"""Tasks of a server's own that follow a channel (``live.follow``), and go on from where they stood when their server is
there again."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import trio

from triolet.app.extension import Triolet
from triolet.errors import LogError, NotServingError

from .feed_history import Fed, Feeding, Starved
from .plan import FeedPlan, channel_name
from .programs import message_of
from .setting import World

__all__ = ["Feed"]

AGAIN_SECONDS = 0.3
"""After which one that has ended follows again."""


class Feed:
    """One such task, in each life of its server.

    Attributes:
        cursor: where it stands. ``ended``: where the channel's end is, if that was the last that it was told.
        pause: after each item.
    """

    def __init__(self, world: World, plan: FeedPlan) -> None:
        self.world, self.plan = world, plan
        self.channel = channel_name(plan.channel)
        self.cursor = plan.after
        self.ended: str | None = None
        self.pause = plan.pause

    @property
    def cursors(self) -> dict[str, str | None]:
        """By channel, where it stands."""
        return {self.channel: self.cursor}

    def behind(self, untold: Collection[str]) -> list[str]:
        """The channels in which it is not up to date, but for some of which nobody tells."""
        head = str(self.world.head(self.channel))
        return [] if self.channel in untold or head in (self.cursor, self.ended) else [self.channel]

    async def live(self) -> None:
        """Follow whenever its server is there."""
        while True:
            host = self.world.hosts[self.plan.server]
            if host.live is not None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._follow, host.live, nursery.cancel_scope)
                    await host.ends.wait()
                    nursery.cancel_scope.cancel()
            await trio.sleep(AGAIN_SECONDS)

    async def _follow(self, live: Triolet, scope: trio.CancelScope) -> None:
        history, name = self.world.history, self.plan.name
        history.add(Feeding(history.now, name, self.cursor))
        with suppress(LogError, NotServingError):
            async with live.follow(self.channel, self.cursor) as items:
                try:
                    async for item in items:
                        self.ended = None
                        self.cursor = str(items.cursor)
                        history.add(Fed(history.now, name, message_of(item)))
                        await trio.sleep(self.pause)
                    if items.end is not None:
                        self.ended = str(items.end.cursor)
                        end = {"type": "end", "cursor": self.ended, "data": items.end.data}
                        history.add(Fed(history.now, name, end))
                finally:
                    self.cursor = None if items.cursor is None else str(items.cursor)
                    history.add(Starved(history.now, name, self.cursor))
        scope.cancel()
