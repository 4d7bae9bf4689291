"""HTTP/1.1 as the kit's clients speak it, with h11: a request, its answer, and an answer that does not end (SSE)."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Final, TypeAlias

import h11
import trio

from .cookies import Cookies
from .network import ClientEnd
from .strict import BlockReader, MalformedError

__all__ = ["PATIENCE_SECONDS", "Answer", "EventStream", "RefusedError", "arrived", "ask", "read_answer"]

PATIENCE_SECONDS: Final = 3600
"""Within which what is asked for without a bound must come: so a test whose server says nothing fails, and ends."""

Head: TypeAlias = "h11.Response | h11.InformationalResponse"


class Answer:
    """An HTTP response, read to its end.

    Attributes:
        status: 200, for example.
        headers: by name in lower case; the last one, where there are several of a name.
        body: bytes.
    """

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body, which is JSON. Raises json.JSONDecodeError where it is not."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body, which is UTF-8."""
        return self.body.decode()

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:200]!r}>"


class RefusedError(Exception):
    """A client was not let in.

    Attributes:
        status: the HTTP status; None where a ``follow`` on a socket was refused, which says no more.
        answer: the whole answer; None likewise.
    """

    def __init__(self, what: str, answer: Answer | None) -> None:
        said = (
            "refused" if answer is None else f"answered {answer.status}: {answer.body[:300].decode(errors='replace')}"
        )
        super().__init__(f"{what} was {said}")
        self.status = None if answer is None else answer.status
        self.answer = answer


class EventStream:
    """An event stream as it is on the wire, block by block, read only while it is asked to.

    A client that is to hear messages, whatever the transport, is :meth:`Reach.sse`'s. This one is for a test of the
    response itself.

    Attributes:
        stream: the client's end of the connection.
        status, headers: the response's.
    """

    def __init__(
        self, stream: ClientEnd, connection: h11.Connection, response: Head, reader: BlockReader | None = None
    ) -> None:
        self.stream = stream
        self.status = response.status_code
        self.headers = _headers(response)
        self._connection = connection
        self._response = response
        self._reader = reader or BlockReader()
        self._blocks: deque[dict[str, str]] = deque()

    async def block(self) -> dict[str, str] | None:
        """The fields of the next block (several ``data`` lines as one); None at the end of the stream.

        Raises:
            trio.BrokenResourceError: the connection was reset.
            h11.RemoteProtocolError: it ended within the response.
            MalformedError: what came is no event stream, or no HTTP.
        """
        while not self._blocks:
            event = await _next(self.stream, self._connection)
            if not isinstance(event, h11.Data):
                self._reader.end()
                return None
            self._blocks.extend(self._reader.feed(bytes(event.data)))
        return self._blocks.popleft()

    async def event(self) -> dict[str, Any] | None:
        """The next event that is none of Triolet's own: ``id``, ``event``, ``data``. None at the end."""
        while (block := await self.block()) is not None:
            if "event" in block and not block["event"].startswith("triolet."):
                return {**block, "data": json.loads(block["data"])}
        return None

    async def own(self, name: str) -> dict[str, Any] | None:
        """The data of the next event of Triolet's own with a name: ``open``, ``live``, ``gap``, ``beat``, ``bye``."""
        while (block := await self.block()) is not None:
            if block.get("event") == f"triolet.{name}":
                data: dict[str, Any] = json.loads(block["data"])
                return data
        return None

    async def answer(self) -> Answer:
        """The whole response, where it is one that ends: a refusal."""
        return await read_answer(self.stream, self._connection, self._response)


async def ask(
    stream: ClientEnd,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes = b"",
    *,
    cookies: Cookies | None = None,
) -> tuple[h11.Connection, Head]:
    """Send a request and read the head of its answer. A ``cookie`` among the headers goes in place of ``cookies``.

    Raises:
        trio.BrokenResourceError: the connection was reset, or ended before there was an answer.
    """
    connection = h11.Connection(h11.CLIENT)
    carried = {} if cookies is None else cookies.sent_to(path)
    asked = {"host": "test", **carried, **{name.lower(): text for name, text in headers.items()}}
    if body or method == "POST":
        asked["content-length"] = str(len(body))
    fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in asked.items()]
    await stream.send_all(connection.send(h11.Request(method=method, target=path, headers=fields)) or b"")
    if body:
        await stream.send_all(connection.send(h11.Data(data=body)) or b"")
    await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
    while isinstance(response := await _head(stream, connection), h11.InformationalResponse):
        if response.status_code == 101:
            break
    if cookies is not None:
        cookies.take(path, response.headers)
    return connection, response


async def _head(stream: ClientEnd, connection: h11.Connection) -> Head:
    try:
        head = await _next(stream, connection)
    except h11.RemoteProtocolError as error:
        raise trio.BrokenResourceError("the connection ended before there was an answer") from error
    assert isinstance(head, h11.Response | h11.InformationalResponse), head
    return head


async def read_answer(stream: ClientEnd, connection: h11.Connection, response: Head) -> Answer:
    """Read the rest of an answer. A 101 has none."""
    parts = []
    if isinstance(response, h11.Response):
        while isinstance(event := await _next(stream, connection), h11.Data):
            parts.append(bytes(event.data))
    return Answer(response.status_code, _headers(response), b"".join(parts))


def _headers(response: Head) -> dict[str, str]:
    return {name.decode().lower(): value.decode("latin-1") for name, value in response.headers}


async def arrived(stream: ClientEnd) -> bytes:
    """What has come at a client's end, or ``b""`` at its end.

    A task that was cancelled takes nothing, also where its data had come before: its client has left this connection.
    """
    data = await stream.receive_some()
    await trio.lowlevel.checkpoint_if_cancelled()
    return data


async def _next(stream: ClientEnd, connection: h11.Connection) -> Any:
    """The next event of h11's. Raises its RemoteProtocolError for an end within the answer, else MalformedError."""
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await arrived(stream))
    except h11.RemoteProtocolError as error:
        if connection.trailing_data[1]:
            raise
        raise MalformedError(f"no HTTP: {error}") from None
    return event
