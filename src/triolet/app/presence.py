"""Who follows a channel: what ``live.presence(channel)`` returns."""

from __future__ import annotations

from collections.abc import Callable

from ..event import check_channel
from ..presence import presence
from ..presence.members import Roster
from ..presence.statements import presence_channel

__all__ = ["Presence"]


class Presence:
    """Who follows a channel. Made by :meth:`Triolet.presence`.

    Attributes:
        channel: where joins and leaves are told, as events with cursors like any other's.
    """

    def __init__(self, channel: str, kept: Callable[[], presence.Presence]) -> None:
        self.channel = presence_channel(channel)
        self._of = check_channel(channel)
        self._kept = kept

    async def roster(self) -> Roster:
        """Return who is present now, and the cursor in :attr:`channel` after which to hear of changes.

        Raises:
            LogError: the log cannot be read.
            NotServingError: the app is not being served.
        """
        return await self._kept().roster(self._of)
