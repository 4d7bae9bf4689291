"""Real clients of other people, all to be used alike: start one on a URL, see what it heard, cut it off."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO, Any, ClassVar

import httpx
from httpx_sse import EventSource
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .needs import program
from .server import HERE, PATIENCE, wait_for


def hear(socket: ClientConnection) -> dict[str, Any]:
    """The next message of a WebSocket but for heartbeats, which may come at any time."""
    while (message := json.loads(socket.recv(10)))["type"] == "beat":
        pass
    return dict(message)


Message = dict[str, Any]
"""A message in the shape it has on a WebSocket: ``{"type": "open" | "live" | "event" | "gap" | …}``."""

NAMES = ["triolet.open", "triolet.live", "triolet.gap", "triolet.beat", "triolet.bye", "paid", "packed"]
"""The names of events that the tests use; an EventSource hears only those it asks for."""


class Client(ABC):
    """Follows a channel from a cursor, on a thread of its own, until it ends or is cut off."""

    streams: ClassVar[bool] = True
    """Whether it has an open line: then it hears open, live, beat and bye as messages."""

    def __init__(self, url: str, after: str | None = None) -> None:
        self.url = url
        self.after = after
        self.messages: list[Message] = []
        self.events: list[Message] = []
        self.failure: BaseException | None = None
        self._cut = False
        self._open()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        return type(self).__name__

    @property
    def target(self) -> str:
        return self.url if self.after is None else f"{self.url}?after={self.after}"

    @property
    def data(self) -> list[Any]:
        return [event["data"] for event in self.events]

    @property
    def cursor(self) -> str | None:
        """Where to go on from: what the last message said that says it."""
        for message in reversed(self.messages):
            if message["type"] == "event":
                return str(message["id"])
            if message["type"] in ("open", "live"):
                return str(message["cursor"])
            if message["type"] == "gap":
                return str(message["to"])
        return self.after

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def of(self, kind: str) -> list[Message]:
        return [message for message in list(self.messages) if message["type"] == kind]

    def hears(self, kind: str, count: int = 1, seconds: float = PATIENCE) -> list[Message]:
        """Wait until so many messages of a kind came, and return those of the kind."""
        wait_for(lambda: len(self.of(kind)) >= count or self.ended, f"{count} × {kind}", seconds)
        found = self.of(kind)
        assert len(found) >= count, f"heard {self.messages[-20:]} and then the end: {self.failure!r}"
        return found

    def cut(self) -> None:
        """Drop the connection, without goodbye where that can be, and wait until nothing more can be heard."""
        self._cut = True
        self._close()
        self._thread.join(PATIENCE)
        assert self.ended, f"{type(self).__name__} did not end"

    def _run(self) -> None:
        try:
            for message in self._listen():
                self.messages.append(message)
                if message["type"] == "event":
                    self.events.append(message)
        except Exception as error:  # the test asks for it; a thread has nobody else to tell
            self.failure = None if self._cut else error

    @abstractmethod
    def _open(self) -> None:
        """Make what ``_close`` closes."""

    @abstractmethod
    def _listen(self) -> Iterator[Message]:
        """Yield messages until the end."""

    @abstractmethod
    def _close(self) -> None:
        """Make the listening end."""


class _Process(Client):
    """A client that is a program which prints what it hears."""

    process: subprocess.Popen[bytes]

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the program and its arguments."""

    def _open(self) -> None:
        self.process = subprocess.Popen(
            self._command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def _listen(self) -> Iterator[Message]:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            yield from self._read(output)
        self.process.wait(PATIENCE)

    @abstractmethod
    def _read(self, output: IO[bytes]) -> Iterator[Message]:
        """Turn the output into messages."""

    def _close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


class CurlStream(_Process):
    """curl, with the stream parsed here: line by line, as the standard says."""

    def _command(self) -> list[str]:
        return [program("curl"), "-sSN", "-H", "Accept: text/event-stream", self.target]

    def _read(self, output: IO[bytes]) -> Iterator[Message]:
        return sse_messages(line.decode().rstrip("\r\n") for line in output)


class NodeEventSource(_Process):
    """The npm package eventsource. It comes back by itself."""

    def _command(self) -> list[str]:
        return [program("node"), str(HERE / "js" / "eventsource.mjs"), self.target, *NAMES]

    def _read(self, output: IO[bytes]) -> Iterator[Message]:
        for line in output:
            event = json.loads(line)
            if "event" in event:
                yield from sse_message(event["id"], event["event"], event["data"])


class NodeWs(_Process):
    """The npm package ws."""

    def _command(self) -> list[str]:
        return [program("node"), str(HERE / "js" / "ws.mjs"), "ws" + self.target.removeprefix("http")]

    def _read(self, output: IO[bytes]) -> Iterator[Message]:
        for line in output:
            yield json.loads(line)


class Websockets(Client):
    """The PyPI package websockets, blocking."""

    def _open(self) -> None:
        self._connection: ClientConnection | None = None

    def _listen(self) -> Iterator[Message]:
        url = "ws" + self.target.removeprefix("http")
        with connect(url, open_timeout=PATIENCE) as self._connection:
            try:
                for text in self._connection:
                    yield json.loads(text)
            except ConnectionClosed:
                pass
            yield {"type": "close", "code": self._connection.close_code}

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class HttpxSse(Client):
    """httpx, with httpx-sse."""

    def _open(self) -> None:
        self._client = httpx.Client(timeout=httpx.Timeout(PATIENCE, read=None))
        self._answer: httpx.Response | None = None

    def _listen(self) -> Iterator[Message]:
        headers = {"Accept": "text/event-stream"}
        with self._client.stream("GET", self.target, headers=headers) as self._answer:
            for event in EventSource(self._answer).iter_sse():
                if event.data:  # of a block that is only `retry:` httpx-sse makes an empty event
                    yield from sse_message(event.id, event.event, event.data)

    def _close(self) -> None:
        if self._answer is not None:
            stream = self._answer.extensions["network_stream"]
            with suppress(OSError):
                stream.get_extra_info("socket").shutdown(2)
        self._thread.join(PATIENCE)
        self._client.close()


class _Poll(Client):
    """Asks again and again, from the last answer's cursor."""

    streams = False
    question = ""

    def _open(self) -> None:
        self._client = httpx.Client(timeout=PATIENCE)

    def _listen(self) -> Iterator[Message]:
        cursor = self.after
        while not self._cut:
            after = [] if cursor is None else [f"after={cursor}"]
            query = "&".join([*after, *filter(None, [self.question])])
            try:
                answer = self._client.get(f"{self.url}?{query}")
            except httpx.TransportError:
                if self._cut:
                    return
                raise
            answer.raise_for_status()
            body = answer.json()
            cursor = body["cursor"]
            if body["gap"]:
                yield {"type": "gap", **body["gap"]}
            for event in body["events"]:
                yield {**event, "type": "event"}
            if body["live"]:
                yield {"type": "live", "cursor": cursor}
                self._rest()

    def _rest(self) -> None:
        """What is told in ``retry`` is for a crowd; one impatient client of a test asks sooner."""

    def _close(self) -> None:
        self._thread.join(PATIENCE)
        self._client.close()


class LongPoll(_Poll):
    """httpx, holding each request for up to half a second."""

    question = "wait=0.5"


class ShortPoll(_Poll):
    """httpx, twenty times a second."""

    def _rest(self) -> None:
        time.sleep(0.05)


def sse_message(cursor: str, name: str, data: str) -> Iterator[Message]:
    """Turn an event of a stream into the shape that it has on a WebSocket."""
    value = json.loads(data)
    if name.startswith("triolet."):
        yield {**value, "type": name.removeprefix("triolet.")}
    else:
        yield {"type": "event", "id": cursor, "event": name, "data": value}


def sse_messages(lines: Iterable[str]) -> Iterator[Message]:
    """Parse an event stream (HTML standard, section 9.2.6), for clients that only bring bytes."""
    cursor, name, data = "", "", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield from sse_message(cursor, name or "message", "\n".join(data))
            name, data = "", []
        elif field == "id":
            cursor = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


CLIENTS: dict[str, tuple[type[Client], tuple[str, ...]]] = {
    "curl": (CurlStream, ("curl",)),
    "eventsource": (NodeEventSource, ("node", "npm:eventsource")),
    "httpx-sse": (HttpxSse, ()),
    "ws": (NodeWs, ("node", "npm:ws")),
    "websockets": (Websockets, ()),
    "long poll": (LongPoll, ()),
    "short poll": (ShortPoll, ()),
}
"""Every client and what it needs."""


class Returning:
    """A client that comes back from its cursor, again and again; ``lives`` are its connections so far."""

    def __init__(self, kind: type[Client], url: str) -> None:
        self.url = url
        self.kind = kind
        self.lives = [kind(url, "0")]
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        return f"returning {self.kind.__name__}"

    @property
    def count(self) -> int:
        return sum(len(client.events) for client in self.lives)

    @property
    def events(self) -> list[Message]:
        return [event for client in self.lives for event in client.events]

    @property
    def gaps(self) -> list[Message]:
        return [gap for client in self.lives for gap in client.of("gap")]

    def _run(self) -> None:
        while not self._leaving.is_set():
            client = self.lives[-1]
            while not client.ended and not self._leaving.wait(0.02):
                pass
            client.cut()
            if not self._leaving.is_set():
                self.lives.append(self.kind(self.url, client.cursor))

    def leave(self) -> None:
        self._leaving.set()
        self._thread.join(PATIENCE)
