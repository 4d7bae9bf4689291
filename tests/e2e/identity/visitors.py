"""Followers that come with a token, and that note how they were ended."""

from __future__ import annotations

import time
from typing import Any

from tests.e2e.clients import Message
from tests.e2e.many.followers import STREAMS, Address, Follower
from tests.e2e.raw import http, upgrade
from tests.identity.issuer import token

__all__ = ["Visitor"]

STAYS = 600.0
"""Seconds: no stream is dropped by its client here."""


class Visitor(Follower):
    """One client with a token of its own.

    Attributes:
        subject, session: whose token it has, and of which login.
        ended: the code of the goodbye or the status of the answer that ended it; None while it is let in.
        came: when each event came, in monotonic time, as ``heard`` has them.
    """

    def __init__(self, transport: str, channel: str, after: str | None, subject: str, session: str) -> None:
        super().__init__(transport, channel, after)
        self.subject = subject
        self.session = session
        self.ended: int | None = None
        self.came: list[float] = []
        self._token = token("HS256", sub=subject, sid=session)

    def __repr__(self) -> str:
        return f"<{self.subject} ({self.session}) {super().__repr__()}, ended {self.ended}>"

    def connect(self, address: Address, stay: float) -> bool:
        """Come back, unless the server said not to."""
        return self.ended is None and super().connect(address, STAYS)

    def _request(self, target: str) -> bytes:
        headers = [f"Authorization: Bearer {self._token}"]
        if self.transport == "websocket":
            return upgrade(target, *headers)
        headers += ["Accept: text/event-stream" if self.transport == "sse" else "Connection: close"]
        return http(target, *headers)

    def _status(self, head: bytes) -> int:
        status = super()._status(head)
        if status == 403:
            self.ended = status
        return status

    def _take(self, message: Message) -> None:
        if message["type"] in ("bye", "close") and message["code"] == 4403:
            self.ended = 4403
        elif message["type"] == "event":
            self.came.append(time.monotonic())
        super()._take(message)

    @property
    def ended_rightly(self) -> bool:
        """Whether it was ended as its transport has it: on a stream by a goodbye, else by an answer."""
        return self.ended == (4403 if self.transport in STREAMS else 403)

    def prefix_of(self, log: dict[int, Any]) -> bool:
        """Whether what it heard is the log from where it began, as far as it was let in."""
        assert self.start is not None
        return self.heard == [(place, log[place]) for place in range(self.start + 1, self.start + 1 + len(self.heard))]
