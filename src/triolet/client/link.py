"""The client's one WebSocket on a ``live.socket``, which its follows share; and what they share where there is none."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

import trio

from .bounds import CLIENT_MESSAGES
from .commands import Commands
from .errors import Ended
from .heard import Heard
from .heartbeat import Heartbeat
from .line import Line
from .listeners import Listener, Listeners
from .many import Bundles
from .routes import Routes
from .seat import Rider, Seat
from .speaker import Speaker, converse
from .way import Way, connected, next_try

__all__ = ["Link"]


class Link:
    """Keeps the WebSocket up while there are riders, or somebody listens to what the app says.

    A server that knows no ``sub`` has one follow a channel: then the newest rider of a channel has it, and the others
    go on with connections of their own.

    Args:
        way: to the server.
        url: of the ``live.socket``.
        commands: which use it too.
        nursery: of the client's tasks.

    Attributes:
        url: as it was given.
        listeners: to what the app says.
        speaker: the way up on the present connection; None: there is none now.
    """

    def __init__(self, way: Way, url: str, commands: Commands, nursery: trio.Nursery) -> None:
        self.url = url
        self._way = way
        self._commands = commands
        self._bundles = Bundles(way, way.base.target(url), nursery)
        self.listeners = Listeners(commands)
        self._line = Line(way.silence, way.random)
        self._seats: dict[str, Seat] = {}
        self._count = 0
        self._old: bool | None = None
        self._routes = Routes()
        self._parting: set[str] = set()
        self.speaker: Speaker | None = None
        self._wanted = trio.Event()
        self._hurry = trio.Event()

    def retry(self) -> None:
        """Try again at once, if it waits to."""
        self._hurry.set()
        self._bundles.retry()

    async def ride(self, rider: Rider) -> Ended:
        """Follow on this WebSocket, or, while that is not the transport, on an event stream or a poll that others
        share; whatever becomes of the connections. Return why it is over.

        Cancellation: it is unfollowed.
        """
        if self._way.choice.current != "websocket":
            return await self._bundles.ride(rider)
        self._count += 1
        sub, seat = f"s{self._count}", Seat(rider, self._way.base.target(rider.track.url))
        if self._old and any(other.url == seat.url for other in self._seats.values()):
            return Ended("this server follows a channel once on a socket", retry=0, rides=True, alone=True)
        self._seats[sub] = seat
        self._wanted.set()
        try:
            self._ask(sub, seat)
            await seat.left.wait()
        finally:
            self._seats.pop(sub, None)
            self._leave(sub, say=seat.ended is None or not seat.ended.by_server)
            self._ask_waiting()
        assert seat.ended is not None
        return seat.ended

    def listen(self, listener: Listener) -> None:
        """Have one listen to what the app says, and the socket opened."""
        self.listeners.add(listener)
        self._wanted.set()
        if self.speaker is not None:
            listener.become("live")

    def _ask(self, sub: str, seat: Seat) -> None:
        """Ask for a follow; before it is known whether the server tells subscriptions apart, for one of a URL. What has
        been left may never be answered.
        """
        if self.speaker is None or (self._old is None and not self._parting.issuperset(self._routes.asked(seat.url))):
            return
        self._routes.add(sub, seat.url)
        cursor = seat.rider.track.cursor
        after = {} if cursor is None else {"after": str(cursor)}
        self.speaker.say(type="follow", url=seat.url, sub=sub, **after)

    def _ask_waiting(self) -> None:
        for sub, seat in self._seats.items():
            if not self._routes.has(sub):
                self._ask(sub, seat)

    def _leave(self, sub: str, *, say: bool) -> None:
        """Tell the server. An old one knows a follow by its channel alone, and so when it has confirmed it."""
        if say and self.speaker is not None and self._routes.old is not False and self._routes.is_asked(sub):
            self._parting.add(sub)
            self.speaker.say(type="unfollow", channel="", sub=sub)
            return
        known = self._routes.has(sub)
        channel = self._routes.remove(sub)
        if say and known and self.speaker is not None:
            self._unfollow(self.speaker, sub, channel)

    def _unfollow(self, speaker: Speaker, sub: str, channel: str | None) -> None:
        if not self._routes.old:
            speaker.say(type="unfollow", channel=channel or "", sub=sub)  # an old one has to read a channel, "" is none
        elif channel is not None and not self._routes.on(channel):
            speaker.say(type="unfollow", channel=channel)

    # --- its connections

    async def run(self) -> None:
        """Keep it up, for ever."""
        try:
            while True:
                self._wanted = trio.Event()
                if not self._is_wanted:
                    await self._wanted.wait()
                await self._keep()
        finally:
            self.listeners.become("gone")

    @property
    def _is_wanted(self) -> bool:
        return bool(self._seats or self.listeners)

    async def _keep(self) -> None:
        """Connections, one after the other, as long as somebody wants them."""
        way = self._way
        while self._is_wanted:
            self._line.begin()
            beat = Heartbeat(self._line, way.choice, "websocket")
            ended = await connected(beat, partial(self._connect, beat))
            retry = next_try(way, self._line, beat, ended)
            if way.choice.current != "websocket":
                self._all_leave(Ended(str(ended), retry=0, rides=True))
                if not self.listeners:
                    return
                # What the app says comes over nothing else.
                retry = self._line.after(ended, trio.current_time(), renewable=way.credentials.renewable)
            if retry is None:
                ended.retry, ended.rides = None, True
                self._all_leave(ended)
                self.listeners.become("gone", ended)
                return
            self.listeners.become("connecting", ended)
            for seat in self._seats.values():
                seat.rider.become("connecting", ended)
            self._hurry = trio.Event()
            with trio.move_on_after(retry):
                await self._hurry.wait()

    def _all_leave(self, ended: Ended) -> None:
        for seat in self._seats.values():
            seat.leave(ended)
        self._seats = {}

    async def _connect(self, beat: Heartbeat, nursery: trio.Nursery) -> None:
        try:
            await self.listeners.settle(2 * CLIENT_MESSAGES)  # of connections before: this one may bring more
            hear = partial(self._hear, beat)
            await converse(self._way, self._way.base.target(self.url), beat, hear, self._ready, self._trouble)
        finally:
            speaker, self.speaker = self.speaker, None
            self._routes = Routes()
            self._commands.lose(speaker)

    def _ready(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self._routes, self._parting = Routes(), set()
        self._ask_waiting()
        self._commands.use(speaker)
        self.listeners.become("live")

    def _trouble(self, why: Ended) -> None:
        for seat in self._seats.values():
            seat.rider.trouble(why)

    # --- what comes

    def _hear(self, beat: Heartbeat, message: Heard) -> Awaitable[None] | None:
        if message.type == "reply":
            self._commands.hear(message)
            return None
        if message.type == "message":
            return self.listeners.hear(message, beat, self.speaker)
        subs = self._routes.take(message)
        for sub in subs:
            seat = self._seats.get(sub)
            if seat is not None and seat.ended is None:
                place = message.places.get(sub)
                seat.give(message if place is None else Heard(type="moved", cursor=place))
        if message.type == "open" and (message.url is not None or message.sub is not None):
            self._learn(message, subs)
        return self.listeners.hear_channels(message, subs, beat, self.speaker)

    def _learn(self, message: Heard, confirmed: tuple[str, ...]) -> None:
        """A follow is confirmed, which tells what kind of server this is.

        Raises:
            Ended: an old one was asked for several of a URL at once, and has the last of them now.
        """
        self._old = bool(self._routes.old)
        parted = self._parting.intersection(confirmed) if self._old else self._parting.copy()
        if self._old:
            self._make_room(message.url or "", message.channel or "", anew=not parted)
        for sub in parted:
            self._parting.discard(sub)
            channel = self._routes.remove(sub)
            if self.speaker is not None and self._old and not self._routes.asked(message.url or ""):
                self._unfollow(self.speaker, sub, channel)
        self._ask_waiting()

    def _make_room(self, url: str, channel: str, *, anew: bool) -> None:
        """On an old server the newest follow of a channel has it: the others go on by themselves."""
        several = self._routes.asked(url) if anew else []
        others = {*several, *self._routes.on(channel)[:-1]}
        for sub, seat in list(self._seats.items()):
            if sub in others or (anew and seat.url == url and not self._routes.has(sub)):
                seat.leave(Ended("this server follows a channel once on a socket", retry=0, rides=True, alone=True))
        if several:
            raise Ended("an old server: its follows are asked for anew", retry=0)
