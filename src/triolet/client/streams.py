"""Event streams and polls: each turns what comes into the same messages."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import NamedTuple, Protocol

import trio

from ..bounds import READ_BYTES
from ..event import Cursor
from .bounds import CLIENT_FIRST_RETRY_SECONDS
from .cursors import is_newest
from .errors import Ended
from .heard import Heard, Page, bye, cursor_of, own_message, read_page
from .heartbeat import Heartbeat
from .http import refusal
from .line import backoff
from .renewal import Renewal
from .sse import Block, StreamParser
from .track import Track
from .way import Way

__all__ = ["Asker", "One", "Taken", "Taker", "over_polls", "over_sse", "unfold"]


class Taken(NamedTuple):
    """The answer to a poll, once it was taken.

    Attributes:
        retry: how many ms to wait before the next; None: it does not say.
        news: whether it has brought anything.
    """

    retry: int | None
    news: bool


class Asker(Protocol):
    """What one request follows: a channel (:class:`One`), or several (many.py)."""

    @property
    def is_live(self) -> bool:
        """Whether all of it is up to date, so that the answer to a poll may be held."""

    def target(self, **query: str | None) -> str:
        """The path and query that ask for all of it, from where it stands, with what is asked besides."""

    def read(self, block: Block) -> Heard:
        """A block of an event stream as the message that it is. Raises Ended: it is none."""

    async def take(self, message: Heard, beat: Heartbeat) -> None:
        """Take a message."""

    async def take_page(self, body: bytes, beat: Heartbeat) -> Taken:
        """Take the answer to a poll."""

    def trouble(self, why: Ended) -> None:
        """Hear of what went wrong beside a connection that stands."""


class Taker(Protocol):
    """Whoever follows one channel."""

    @property
    def track(self) -> Track:
        """The position."""

    async def take(self, message: Heard, beat: Heartbeat) -> None:
        """Take a message."""

    def trouble(self, why: Ended) -> None:
        """Hear of what went wrong beside a connection that stands."""


class One:
    """A channel, at its own URL.

    Args:
        way: to the server.
        follow: whoever follows it.
    """

    def __init__(self, way: Way, follow: Taker) -> None:
        self._way = way
        self._track = follow.track
        self.take = follow.take
        self.trouble = follow.trouble

    @property
    def is_live(self) -> bool:
        """See :class:`Asker`."""
        return self._track.state == "live"

    def target(self, **query: str | None) -> str:
        """See :class:`Asker`."""
        return self._way.base.target(self._track.url, after=_text(self._track.cursor), **query)

    def read(self, block: Block) -> Heard:
        """See :class:`Asker`."""
        return own_message(block)

    async def take_page(self, body: bytes, beat: Heartbeat) -> Taken:
        """See :class:`Asker`."""
        page, before = read_page(body), self._track.cursor
        beat.works()
        for message in unfold(page, self._track):
            if message.type == "live":
                beat.heard(message)
            await self.take(message, beat)
        return Taken(page.retry, bool(page.told) or self._track.cursor != before)


async def over_sse(way: Way, asker: Asker, beat: Heartbeat, nursery: trio.Nursery) -> None:
    """One event stream. Unlike EventSource it says in the URL how far it has come: some proxies take ``Last-Event-ID``
    off. Of a route whose event streams are plain, where gaps are mere comments, it asks for the full form.

    Raises:
        Ended: it has ended, or never began; and what a connection that is lost raises.
    """
    beat.listen()
    headers = {"accept": "text/event-stream", **await way.credentials.headers()}
    renewal = Renewal(lambda message: _renew(way, message), asker.trouble, way.random)
    nursery.start_soon(renewal.run)
    beat.listen()
    beat.probe()
    target = asker.target(format="triolet")
    async with way.http.stream("GET", way.base.url(target), headers) as (answer, chunks):
        if answer.status != HTTPStatus.OK or not answer.headers.get("content-type", "").startswith("text/event-stream"):
            async for chunk in chunks:
                answer.body += chunk
                if len(answer.body) > READ_BYTES:
                    break
            raise refusal(answer)
        parser = StreamParser()
        async for chunk in chunks:
            beat.listen()
            for block in parser.feed(chunk):
                message = asker.read(block)
                if message.type == "bye":
                    raise bye(message)
                beat.heard(message)
                renewal.hear(message)
                await asker.take(message, beat)
    raise Ended("the stream ended")


async def _renew(way: Way, message: Heard) -> None:
    """Beside the stream, by its key. A token that is a text is the only one there is."""
    if message.key and not way.credentials.is_text:
        await way.ask("renew", {"key": message.key})


async def over_polls(way: Way, asker: Asker, beat: Heartbeat, hold: float | None, nursery: trio.Nursery) -> None:
    """Polls, one after the other. Raises as :func:`over_sse`.

    The first answer is never held back: it tells at once whether the client is up to date. A token serves until it is
    answered with 401; then there is a new one, as for a stream that has ended.

    Args:
        hold: seconds that the server may hold an answer back; None: it shall not.
    """
    beat.listen()
    credential = {"accept": "application/json", **await way.credentials.headers()}
    tag = ""
    retry, idle = 0.0, 0
    while True:
        held = hold is not None and asker.is_live
        headers = credential if held or not tag else {**credential, "if-none-match": tag}
        target = asker.target(wait=f"{hold:g}" if held else None)
        beat.listen()
        asked_at, news = trio.current_time(), False
        answer = await way.http.ask("GET", way.base.url(target), headers)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            if answer.status != HTTPStatus.OK or "json" not in answer.headers.get("content-type", ""):
                raise refusal(answer)
            tag = answer.headers.get("etag", "")
            said, news = await asker.take_page(answer.body, beat)
            retry = CLIENT_FIRST_RETRY_SECONDS if said is None else said / 1000
        beat.rest()
        idle = 0 if news else idle + 1
        # The first may be the one that is not held. One that brought nothing and took its time was held itself.
        least = asked_at + backoff(idle, way.random, 0) - trio.current_time() if idle > 1 else 0
        await trio.sleep(max(0, least, retry if held or hold is None else 0))


def unfold(page: Page, track: Track) -> Iterator[Heard]:
    """The answer to a poll, as the messages that a stream would have carried to who is at a position."""
    if track.state == "connecting" or track.is_of_another(page.channel):
        begins: str | None = page.cursor
        if page.snapshot is not None:
            begins = None
        elif page.gap is not None:
            begins = page.gap.after
        elif page.events and (is_newest(track.cursor) or track.is_of_another(page.channel)):
            first = cursor_of(page.events[0].id)
            begins = str(Cursor(first.epoch, first.offset - page.events[0].folded))
        yield Heard(type="open", channel=page.channel, cursor=begins, filtered=page.filtered)
    # Behind a state there is a gap where it is older than what is kept.
    said = [("snapshot", page.snapshot), ("gap", page.gap), *(("event", event) for event in page.events)]
    said += [*(("tell", message) for message in page.told), ("end", page.end)]
    for kind, message in said:
        if message is not None:
            message.type = kind
            yield message
    if page.filtered and not page.live:
        yield Heard(type="moved", cursor=page.cursor)
    if page.live:
        yield Heard(type="live", cursor=page.cursor)


def _text(cursor: Cursor | None) -> str | None:
    return None if cursor is None else str(cursor)
