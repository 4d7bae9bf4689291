"""Clients that have commands done, and ask again with the same id until they are answered, whatever happens to them.

Each attempt takes one of both ways: a command that was asked on a WebSocket may be asked again by POST, and the other
way round.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import trio

from tests.e2e.decoding import WebSocketDecoder
from tests.e2e.raw import CLOSE, PONG, TEXT, frame, http, upgrade
from tests.identity.issuer import token

__all__ = ["Picker", "Unanswered"]

PATIENCE = 10.0
"""Seconds for an answer, then it is asked again."""
AGAIN_SECONDS = 0.05
IMPATIENT = 0.02
"""The part of the attempts that are given up as soon as they are sent: the client's network is as it is."""
NOT_YET = {409, 503, 504}
"""Answers that say to ask again."""


class Unanswered(Exception):
    """Nothing came of an attempt that the client knows of."""


class Line:
    """A connection, kept from command to command: a WebSocket, or one for requests."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.decoder = WebSocketDecoder()
        self.received = b""

    async def more(self) -> bytes:
        data = bytes(await self.stream.receive_some(1 << 16))
        if not data:
            raise Unanswered("the end of the connection")
        return data

    async def head(self) -> bytes:
        """Read the head of an answer."""
        while b"\r\n\r\n" not in self.received:
            self.received += await self.more()
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        return head

    async def body(self, head: bytes) -> bytes:
        size = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(self.received) < size:
            self.received += await self.more()
        body, self.received = self.received[:size], self.received[size:]
        return body


class Picker:
    """One client, and its commands, one after the other.

    Attributes:
        answers: what each command was answered in the end, by its id: status and data.
        outcomes: how many attempts ended how.
    """

    def __init__(self, address: tuple[str, int], number: int, commands: int) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.outcomes: Counter[str] = Counter()
        self._address = address
        self._number = number
        self._commands = commands
        self._random = random.Random(number)
        self._lines: dict[str, Line] = {}
        self._authorization = f"Authorization: Bearer {token('HS256', sub=f'picker {number}')}"

    async def run(self) -> None:
        """Have them all done."""
        try:
            for count in range(self._commands):
                await self._have_done(f"{self._number}-{count}", f"/orders/{count}/pick", {"by": self._number})
        finally:
            for way in list(self._lines):
                self._drop(way)

    async def _have_done(self, id: str, url: str, data: Any) -> None:
        while id not in self.answers:
            way = self._random.choice(("websocket", "post"))
            impatient = self._random.random() < IMPATIENT
            try:
                with trio.fail_after(0.002 if impatient else PATIENCE):
                    status, said = await self._ask(way, id, url, data)
            except (OSError, trio.BrokenResourceError, trio.TooSlowError, Unanswered) as error:
                self.outcomes["impatient" if impatient else f"{way}: {type(error).__name__}"] += 1
                self._drop(way)
                await trio.sleep(0 if impatient else AGAIN_SECONDS)
                continue
            self.outcomes[str(status)] += 1
            if status in NOT_YET:
                await trio.sleep(AGAIN_SECONDS)
            else:
                self.answers[id] = (status, said)

    async def _ask(self, way: str, id: str, url: str, data: Any) -> tuple[int, Any]:
        line = self._lines.get(way) or await self._connect(way)
        if way == "websocket":
            return await self._ask_on_websocket(line, id, url, data)
        body = json.dumps(data).encode()
        headers = [self._authorization, "Content-Type: application/json", f'Idempotency-Key: "{id}"']
        await line.stream.send_all(http(url, *headers, f"Content-Length: {len(body)}", method="POST", body=body))
        head = await line.head()
        said = await line.body(head)
        if b"idempotency-replayed: true" in head.lower():
            self.outcomes["repeated"] += 1
        if b"connection: close" in head.lower():
            self._drop(way)
        return int(head[9:12]), json.loads(said or b"null")

    async def _ask_on_websocket(self, line: Line, id: str, url: str, data: Any) -> tuple[int, Any]:
        message = {"type": "command", "id": id, "url": url, "data": data}
        await line.stream.send_all(frame(TEXT, json.dumps(message).encode()))
        while True:
            for message in list(line.decoder.feed(await line.more())):
                if message["type"] == "ping":
                    await line.stream.send_all(frame(PONG))
                elif message["type"] == "close":
                    with suppress(trio.BrokenResourceError):
                        await line.stream.send_all(frame(CLOSE))
                    raise Unanswered(f"closed with {message['code']}")
                elif message["type"] == "reply":
                    assert message["id"] == id, f"an answer to {message} that nobody waits for"
                    self.outcomes["repeated"] += bool(message.get("repeated"))
                    return message["status"], message["data"]

    async def _connect(self, way: str) -> Line:
        line = self._lines[way] = Line(await trio.open_tcp_stream(*self._address))
        if way == "websocket":
            await line.stream.send_all(upgrade("/desk", self._authorization))
            head = await line.head()
            if not head.startswith(b"HTTP/1.1 101"):
                raise Unanswered(head.decode())
            list(line.decoder.feed(line.received))  # it says hello, maybe
        return line

    def _drop(self, way: str) -> None:
        line = self._lines.pop(way, None)
        if line is not None:
            line.stream.socket.close()
