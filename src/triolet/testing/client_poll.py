"""Clients that poll, and ask again as a good client does."""

from __future__ import annotations

from typing import Any, ClassVar

import h11
import trio

from ..event import Cursor
from .clients import Client, with_after
from .http import Answer, RefusedError, ask, read_answer
from .many import following, read_many, unfold_many
from .strict import MalformedError, read_page

__all__ = ["LongPollClient", "ShortPollClient"]


class _PollClient(Client):
    """A client that asks again: after as long as it was told, from where the last answer ended, with its ETag
    (``tag``).

    Its messages are those that a stream would have carried: ``open`` for the first answer, ``gap``, ``event``, and
    ``live`` where it becomes up to date; and a ``beat`` where the cursor has moved over what this client may not see.
    An answer that fails ends it, and so does the ``end`` of its channel.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._place: str | None = None
        self.tag: str | None = None
        self._live = False
        self._has_ended = False
        self._opened: set[str] = set()
        self._said: set[str] = set()

    async def connect(self) -> None:
        """Ask once; that is never held back. See :meth:`Client.connect`."""
        self._place, self.tag, self._live, self._has_ended = self.cursor, None, False, False
        self._opened, self._said = set(), set()
        answer = await self.poll(self._place, None)
        self._unfold(answer.json, first=True)

    async def read(self) -> str:
        """Ask again, for ever. See :meth:`Client.read`."""
        try:
            held: str | None = None
            while not self._has_ended:
                wait = self.wait() if self._live else None
                if wait is None or held is not None:  # after one that was not held, the first that is comes at once
                    await trio.sleep((self.retry or 0) / 1000)
                held = wait
                answer = await self.poll(self._place, wait)
                if answer.status == 200:
                    self._unfold(answer.json, first=False)
        except RefusedError as error:
            return str(error)
        except h11.RemoteProtocolError:
            return "the connection ended before the answer"
        return "the channel has ended"

    def wait(self) -> str | None:
        """What to ask for with ``?wait=``; None: not to wait."""
        return None

    async def poll(self, after: str | None, wait: str | None) -> Answer:
        """Ask once, after a cursor, and return the answer: a page, or 304.

        Raises:
            RefusedError: another status.
            MalformedError: a page that is none, or one without an ETag.
            h11.RemoteProtocolError: the connection ended before the answer did.
        """
        target = with_after(following(self.path, self.urls), after)
        if wait is not None:
            target = f"{target}{'&' if '?' in target else '?'}wait={wait}"
        headers = {"accept": "application/json", **self.headers}
        if self.tag is not None and wait is None:
            headers["if-none-match"] = self.tag
        self.transcript.said(trio.current_time(), f"GET {target}")
        end = self.dial()
        try:
            answer = await read_answer(end, *await ask(end, "GET", target, headers, cookies=self.reach.cookies))
        finally:
            self.hang_up(end)
        if answer.status not in (200, 304):
            if "retry-after" in answer.headers:
                self.retry = int(answer.headers["retry-after"]) * 1000
            raise RefusedError(f"{self.transport} {target}", answer)
        if answer.status == 304:
            self.transcript.note(trio.current_time(), "304: nothing new")
        else:
            read_many(answer.body) if self.urls else read_page(answer.body)
            if "etag" not in answer.headers:
                raise MalformedError(f"an answer without an ETag: {answer}")
        self.tag = answer.headers.get("etag", self.tag)
        return answer

    def _start(self, body: Any) -> str:
        """Where the first page begins: who has asked for the newest 20 (``-20``) stands before the first of them."""
        place: str = self._place or body["cursor"]
        if not place.removeprefix("-").isdecimal() or not place.startswith("-"):  # an epoch may begin with "-" as well
            return place
        if not body["events"]:
            return str(body["cursor"])
        first = Cursor.parse(body["events"][0]["id"])
        return str(Cursor(first.epoch, first.offset - 1))

    def _unfold(self, body: Any, *, first: bool) -> None:
        """The answer to a poll, as the messages that a stream would have carried."""
        if self.urls:
            self._unfold_many(body)
            return
        channel, cursor = body["channel"], body["cursor"]
        if first:
            said = {"filtered": True} if body.get("filtered") is True else {}
            start = None if "snapshot" in body else self._start(body)
            self.receive({"type": "open", "channel": channel, "cursor": start, **said})
        if "snapshot" in body:
            self.receive(body["snapshot"])
        if body["gap"] is not None:
            self.receive({**body["gap"], "type": "gap"})
        for event in body["events"]:
            self.receive(event)
        for told in body.get("told", ()):
            self.receive(told)
        self._has_ended = "end" in body
        if not (first or body["gap"] or body["events"] or self._has_ended):
            self.transcript.note(trio.current_time(), "200: nothing new")
        if self._has_ended:
            self.receive(body["end"])
        elif body["live"] and not self._live:
            self.receive({"type": "live", "channel": channel, "cursor": cursor})
        elif body.get("filtered") is True and cursor != self._place:
            self.receive({"type": "beat", "time": body["time"], "cursors": {channel: cursor}})
        self._live = body["live"]
        self._place = cursor
        self.retry = body["retry"]

    def _unfold_many(self, body: Any) -> None:
        news = unfold_many(body, self._opened, self._said, becomes_live=not self._live)
        self._has_ended = body["retry"] is None
        for message in news:
            self.receive(message)
        self._live, self._place, self.retry = body["live"], body["cursor"], body["retry"]


class ShortPollClient(_PollClient):
    """A client that asks every few seconds, as often as the server says."""

    transport: ClassVar[str] = "short poll"


class LongPollClient(_PollClient):
    """A client whose polls wait for an event.

    Args:
        wait: how many seconds at most; None: as long as the server holds them by itself.
    """

    transport: ClassVar[str] = "long poll"

    def __init__(self, *args: Any, wait: float | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._wait = "" if wait is None else f"{wait:g}"

    def wait(self) -> str | None:
        """As long as was chosen."""
        return self._wait
