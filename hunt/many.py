"""The clients of a play that follow many channels by one request: they keep one place in all, as they are told it."""

from __future__ import annotations

import trio

from triolet.event import Cursor
from triolet.wire.places import parse_places, place_key, write_places

from .clients import BANNED_SECONDS, Player
from .ears import ENDED_SECONDS, Ear
from .history import Message, Said
from .plan import ClientPlan, channel_name
from .setting import World
from .steps import Talk

__all__ = ["ManyPlayer"]


class ManyPlayer(Player):
    """One such client.

    Attributes:
        place: where it stands in all channels that it has ever followed; None while it was told of none.
    """

    def __init__(self, world: World, plan: ClientPlan, address: str) -> None:
        super().__init__(world, plan, address)
        self.place: str | None = None

    def asks(self) -> tuple[str | None, str | None]:
        """See Player."""
        return None, self.place

    def url_asked(self, channel: str) -> str:
        """See Player. It says where that begins which has no place yet."""
        url, start = self.url(channel), self.plan.start
        return url if start is None else f"{url}{'&' if '?' in url else '?'}after={start}"

    def asked(self, number: int) -> None:
        """Record which channels it asks for, and from where."""
        places = self._places()
        for channel in self.cursors:
            at = places.get(place_key(channel))
            after = self.plan.start if at is None else str(at)
            told = {"type": "follow", "channel": channel, "url": self.url_asked(channel), "after": after}
            self.history.add(Said(self.history.now, number, told))

    def hear(self, ear: Ear, message: Message) -> None:
        """See Player. Where one channel ends, or is refused, the others go on: it comes back for it in a while."""
        if self.line is not ear:
            return
        away_until = self.away_until
        super().hear(ear, message)
        self.place = message.get("place") or self.place
        ended = message["type"] == "end"
        if ended or message.get("end"):
            self.away_until = away_until
        if (ended or message["type"] == "refused") and self.plan.transport == "many sse":
            self.beside(self._come_back, ear, ENDED_SECONDS if ended else BANNED_SECONDS)

    async def _come_back(self, ear: Ear, seconds: float) -> None:
        await trio.sleep(seconds)
        if self.line is ear:
            self.leave("reset", 0)

    def go_on_from(self, channel: str, cursor: str | None) -> None:
        """See Player."""
        super().go_on_from(channel, cursor)
        places = self._places()
        places.pop(place_key(channel), None)
        if cursor is not None:
            places[place_key(channel)] = Cursor.parse(cursor)
        self.place = write_places(places.items()) or None

    async def talk(self, step: Talk) -> None:
        """Come back, and ask for a channel more, or less: that one keeps its place."""
        channel = channel_name(step.channel)
        if step.what == "follow" and channel not in self.cursors:
            self.numbers[channel] = step.channel
            self.cursors[channel] = self.plan.start
            self.leave("reset", 0)
        elif step.what == "unfollow" and channel in self.cursors and len(self.cursors) > 1:
            del self.cursors[channel]
            self.leave("reset", 0)

    def _places(self) -> dict[str, Cursor]:
        return {} if self.place is None else parse_places(self.place, len(self.place))
