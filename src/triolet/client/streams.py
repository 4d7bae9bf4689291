"""Event streams and polls: each turns what comes into the same messages."""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

import trio

from ..bounds import READ_BYTES
from ..event import Cursor
from .cursors import is_newest
from .errors import Ended
from .heard import Heard, Page, bye, cursor_of, own_message, read_page
from .heartbeat import Heartbeat
from .http import Answer, refusal
from .renewal import Renewal
from .sse import StreamParser
from .track import Track
from .way import Way

__all__ = ["Taker", "over_polls", "over_sse"]


class Taker(Protocol):
    """Whoever follows."""

    @property
    def track(self) -> Track:
        """The position."""

    async def take(self, message: Heard, beat: Heartbeat) -> None:
        """Take a message."""

    def trouble(self, why: Ended) -> None:
        """Hear of what went wrong beside a connection that stands."""


async def over_sse(way: Way, follow: Taker, beat: Heartbeat, nursery: trio.Nursery) -> None:
    """One event stream. Unlike EventSource it says in the URL how far it has come: some proxies take ``Last-Event-ID``
    off. Of a route whose event streams are plain, where gaps are mere comments, it asks for the full form.

    Raises:
        Ended: it has ended, or never began; and what a connection that is lost raises.
    """
    beat.listen()
    track = follow.track
    headers = {"accept": "text/event-stream", **await way.credentials.headers()}
    after = None if track.cursor is None else str(track.cursor)
    renewal = Renewal(lambda message: _renew(way, message), follow.trouble, way.random)
    nursery.start_soon(renewal.run)
    beat.listen()
    beat.probe()
    target = way.base.target(track.url, after=after, format="triolet")
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
                message = own_message(block)
                if message.type == "bye":
                    raise bye(message)
                beat.heard(message)
                renewal.hear(message)
                await follow.take(message, beat)
    raise Ended("the stream ended")


async def _renew(way: Way, message: Heard) -> None:
    """Beside the stream, by its key. A token that is a text is the only one there is."""
    if message.key and not way.credentials.is_text:
        await way.ask("renew", {"key": message.key})


async def over_polls(way: Way, follow: Taker, beat: Heartbeat, hold: float | None, nursery: trio.Nursery) -> None:
    """Polls, one after the other. Raises as :func:`over_sse`.

    The first answer is never held back: it tells at once whether the client is up to date. A token serves until it is
    answered with 401; then there is a new one, as for a stream that has ended.

    Args:
        hold: seconds that the server may hold an answer back; None: it shall not.
    """
    beat.listen()
    track = follow.track
    credential = {"accept": "application/json", **await way.credentials.headers()}
    tag = ""
    retry = 0.0
    while True:
        held = hold is not None and track.state == "live"
        headers = credential if held or not tag else {**credential, "if-none-match": tag}
        after = None if track.cursor is None else str(track.cursor)
        target = way.base.target(track.url, after=after, wait=f"{hold:g}" if held else None)
        beat.listen()
        answer = await way.http.ask("GET", way.base.url(target), headers)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            page = _page(answer)
            beat.works()
            tag, retry = answer.headers.get("etag", ""), (page.retry or 0) / 1000
            await _unfold(follow, beat, page)
        beat.rest()
        await trio.sleep(retry if held or hold is None else 0)


def _page(answer: Answer) -> Page:
    if answer.status != HTTPStatus.OK or "json" not in answer.headers.get("content-type", ""):
        raise refusal(answer)
    return read_page(answer.body)


async def _unfold(follow: Taker, beat: Heartbeat, page: Page) -> None:
    """The answer to a poll, as the messages that a stream would have carried."""
    if follow.track.state == "connecting":
        begins: str | None = page.cursor
        if page.snapshot is not None:
            begins = None
        elif page.gap is not None:
            begins = page.gap.after
        elif page.events and is_newest(follow.track.cursor):
            first = cursor_of(page.events[0].id)
            begins = str(Cursor(first.epoch, first.offset - page.events[0].folded))
        opened = Heard(type="open", channel=page.channel, cursor=begins, filtered=page.filtered)
        await follow.take(opened, beat)
    # Behind a state there is a gap where it is older than what is kept.
    said = [("snapshot", page.snapshot), ("gap", page.gap), *(("event", event) for event in page.events)]
    said += [*(("tell", message) for message in page.told), ("end", page.end)]
    for kind, message in said:
        if message is not None:
            message.type = kind
            await follow.take(message, beat)
    if page.filtered and not page.live:
        await follow.take(Heard(type="moved", cursor=page.cursor), beat)
    if page.live:
        live = Heard(type="live", cursor=page.cursor)
        beat.heard(live)
        await follow.take(live, beat)
