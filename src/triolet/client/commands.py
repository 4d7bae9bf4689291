"""What is to happen once: commands, asked again under one id until they are answered."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import msgspec
import trio

from ..errors import ConfigError
from ..value import encode_json
from ..wire.address import without_secrets
from .bounds import CLIENT_COMMAND_BYTES, CLIENT_COMMANDS, CLIENT_COMMANDS_WAITING
from .errors import Ended, Unanswered
from .heard import Heard, value_of
from .http import BROKEN
from .items import Reply
from .line import backoff
from .speaker import Speaker
from .way import Way, lost

__all__ = ["CLOSED", "Commands"]

CLOSED: Final = "the client is closed: its block has been left"

_ID: Final = re.compile(r"[\x20-\x7e]+")
_PASSING: Final = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
"""Answers that say "not now": none of them is kept by the server, so the same id may get another."""


@dataclass
class _Asked:
    """One command, as it is asked, each time alike."""

    id: str
    target: str
    body: bytes
    sent: bool = False
    trouble: str = ""
    reply: tuple[Reply, float | None] | None = None
    over: Speaker | None = None
    turn: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def key(self) -> str:
        """The header ``Idempotency-Key``: a string of RFC 9651, section 3.3.3."""
        return '"' + re.sub(r'(["\\])', r"\\\1", self.id) + '"'

    def unanswered(self, why: str) -> Unanswered:
        outcome = "it may have happened" if self.sent else "it was never sent"
        trouble = f" ({self.trouble})" if self.trouble else ""
        return Unanswered(
            f"no answer to the command {without_secrets(self.target)}: {why}{trouble}; {outcome}", self.id, self.sent
        )


class Commands:
    """The commands of one client: over a WebSocket of its that is open, else by POST.

    Attributes:
        closed: whether the client is.

    Bounds: ``CLIENT_COMMANDS`` are asked at once, and ``CLIENT_COMMANDS_WAITING`` wait in order.
    """

    def __init__(self, way: Way) -> None:
        self._way = way
        self._speakers: list[Speaker] = []
        self._asked: dict[str, _Asked] = {}
        self._turns = trio.CapacityLimiter(CLIENT_COMMANDS)
        self._opened = trio.Event()
        self.closed = False

    def close(self) -> None:
        """The client is closed: nothing more will be answered."""
        self.closed = True
        for asked in self._asked.values():
            asked.scope.cancel()

    def use(self, speaker: Speaker) -> None:
        """There is a WebSocket."""
        self._speakers.append(speaker)
        self._opened.set()
        self._opened = trio.Event()

    def lose(self, speaker: Speaker | None) -> None:
        """A WebSocket is gone, or its answers do not come through now: what was asked over it is asked again."""
        if speaker is None:
            return
        if speaker in self._speakers and not (speaker.clogged and speaker.is_open):
            self._speakers.remove(speaker)
        for asked in self._asked.values():
            if asked.over is speaker:
                asked.turn.set()

    def hear(self, message: Heard) -> None:
        """Take a "reply"."""
        asked = self._asked.get(message.id)
        if asked is not None:
            data = value_of(message)
            retry = message.retry / 1000 if isinstance(message.retry, int) else None
            asked.reply = Reply(message.status, data, message.repeated), retry
            asked.turn.set()

    async def send(self, url: str, data: Any, id: str | None, timeout: float) -> Reply:
        """See :meth:`triolet.client.Client.send`."""
        if not timeout > 0:
            raise ConfigError(f"timeout={timeout!r}: seconds, more than 0")
        if id is not None and not (isinstance(id, str) and _ID.fullmatch(id)):
            raise ConfigError(f"id={id!r:.60}: a text of printable ASCII characters")
        asked = _Asked(id or str(uuid.uuid4()), self._way.base.target(url), encode_json(data))
        if asked.id in self._asked:
            raise ConfigError(f"a command with the id {asked.id!r} is asked now: await its answer")
        if self._turns.statistics().tasks_waiting >= CLIENT_COMMANDS_WAITING:
            raise asked.unanswered(f"{CLIENT_COMMANDS_WAITING} others wait")
        if self.closed:
            raise asked.unanswered("the client is closed")
        self._asked[asked.id] = asked
        try:
            with asked.scope:
                asked.scope.deadline = trio.current_time() + timeout
                async with self._turns:
                    return await self._until_answered(asked)
        finally:
            del self._asked[asked.id]
        raise asked.unanswered("the client is closed" if self.closed else f"{timeout:g} s are over")

    async def _until_answered(self, asked: _Asked) -> Reply:
        attempt = 0
        while True:
            opened = self._opened
            retry: float | None = None
            try:
                given = await self._once(asked)
            except Ended as error:
                if error.retry is None:
                    raise asked.unanswered(str(error)) from None
                asked.trouble = str(error)
            else:
                if given is None:
                    continue  # its answer does not come through now: by another WebSocket, or by POST
                reply, retry = given
                if not _is_passing(reply):
                    return reply
                asked.trouble = f"status {reply.status}"
                opened = trio.Event()
            # Where the network was the trouble, the moment is when a WebSocket is there again.
            with trio.move_on_after(backoff(attempt, self._way.random, "backoff" if retry is None else retry)):
                await opened.wait()
            attempt += 1

    async def _once(self, asked: _Asked) -> tuple[Reply, float | None] | None:
        speaker = next((one for one in self._speakers if one.is_open and not one.clogged), None)
        if speaker is None or len(asked.body) >= CLIENT_COMMAND_BYTES:
            return await self._post(asked)
        asked.turn, asked.reply, asked.over = trio.Event(), None, speaker
        said = speaker.say(type="command", id=asked.id, url=asked.target, data=msgspec.Raw(asked.body))
        if said:
            asked.sent = True
            await asked.turn.wait()
        else:
            await trio.lowlevel.checkpoint()
        asked.over = None
        if asked.reply is None and not speaker.clogged:
            raise Ended("the connection ended")
        return asked.reply

    async def _post(self, asked: _Asked) -> tuple[Reply, float | None]:
        """Without an answer for as long as a stream may be silent, the connection counts as lost."""
        way = self._way
        headers = await way.credentials.headers()
        headers |= {"content-type": "application/json", "idempotency-key": asked.key}
        asked.sent = True
        try:
            with trio.fail_after(way.silence):
                answer = await way.http.ask("POST", way.base.url(asked.target), headers, asked.body)
        except trio.TooSlowError:
            raise Ended("silent") from None
        except BROKEN as error:
            raise lost(error) from None
        repeated = answer.headers.get("idempotency-replayed") == "true"
        data: Any = answer.body.decode(errors="replace") or None
        if data is not None and re.match(r"application/([^;]*\+)?json", answer.headers.get("content-type", "")):
            given = answer.json()
            data = data if given is None and data.strip() != "null" else given
        return Reply(answer.status, data, repeated), answer.retry_after


def _is_passing(reply: Reply) -> bool:
    """ "Running" is another process's word: it is running there. Any other 409 is the app's answer."""
    data = reply.data
    running = reply.status == HTTPStatus.CONFLICT and isinstance(data, dict) and data.get("error") == "running"
    return reply.status in _PASSING or running
