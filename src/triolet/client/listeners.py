"""What the app itself says on the client's socket, and who listens to that."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Protocol

from ..event import Cursor
from .commands import Commands
from .errors import Ended
from .heard import Heard, cursor_of, tell_of, value_of
from .heartbeat import Heartbeat
from .items import ChannelEnd, ChannelGap, End, Event, Fault, Gap, Item, Message, Said, Tell
from .routes import chosen
from .speaker import Speaker
from .track import State, Track

__all__ = ["Listener", "Listeners"]


class Listener(Protocol):
    """Who is told what the app says."""

    def put(self, said: Said) -> bool:
        """Take it, and return whether there was room."""

    async def settle(self, most: int | None = None) -> None:
        """Wait until no more than so many wait for the program: by default as many as there is room for."""

    def become(self, state: State, why: Ended | None = None) -> None:
        """Hear of the connection's state; "gone" is the end."""

    def fault(self, fault: Fault) -> None:
        """Hear of a broken promise of the server's."""

    def told(self, tell: Tell) -> None:
        """Hear what is only for now."""


class Listeners:
    """Those who listen to what the app says: its messages, and the channels that its handler follows for this client.

    Of such a channel the place outlives a connection: what lies between where the last one ended and where the handler
    of the next one begins is told as a gap, and what comes again is not.

    Args:
        commands: whose answers wait, too, while the socket is not read.
    """

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._all: list[Listener] = []
        self._tracks: dict[str, Track] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def is_closed(self) -> bool:
        """Whether the client is."""
        return self._commands.closed

    def add(self, listener: Listener) -> None:
        """One more."""
        self._all.append(listener)

    def remove(self, listener: Listener) -> None:
        """One fewer. Where nobody listens no place is kept."""
        if listener in self._all:
            self._all.remove(listener)
        if not self._all:
            self._tracks.clear()

    async def settle(self, most: int | None = None) -> None:
        """Wait until no more than so many wait for anybody, also from connections that have ended."""
        for listener in list(self._all):
            await listener.settle(most)

    def become(self, state: State, why: Ended | None = None) -> None:
        """The connection's state."""
        listeners = list(self._all)
        if state == "gone":
            self._all.clear()
            self._tracks.clear()
        for listener in listeners:
            listener.become(state, why)

    # --- what comes: each returns what is to be awaited where there is no room, and raises Ended

    def hear(self, message: Heard, beat: Heartbeat, speaker: Speaker | None) -> Awaitable[None] | None:
        """A message of the app's."""
        return self._give([Message(value_of(message))], beat, speaker) if self._all else None

    def hear_channels(
        self, message: Heard, subs: tuple[str, ...], beat: Heartbeat, speaker: Speaker | None
    ) -> Awaitable[None] | None:
        """A message of a channel, if it is for the follow of the app's.

        Args:
            message: what came.
            subs: for whom it is.
            beat: the connection's heartbeat.
            speaker: and its way up.
        """
        if not self._all:
            return None
        named = self._tracks if message.type == "beat" else [message.channel or ""]
        meant = [channel for channel in named if chosen(channel) in subs]
        said = [one for channel in meant for one in self._of_channel(channel, message)]
        return self._give(said, beat, speaker) if said else None

    def _of_channel(self, channel: str, message: Heard) -> Iterator[Said]:
        if message.type == "tell":
            for listener in list(self._all):
                listener.told(tell_of(message, channel))
            return
        track = self._tracks.get(channel)
        if track is None and message.type in ("open", "event", "gap", "live", "end"):
            # Where nobody listened when it was opened, it begins with what comes first.
            before = None if message.type == "open" else _place_before(message)
            track = self._tracks[channel] = Track("", before, self._faulty)
            track.channel = channel
        if track is None:
            return
        if message.type in ("end", "refused"):
            del self._tracks[channel]
        if message.type != "refused":
            yield from (one for item in track.take(message) if (one := _as_said(channel, item)) is not None)
        elif track.cursor is not None:
            yield ChannelGap(track.cursor, track.cursor, None, "revoked", channel)

    def _faulty(self, fault: Fault) -> None:
        for listener in list(self._all):
            listener.fault(fault)

    def _give(self, said: list[Said], beat: Heartbeat, speaker: Speaker | None) -> Awaitable[None] | None:
        had_room = [listener.put(one) for one in said for listener in self._all]
        return None if all(had_room) else self._wait(beat, speaker)

    async def _wait(self, beat: Heartbeat, speaker: Speaker | None) -> None:
        """Nothing more is read until there is room, so nothing is due, and no answer comes through."""
        beat.rest()
        if speaker is not None:
            speaker.clogged = True
            self._commands.lose(speaker)
        await self.settle()
        if speaker is not None:
            speaker.clogged = False
        beat.listen()


def _place_before(message: Heard) -> Cursor:
    if message.type == "event":
        at = cursor_of(message.id)
        return Cursor(at.epoch, at.offset - message.folded)
    return cursor_of(message.after or message.cursor)


def _as_said(channel: str, item: Item) -> Said | None:
    if isinstance(item, Gap):
        return ChannelGap(item.after, item.to, item.missed, item.reason, channel)
    if isinstance(item, End):
        return ChannelEnd(item.cursor, item.data, channel)
    return item if isinstance(item, Event) else None
