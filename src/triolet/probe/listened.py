"""What is told by listening: streams, and a poll that is held. Each is given the same seconds, and all at once.

How long silence is borne shows in the silences that there are: between two beats, and while a long poll is held. No
client of Triolet's meets a longer one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Literal

import trio

from ..bounds import READ_BYTES
from ..client.errors import Ended
from ..client.heard import Heard as Message
from ..client.heard import bye, own_message, read, read_page
from ..client.http import BROKEN, Answer, refusal
from ..client.sse import StreamParser
from ..client.way import lost
from ..client.websocket import open_socket
from ..errors import printable
from .asked import Asking, Beginning
from .findings import Finding, Heard, broken, unknown, well

__all__ = ["compression", "encoding", "long_poll", "silence", "sse", "websocket"]

ENCODINGS: Final = "gzip, deflate, br, zstd"
"""What browsers offer."""

BUSY: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Statuses of an upgrade that say nothing of the way."""


class Ear:
    """Listens to one stream for some seconds.

    Attributes:
        opened: whether it was opened.
        first: after how many seconds the first message came; None: none has.
        quiet: the longest silence before a message, in seconds.
        late: by how many seconds a beat came later than it was sent, at most.
        ended: why it ended by itself.
        told: whether the server has said that it ends.
        began, last, at: when it began, when the last message came, and when it ended or was left.
    """

    def __init__(self, beginning: Beginning) -> None:
        self.began = self.last = self.at = trio.current_time()
        self.opened = False
        self.first: float | None = None
        self.quiet = 0.0
        self.late = 0.0
        self.ended: Ended | None = None
        self.told = False
        self._ahead = beginning.ahead

    def hear(self, message: Message) -> None:
        """Take a message. Raises Ended: it says that the stream ends."""
        now = trio.current_time()
        if self.first is None:
            self.first = now - self.began
        else:
            self.quiet = max(self.quiet, now - self.last)
        self.last = now
        if message.type == "beat" and self._ahead is not None:
            self.late = max(self.late, now + self._ahead - message.time / 1000)
        if message.type == "bye":
            self.told = True
            raise bye(message)

    @property
    def refused(self) -> int | None:
        """The status with which it was not opened."""
        return None if self.ended is None else self.ended.status

    def heard(self, patience: float) -> Heard:
        """What came over it, of whose first word clients are as patient as that."""
        works = self.first is not None and max(self.first, self.late) <= patience
        if self.ended is None or self.first is None or self.told:
            return Heard(works, quiet=self.quiet)
        return Heard(works, (self.at - self.began, self.at - self.last), self.quiet)


async def sse(asking: Asking, beginning: Beginning, seconds: float) -> tuple[Finding, Heard]:
    """Whether an event stream comes as it is sent."""

    async def talk(ear: Ear) -> None:
        headers = {"accept": "text/event-stream", **asking.headers}
        url = asking.way.base.url(asking.target(format="triolet"))
        async with asking.way.http.stream("GET", url, headers) as (answer, chunks):
            if not _is_stream(answer):
                async for chunk in chunks:
                    answer.body += chunk
                    if len(answer.body) > READ_BYTES:
                        break
                raise refusal(answer)
            ear.opened = True
            parser = StreamParser()
            async for chunk in chunks:
                for block in parser.feed(chunk):
                    ear.hear(own_message(block))
        raise Ended("the stream ended")

    ear = await _listen(beginning, seconds, talk)
    if ear.refused is not None:
        return broken("sse", "refused", f"an event stream is not given: {ear.ended}"), Heard(False)
    return _in_time("sse", ear, asking, seconds), ear.heard(asking.patience)


async def websocket(asking: Asking, beginning: Beginning, seconds: float) -> tuple[Finding, Heard]:
    """Whether a WebSocket opens, and what is said on it comes."""
    way = asking.way

    async def talk(ear: Ear) -> None:
        opening = way.library, await way.stream(), way.base.authority, way.base.target(asking.url), asking.headers
        async with open_socket(*opening, lambda: ear.ended is None) as socket:
            ear.opened = True
            while True:
                ear.hear(read(await socket.receive()))

    ear = await _listen(beginning, seconds, talk)
    if ear.opened:
        return _in_time("websocket", ear, asking, seconds), ear.heard(asking.patience)
    if ear.refused in BUSY:
        return broken("websocket", "refused", f"a WebSocket is not opened: {ear.ended}"), Heard(False)
    if ear.ended is None:
        says = f"the upgrade was not answered in {seconds:g} s"
    elif ear.refused == HTTPStatus.OK:
        says = "the upgrade does not come to the server, which has answered a poll (HTTP 200)"
    else:
        says = f"the upgrade is not passed: {ear.ended}"
    return broken("websocket", "upgrade", says), Heard(False)


def _in_time(name: Literal["sse", "websocket"], ear: Ear, asking: Asking, seconds: float) -> Finding:
    """Whether what the server says at once, and its beats, came as they were sent."""
    if ear.first is None:
        how = f"in {seconds:g} s" if ear.ended is None else f"before it ended ({ear.ended})"
        return broken(name, "buffering", f"nothing came through {how}: it is held back, as the server speaks at once")
    if ear.first > asking.patience:
        says = f"the first word came after {ear.first:.1f} s; clients leave after {asking.patience:g}"
        return broken(name, "buffering", says)
    if ear.late > asking.patience:
        return broken(
            name, "buffering", f"a beat came {ear.late:.1f} s after it was sent, if all servers' clocks agree"
        )
    return well(name, f"opens, and the first word comes after {ear.first * 1000:.0f} ms")


async def encoding(asking: Asking, beginning: Beginning, seconds: float) -> str | None:
    """How an event stream is encoded for who offers what browsers offer; None: it did not come."""
    given: str | None = None

    async def talk(ear: Ear) -> None:
        nonlocal given
        headers = {"accept": "text/event-stream", **asking.headers, "accept-encoding": ENCODINGS}
        url = asking.way.base.url(asking.target(format="triolet"))
        async with asking.way.http.stream("GET", url, headers) as (answer, _):
            if _is_stream(answer):
                given = answer.headers.get("content-encoding", "identity")

    await _listen(beginning, seconds, talk)
    return given


def compression(given: str | None, plain: Finding) -> Finding:
    """Whether an event stream is compressed.

    Args:
        given: how it is encoded for who offers to take it compressed.
        plain: what became of a stream for who does not.
    """
    if given == "identity":
        return well("compression", "an event stream is not compressed")
    if given is not None:
        return broken("compression", "compression", f"an event stream is compressed ({printable(given, 20)})")
    if plain.state == "ok":
        return broken("compression", "compression", f"an event stream does not come to who offers {ENCODINGS}")
    return unknown("compression", "no event stream comes at all")


async def long_poll(asking: Asking, beginning: Beginning, seconds: float) -> tuple[Finding, Heard]:
    """Whether a poll can be held for so many seconds, or for as long as the server does."""
    target = asking.target(after=beginning.page.cursor, wait=f"{seconds:g}")
    began = trio.current_time()
    answer: Answer | None = None
    try:
        with trio.move_on_after(seconds + asking.seconds):
            headers = {"accept": "application/json", **asking.headers}
            answer = await asking.way.http.ask("GET", asking.way.base.url(target), headers)
        why = f"no answer in {seconds + asking.seconds:g} s" if answer is None else f"HTTP {answer.status}"
    except BROKEN as error:
        why = str(lost(error))
    except Ended as ended:
        why = str(ended)
    held = trio.current_time() - began
    if answer is None or answer.status >= 500 or answer.status == HTTPStatus.REQUEST_TIMEOUT:
        return broken("long poll", "idle", f"was cut after {held:.1f} s: {why}"), Heard(False, (held, held))
    try:
        if answer.status != HTTPStatus.OK:
            raise refusal(answer)
        page = read_page(answer.body)
    except Ended as ended:
        return broken("long poll", "refused", f"is not answered: {ended}"), Heard(False)
    if page.events:
        return well("long poll", f"an event ended it after {held:.1f} s"), Heard(True, quiet=held)
    return well("long poll", f"was held for {held:.1f} s"), Heard(True, quiet=held)


def silence(heard: dict[str, Heard], seconds: float) -> Finding:
    """Whether silence was borne, on all that was listened to."""
    cuts = [
        f"{name} after {lasted:.1f} s, {quiet:.1f} of them silent"
        for name, (lasted, quiet) in ((name, one.cut) for name, one in heard.items() if one.cut is not None)
    ]
    if cuts:
        return broken("silence", "idle", f"the way is cut: {'; '.join(cuts)}")
    quiet = max(one.quiet for one in heard.values())
    if not quiet:
        return unknown("silence", f"there was none in {seconds:g} s that ended with a word: take a longer --silence")
    return well("silence", f"nothing was cut in {seconds:g} s; the longest silence was {quiet:.1f} s")


def _is_stream(answer: Answer) -> bool:
    return answer.status == HTTPStatus.OK and answer.headers.get("content-type", "").startswith("text/event-stream")


async def _listen(beginning: Beginning, seconds: float, talk: Callable[[Ear], Awaitable[None]]) -> Ear:
    """Listen for so many seconds. A stream of which nothing was heard, and which ends, is listened to no longer."""
    ear = Ear(beginning)
    with trio.move_on_after(seconds):
        try:
            await talk(ear)
        except Ended as ended:
            ear.ended = ended
        except BROKEN as error:
            ear.ended = lost(error)
    ear.at = trio.current_time()
    return ear
