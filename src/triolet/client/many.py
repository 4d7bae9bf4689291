"""Event streams and polls that several follows share, where there is no WebSocket: ``?follow=`` on a ``live.socket``.

Such a request says once what it follows: so where a follow comes or goes another takes its place, from where each of
them stands, and who was live stays so meanwhile. Each has its own cursor, in its own URL. One that is refused beside
others asks by itself: its own answer says why, and whether to come back, and the others do not notice.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from math import inf
from typing import Final
from urllib.parse import urlencode

import trio

from ..bounds import FOLLOW_URL_CHARACTERS, PLACE_CHARACTERS
from ..event import Cursor
from .bounds import CLIENT_GATHER_SECONDS, CLIENT_MANY_CHARACTERS
from .errors import Ended
from .heard import Heard, read, read_many
from .heartbeat import Heartbeat
from .line import Line
from .seat import Rider, Seat
from .sse import Block
from .streams import Taken, over_polls, over_sse, unfold
from .way import Way, connected, next_try

__all__ = ["Bundle", "Bundles"]

_OLD: Final = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.UPGRADE_REQUIRED, HTTPStatus.NOT_IMPLEMENTED)
"""What a socket's URL is answered with where it speaks WebSocket alone: an older server, or a handler of the app's."""

_TOO_MUCH: Final = (HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


class _Anew(Ended):
    """Others are followed now."""


def _alone(why: str) -> Ended:
    return Ended(why, retry=0, rides=True, alone=True)


class Bundles:
    """The streams and polls that a client's follows share: mostly it is one.

    Args:
        way: to the server.
        target: the path and query of the ``live.socket``.
        nursery: of their tasks.
    """

    def __init__(self, way: Way, target: str, nursery: trio.Nursery) -> None:
        self._way = way
        self._target = target
        self._nursery = nursery
        self._all: list[Bundle] = []
        self.most: float = inf  # URLs of one request, where the server has said that they were too many
        self.is_old = False

    def retry(self) -> None:
        """Try again at once, where one waits to."""
        for bundle in self._all:
            bundle.retry()

    async def ride(self, rider: Rider) -> Ended:
        """Follow together with others. Return why it is over.

        Cancellation: it is unfollowed.
        """
        url = self._way.base.target(rider.track.url)
        if self.is_old or len(url) + PLACE_CHARACTERS > FOLLOW_URL_CHARACTERS:
            await trio.lowlevel.checkpoint()
            return _alone("the server does not take it together with others")
        bundle = next((one for one in self._all if one.has_room(url)), None)
        if bundle is None:
            bundle = Bundle(self._way, self._target, self)
            self._all.append(bundle)
            self._nursery.start_soon(self._run, bundle)
        return await bundle.ride(rider, url)

    async def _run(self, bundle: Bundle) -> None:
        try:
            await bundle.run()
        finally:
            self._all.remove(bundle)


class Bundle:
    """One stream or poll, for several follows; each URL once.

    Args:
        way: to the server.
        target: the path and query of the ``live.socket``.
        bundles: which it is one of.
    """

    def __init__(self, way: Way, target: str, bundles: Bundles) -> None:
        self._way = way
        self._target = target
        self._bundles = bundles
        self._line = Line(way.silence, way.random)
        # By URL. Whose events came last is the last: where a page has not room for all, it is the others' turn.
        self._seats: dict[str, Seat] = {}
        # What the present request follows, once there is one: by URL, as it was asked; and by channel, as it is told.
        self._asked: dict[str, Seat] | None = None
        self._on: dict[str, Seat] = {}
        self._changed = trio.Event()
        self._hurry = trio.Event()

    def has_room(self, url: str) -> bool:
        """Whether one more URL can be followed here."""
        urls = [seat.url for seat in self._wanted]
        size = sum(map(_length, [*urls, url]))
        return url not in urls and len(urls) < self._bundles.most and size <= CLIENT_MANY_CHARACTERS

    def retry(self) -> None:
        """Try again at once, if it waits to."""
        self._hurry.set()

    async def ride(self, rider: Rider, url: str) -> Ended:
        """See :meth:`Bundles.ride`."""
        seat = self._seats[url] = Seat(rider, url)
        self._changed.set()
        try:
            await seat.left.wait()
        finally:
            if self._seats.get(url) is seat:
                del self._seats[url]
            self._changed.set()
        assert seat.ended is not None
        return seat.ended

    # --- its connections

    async def run(self) -> None:
        """Connections, one after the other, as long as somebody wants them."""
        way = self._way
        while self._wanted:
            self._line.begin()
            beat = Heartbeat(self._line, way.choice, way.choice.current)
            if beat.transport == "websocket":
                return self._leave(self._wanted, Ended("a WebSocket is tried again", retry=0, rides=True))
            ended = await connected(beat, partial(self._connect, beat))
            if isinstance(ended, _Anew) or not self._wanted:
                continue
            retry = None if self._is_refused(ended) else next_try(way, self._line, beat, ended)
            if retry is None:
                # Not who came meanwhile: a stream may well end because all that it followed has ended.
                those = self._wanted if self._asked is None else [*self._asked.values()]
                self._leave(those, self._refused(ended, len(those)))
                continue
            for seat in self._wanted:
                seat.rider.become("connecting", ended)
            self._hurry = trio.Event()
            with trio.move_on_after(retry):
                await self._hurry.wait()

    def _is_refused(self, ended: Ended) -> bool:
        """Whether an answer says no for good. That is no word on the transport: over the same each asks by itself."""
        final = ended.status is not None and ended.retry is None and not ended.blames
        return final and not (ended.expired and self._way.credentials.renewable)

    def _refused(self, ended: Ended, count: int) -> Ended:
        """There is to be no other connection. Where an answer says so, it may be to one of so many URLs alone, or to
        their number.
        """
        if ended.status is None:
            ended.retry, ended.rides = None, True
            return ended
        if (ended.status in _TOO_MUCH or ended.error == "follows") and count > 1:
            self._bundles.most = count // 2
            return Ended(str(ended), retry=0, rides=True)
        self._bundles.is_old = ended.status in _OLD
        return _alone(str(ended))

    def _leave(self, seats: list[Seat], ended: Ended) -> None:
        for seat in seats:
            seat.leave(ended)

    async def _connect(self, beat: Heartbeat, nursery: trio.Nursery) -> None:
        self._asked, self._on = None, {}
        nursery.start_soon(self._watch)
        if beat.transport == "sse":
            await over_sse(self._way, self, beat, nursery)
        else:
            await over_polls(self._way, self, beat, self._way.wait if beat.transport == "long-poll" else None, nursery)

    async def _watch(self) -> None:
        """Wait until this connection follows something else than what is wanted. Raises Ended."""
        while True:
            self._changed = trio.Event()
            if not self._wanted:
                raise _Anew("nothing is followed any more")
            if self._is_other:
                await trio.sleep(CLIENT_GATHER_SECONDS)
                if self._is_other:
                    raise _Anew("others are followed")
            await self._changed.wait()

    @property
    def _wanted(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if seat.ended is None]

    @property
    def _is_other(self) -> bool:
        if self._asked is None:
            return False
        # Who was told its end, or that it is taken away, is followed no longer by the server either.
        followed = {seat for seat in self._asked.values() if seat.ended is None or not seat.ended.by_server}
        return followed != set(self._wanted)

    # --- what one asks for, and what comes: see Asker

    @property
    def is_live(self) -> bool:
        """See :class:`triolet.client.streams.Asker`."""
        return all(seat.rider.track.state == "live" for seat in self._wanted)

    def target(self, **query: str | None) -> str:
        """See :class:`triolet.client.streams.Asker`."""
        self._asked = {}
        for seat in self._wanted:
            track = seat.rider.track
            url = self._way.base.target(track.url, after=None if track.cursor is None else str(track.cursor))
            if url in self._asked:
                seat.leave(_alone("it is followed already"))
            else:
                self._asked[url] = seat
        self._changed.set()
        if not self._asked:
            raise _Anew("nothing is followed any more")
        asked = self._way.base.target(self._target, **query)
        follows = urlencode([("follow", url) for url in self._asked])
        return f"{asked}{'&' if '?' in asked else '?'}{follows}"

    def read(self, block: Block) -> Heard:
        """See :class:`triolet.client.streams.Asker`."""
        return read(block.data)

    def trouble(self, why: Ended) -> None:
        """See :class:`triolet.client.streams.Asker`."""
        for seat in self._wanted:
            seat.rider.trouble(why)

    async def take(self, message: Heard, beat: Heartbeat) -> None:
        """See :class:`triolet.client.streams.Asker`."""
        asked = self._asked or {}
        match message.type:
            case "beat":
                for seat in self._on.values():
                    self._give(seat, message)
                return
            case "open" if message.url in asked:
                self._on[message.channel or ""] = asked[message.url]
            case "refused":
                self._refuse(message)
                return
        self._give(self._on.get(message.channel or ""), message)

    async def take_page(self, body: bytes, beat: Heartbeat) -> Taken:
        """See :class:`triolet.client.streams.Asker`."""
        page, before = read_many(body), _places(self._wanted)
        beat.works()
        if page.live:
            beat.heard(Heard(type="live"))
        for message in page.refused:
            self._refuse(message)
        for url, one in page.pages():
            seat = (self._asked or {}).get(url)
            if seat is None:
                continue
            for message in unfold(one, seat.rider.track):
                self._give(seat, message)
            if one.events and self._seats.get(seat.url) is seat:
                self._seats[seat.url] = self._seats.pop(seat.url)
        return Taken(page.retry, bool(page.told) or _places(self._wanted) != before)

    def _refuse(self, message: Heard) -> None:
        asked = self._asked or {}
        seat = self._on.get(message.channel or "") or asked.get(message.url or "")
        if seat is not None:  # the server does not follow it, so nothing has to be asked for anew
            asked.pop(next((url for url, one in asked.items() if one is seat), ""), None)
        if message.channel is not None:
            self._give(seat, message)
        elif seat is not None:
            seat.leave(_alone("it is refused beside others"))

    def _give(self, seat: Seat | None, message: Heard) -> None:
        if seat is not None and self._seats.get(seat.url) is seat and seat.ended is None:
            seat.give(message)


def _places(seats: list[Seat]) -> dict[str, Cursor | None]:
    return {seat.url: seat.rider.track.cursor for seat in seats}


def _length(url: str) -> int:
    """How long a URL is among those of a request, with its cursor."""
    return len(urlencode([("follow", url)])) + PLACE_CHARACTERS
