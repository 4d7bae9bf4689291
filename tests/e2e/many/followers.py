"""Many clients on one thread, over four transports, that come back from their cursor whatever happens to them.

Each keeps its history. What a stream says of where it is (``open``, ``live``, ``beat``) is held against that at once.
"""

from __future__ import annotations

import json
import random
import re
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from tests.e2e.clients import Message
from tests.e2e.crowd import offset
from tests.e2e.decoding import EventStreamDecoder, WebSocketDecoder
from tests.e2e.raw import PONG, frame, http, upgrade
from tests.e2e.server import PATIENCE

__all__ = ["TRANSPORTS", "Flock", "Follower"]

TRANSPORTS = ("websocket", "sse", "long poll", "short poll")
STREAMS = ("websocket", "sse")

AGAIN_SECONDS = 0.1
"""Until a client comes back that was cut off or refused."""
REST_SECONDS = {"long poll": (0.0, 0.6), "short poll": (0.3, 0.6)}
"""Between two polls: some of the long ones come at once, as they should."""
STAY_SECONDS = (1.5, 8.0)
"""After so long a stream is dropped by its client, who comes back: to another worker, as it happens."""
WAIT = 2
"""Seconds of a long poll."""
RESET = struct.pack("ii", 1, 0)

Address = tuple[str, int]


class Follower:
    """One client. It follows a channel from a cursor, or from now where that is None.

    Attributes:
        cursor: where it would go on from.
        start: the offset it began at; None while it was told none.
        heard: offset and data of every event, in the order in which they came.
        wrong: what it should not have been told, in words.
        lives: how many connections it has had.
        statuses: what its requests were answered with.
        answered_by: the ``X-Worker`` of the answers, as a proxy may write it.
    """

    def __init__(self, transport: str, channel: str, after: str | None) -> None:
        self.transport = transport
        self.channel = channel
        self.cursor = after
        self.start = None if after is None else offset(after)
        self.heard: list[tuple[int, Any]] = []
        self.wrong: list[str] = []
        self.lives = 0
        self.statuses: Counter[int] = Counter()
        self.answered_by: list[str] = []
        self.due = 0.0
        self.socket: socket.socket | None = None
        self._decoder: EventStreamDecoder | WebSocketDecoder | None = None
        self._answer = b""

    def __repr__(self) -> str:
        return f"<{self.transport} of {self.channel} from {self.start}, at {self.place}, {self.lives} lives>"

    @property
    def place(self) -> int | None:
        """The offset that it has come to."""
        return self.heard[-1][0] if self.heard else self.start

    def connect(self, address: Address, stay: float) -> bool:
        """Ask for what follows the cursor. A stream is given up by its client after so many seconds."""
        query = [] if self.cursor is None else [f"after={self.cursor}"]
        query += [f"wait={WAIT}"] if self.transport == "long poll" else []
        target = f"/c/{self.channel}/events" + ("?" + "&".join(query) if query else "")
        connected = socket.socket()
        connected.settimeout(PATIENCE)
        try:
            connected.connect(address)
            connected.sendall(self._request(target))
        except OSError:
            connected.close()
            return False
        connected.setblocking(False)
        self.socket, self._decoder, self._answer = connected, None, b""
        self.lives += 1
        self.due = time.monotonic() + (stay if self.transport in STREAMS else PATIENCE)
        return True

    def _request(self, target: str) -> bytes:
        if self.transport == "websocket":
            return upgrade(target)
        return http(target, *(["Accept: text/event-stream"] if self.transport == "sse" else ["Connection: close"]))

    def receive(self) -> bool:
        """Take what has come. Returns whether more may come."""
        assert self.socket is not None
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if self._decoder is not None:
            self._feed(data)
        else:
            self._answer += data
            head, found, rest = self._answer.partition(b"\r\n\r\n")
            if found and self.transport in STREAMS:
                if self._status(head) not in (101, 200):
                    return False
                self._decoder = EventStreamDecoder() if self.transport == "sse" else WebSocketDecoder()
                self._feed(rest)
            elif found and not data:
                self._take_answer(head, rest)
        return bool(data)

    def close(self) -> None:
        """Drop the connection the hard way."""
        if self.socket is not None:
            with suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.socket.close()
            self.socket = None

    def give_up(self) -> None:
        """Let this connection end at the next turn; safe from another thread."""
        self.due = 0.0

    def _status(self, head: bytes) -> int:
        """What a head says, noted."""
        status = int(head[9:12])
        self.statuses[status] += 1
        found = re.search(rb"\r\nx-worker: *([^\r]+)", head, re.IGNORECASE)
        if found and status < 300:
            self.answered_by.append(found[1].decode())
        return status

    def _feed(self, data: bytes) -> None:
        assert self._decoder is not None
        for message in self._decoder.feed(data):
            if message["type"] == "ping":
                assert self.socket is not None
                with suppress(OSError):
                    self.socket.send(frame(PONG))
            else:
                self._take(message)

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if kind == "event":
            if self.start is None:  # a long poll that asked from now, and is answered when there is something
                self.start = offset(message["id"]) - 1
            self.heard.append((offset(message["id"]), message["data"]))
            self.cursor = message["id"]
        elif kind in ("open", "live"):
            self._stand(message["cursor"], kind)
        elif kind == "beat":
            for cursor in message["cursors"].values():
                self._stand(cursor, kind)
        elif kind not in ("bye", "close"):
            self.wrong.append(f"told {message} at {self.place}")

    def _stand(self, cursor: str, kind: str) -> None:
        """The server says where this client stands."""
        if self.start is None:
            self.start = offset(cursor)
        if offset(cursor) != self.place:
            self.wrong.append(f"{kind} says {cursor} at {self.place}")
        self.cursor = cursor

    def _take_answer(self, head: bytes, body: bytes) -> None:
        """An answer to a poll; one that was cut off is as none."""
        if self._status(head) != 200:
            return
        try:
            answer = json.loads(body)
        except ValueError:
            return
        if answer["gap"]:
            self.wrong.append(f"told {answer['gap']} at {self.place}")
        for event in answer["events"]:
            self._take({**event, "type": "event"})
        self._stand(answer["cursor"], "poll")


class Flock:
    """Followers, and the thread that reads for them. A context manager: at its end all are gone."""

    def __init__(self, address: Address, followers: list[Follower]) -> None:
        self.followers = followers
        self.failure: BaseException | None = None
        self._address = address
        self._random = random.Random(5)
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Flock:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(2 * PATIENCE)
        for follower in self.followers:
            follower.close()
        self._selector.close()

    def are_at(self, heads: dict[str, int]) -> bool:
        """Whether all have come to these offsets."""
        assert self.failure is None, self.failure
        return all(follower.place == heads[follower.channel] for follower in self.followers)

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._turn()
        except BaseException as error:
            self.failure = error

    def _turn(self) -> None:
        for key, _ in self._selector.select(0.01):
            if not key.data.receive():
                self._part(key.data)
        now = time.monotonic()
        for follower in self.followers:
            if now < follower.due:
                continue
            if follower.socket is not None:
                self._part(follower)
            elif follower.connect(self._address, self._random.uniform(*STAY_SECONDS)):
                assert follower.socket is not None
                self._selector.register(follower.socket, selectors.EVENT_READ, follower)
            else:
                follower.due = now + AGAIN_SECONDS

    def _part(self, follower: Follower) -> None:
        """The end of a connection, and when to come back."""
        assert follower.socket is not None
        self._selector.unregister(follower.socket)
        follower.close()
        rest = REST_SECONDS.get(follower.transport, (AGAIN_SECONDS, AGAIN_SECONDS))
        follower.due = time.monotonic() + self._random.uniform(*rest)
