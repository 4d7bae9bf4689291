"""One follow: its task, which keeps a connection up and puts what comes into the channel to the program."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from ..closing import ENDED
from .bounds import CLIENT_ITEMS
from .commands import Commands
from .errors import Ended
from .heard import Heard, tell_of
from .heartbeat import Heartbeat
from .items import End, Item, Tell
from .line import Line
from .link import Link
from .speaker import Speaker, converse
from .streams import One, over_polls, over_sse
from .track import State, Track
from .way import Way, connected, next_try

__all__ = ["Following"]


class Following:
    """Follows one channel: on a connection of its own, or as a rider of what the client's follows share.

    Args:
        way: to the server.
        link: the client's socket; None: it has none.
        commands: which may use its WebSocket.
        track: the position.
        out: to the program. A connection of its own waits where it is full; a rider gets off, and goes on with one of
            its own until that ends: the others are not held up.
        change: hears of the state and why it is so.
        moved: hears that the position has moved, and of the items that say so; mostly there are none.
        told: hears what is only for now, at once.

    Attributes:
        ended: why it is over; None while it is not.
        given: how many items there were for the program, those included that it has not taken.
    """

    def __init__(
        self,
        way: Way,
        link: Link | None,
        commands: Commands,
        track: Track,
        out: trio.MemorySendChannel[Item],
        change: Callable[[State, Ended | None], None],
        moved: Callable[[list[Item]], None],
        told: Callable[[Tell], None],
    ) -> None:
        self.track = track
        self.ended: Ended | None = None
        self.given = 0
        self._way = way
        self._link = link
        self._commands = commands
        self._out = out
        self._change = change
        self._moved = moved
        self._told = told
        self._speaker: Speaker | None = None
        self._alone = False
        self._hurry = trio.Event()
        self._held: deque[Item] = deque()

    def retry(self) -> None:
        """Try again at once, if it waits to, or the socket does that it shares."""
        self._hurry.set()
        if self._link is not None:
            self._link.retry()

    @property
    def is_closed(self) -> bool:
        """Whether the client is, so that nothing can be followed any more."""
        return self._commands.closed

    def say(self, **message: Any) -> bool:
        """Say something on the WebSocket that this goes over now. Return False where there is none."""
        speaker = self._speaker or (None if self._link is None else self._link.speaker)
        return speaker is not None and speaker.say(**message)

    async def run(self) -> None:
        """Keep it up until it is over.

        Cancellation: it is unfollowed.
        """
        way, line = self._way, Line(self._way.silence, self._way.random)
        with self._out:
            while True:
                await self._put_all()  # what waited when the last connection ended: the position is behind it already
                line.begin()
                beat = Heartbeat(line, way.choice, way.choice.current)
                ended = await self._once(beat)
                if ended.rides:  # its connection is the link's
                    retry = line.after(ended, trio.current_time(), renewable=False)
                else:
                    retry = next_try(way, line, beat, ended)
                if retry is None:
                    break
                self.become("connecting", ended)
                self._hurry = trio.Event()
                with trio.move_on_after(retry):
                    await self._hurry.wait()
            await self._put_all()
            self.ended = ended
            self.become("gone", ended)

    async def _once(self, beat: Heartbeat) -> Ended:
        """One connection."""
        if self._link is not None and not self._alone:
            ended = await self._link.ride(self)
            self._alone = ended.alone
            return ended
        one = One(self._way, self)
        talks: dict[str, Callable[[trio.Nursery], Awaitable[None]]] = {
            "sse": partial(over_sse, self._way, one, beat),
            "poll": partial(over_polls, self._way, one, beat, None),
            "long-poll": partial(over_polls, self._way, one, beat, self._way.wait),
            "websocket": partial(self._over_websocket, beat),
        }
        ended = await connected(beat, talks[beat.transport])
        self._alone = ended.status is not None  # it is refused, for now: so it would be beside others
        return ended

    async def _over_websocket(self, beat: Heartbeat, nursery: trio.Nursery) -> None:
        """A channel's own WebSocket, over which commands go too."""
        speaker: Speaker | None = None

        def ready(opened: Speaker) -> None:
            nonlocal speaker
            self._speaker = speaker = opened
            self._commands.use(opened)

        def hear(message: Heard) -> Awaitable[None] | None:
            if message.type == "reply":
                self._commands.hear(message)
                return None
            return self.take(message, beat, speaker)

        after = None if self.track.cursor is None else str(self.track.cursor)
        try:
            await converse(
                self._way, self._way.base.target(self.track.url, after=after), beat, hear, ready, self.trouble
            )
        finally:
            self._speaker = None
            self._commands.lose(speaker)

    # --- what comes

    @property
    def has_room(self) -> bool:
        """Whether what one message brings can be put to the program without waiting."""
        return self._out.statistics().current_buffer_used <= CLIENT_ITEMS - 2

    def take_now(self, message: Heard) -> None:
        """Take a message where there is room. Raises Ended."""
        self._take(message)
        self._put()

    async def take(self, message: Heard, beat: Heartbeat, speaker: Speaker | None = None) -> None:
        """Take a message, and wait for the program where it has no room. Raises Ended."""
        self._take(message)
        if not self._put():
            await self._wait(beat, speaker)

    async def _wait(self, beat: Heartbeat, speaker: Speaker | None) -> None:
        beat.rest()
        if speaker is not None:
            speaker.clogged = True
            self._commands.lose(speaker)
        await self._put_all()
        if speaker is not None:
            speaker.clogged = False
        beat.listen()

    def _take(self, message: Heard) -> None:
        if message.type == "tell":
            self._told(tell_of(message, self.track.channel))
            return
        before, cursor = self.track.state, self.track.cursor
        items = self.track.take(message)
        self._held += items
        self.given += len(items)
        if self.track.state != before:
            self._change(self.track.state, None)
        if self.track.cursor != cursor:
            self._moved(items)
        if items and isinstance(items[-1], End):
            # Not for the server's goodbye, which may be lost: who came back for it would be told of the end again.
            raise Ended(ENDED.reason, "closed", retry=None, code=ENDED.code, rides=True, by_server=True)

    def _put(self) -> bool:
        """Put to the program what is held for it, as far as there is room. Return whether that was all."""
        while self._held:
            try:
                self._out.send_nowait(self._held[0])
            except trio.WouldBlock:
                return False
            except trio.BrokenResourceError:  # it has left: those that share the socket are not to notice
                self._held.clear()
                return True
            self._held.popleft()
        return True

    async def _put_all(self) -> None:
        """The same, and wait for room.

        Cancellation: what is held goes to the program next time.
        """
        while self._held:
            await self._out.send(self._held[0])
            self._held.popleft()

    def become(self, state: State, why: Ended | None = None) -> None:
        """The connection's state has changed, or there is more to say of it."""
        self.track.state = state
        self._change(state, why)

    def trouble(self, why: Ended) -> None:
        """Something went wrong beside a connection that stands."""
        self._change(self.track.state, why)
