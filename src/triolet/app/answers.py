"""The answers of commands: what is kept of one, how it is given again, and how it looks on a WebSocket."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from quart import Response as QuartResponse
from quart import current_app
from quart.wrappers.response import DataBody
from werkzeug.datastructures import Headers as ResponseHeaders

from ..bounds import RETRY_AFTER_DIGITS
from ..errors import DataError, LogBroken
from ..limits import Limits
from ..transports.negotiate import Answer, Headers
from ..value import encode_json
from ..wire.messages import Reply
from .views import body_of, headers_of

__all__ = ["KeptAnswer", "answer_of", "as_response", "keep", "reply_of"]

REPLAYED: Final = "Idempotency-Replayed"
"""The header that says that an answer is the one that was kept (as Stripe's API has it)."""

_NOT_KEPT: Final = frozenset({"connection", "content-length", "date", "set-cookie", "transfer-encoding"})
"""Headers that belong to one response: to one client's session, or to one message."""


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of an answer, as the log has it: see :func:`keep`."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def read(cls, stored: bytes) -> KeptAnswer:
        """Read what the log has kept. Raises LogBroken: something else is stored there."""
        try:
            return msgspec.msgpack.decode(stored, type=cls)
        except msgspec.DecodeError as error:
            raise LogBroken(f"what is kept of a command's answer is none: {error}") from error

    def encode(self) -> bytes:
        """Return it as the log keeps it."""
        return msgspec.msgpack.encode(self)

    def response(self) -> Any:
        """Return the app's response for one who asks again."""
        app: Any = current_app
        response = app.response_class(self.body, status=self.status)
        response.headers = ResponseHeaders([*self.headers, ("Content-Length", str(len(self.body))), (REPLAYED, "true")])
        return response


async def keep(response: Any, limits: Limits) -> KeptAnswer:
    """Return what is kept of a view's response, which can still be sent.

    Raises:
        DataError: the app's fault; it is larger than ``limits.answer_bytes``, or none that can be sent.
        Exception: its body cannot be read.
    """
    body = await _read(response, limits.answer_bytes)
    _check(headers_of(response), body)
    headers = [(name, value) for name, value in response.headers.items() if name.lower() not in _NOT_KEPT]
    kept = KeptAnswer(response.status_code, headers, body)
    if len(kept.encode()) > limits.answer_bytes:
        raise _too_large(limits.answer_bytes)
    if not isinstance(getattr(response, "response", None), DataBody):  # which can be read again
        response.set_data(body)
    return kept


async def answer_of(response: Any) -> Answer:
    """Return all of an app's response. Raises DataError: it is none that can be sent."""
    headers, body = headers_of(response), await body_of(response)
    _check(headers, body)
    return Answer(response.status_code, headers, body)


def _check(headers: Headers, body: bytes) -> None:
    """Refuse what says that it is JSON, and is not what every client would read in it. Raises DataError."""
    if body and _is_json(_content_type(headers)):
        encode_json(msgspec.Raw(body))


async def _read(response: Any, most: int) -> bytes:
    """Read a body, no further than it may be long: it may be a generator's, without an end."""
    if not isinstance(response, QuartResponse):
        return bytes(response.get_data())
    body = bytearray()
    async with response.response as pieces:
        async for piece in pieces:
            body += piece.encode() if isinstance(piece, str) else piece
            if len(body) > most:
                raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> DataError:
    return DataError(
        f"the answer of a command is larger than limits.answer_bytes ({most}), so it cannot be kept, and nothing was "
        "published: answer with less, or raise the limit"
    )


def as_response(answer: Answer) -> Any:
    """Return an answer as the app's own response."""
    app: Any = current_app
    headers = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
    return app.response_class(answer.body, status=answer.status, headers=headers)


def reply_of(id: str, answer: Answer) -> Reply:
    """Return an answer as it is on a WebSocket."""
    fields = {name.lower(): value for name, value in answer.headers}
    retry = fields.get(b"retry-after", b"")
    return Reply(
        id,
        answer.status,
        _data(answer.body, _content_type(answer.headers)),
        1000 * int(retry) if retry.isdigit() and len(retry) <= RETRY_AFTER_DIGITS else None,
        REPLAYED.lower().encode() in fields,
    )


def _data(body: bytes, content_type: bytes) -> msgspec.Raw:
    if not body:
        return msgspec.Raw(b"null")
    said = msgspec.json.decode(body) if _is_json(content_type) else body.decode(errors="replace")
    return msgspec.Raw(msgspec.json.encode(said))  # anew and not as it came: in one line


def _content_type(headers: Headers) -> bytes:
    return next((value for name, value in headers if name.lower() == b"content-type"), b"")


def _is_json(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")
