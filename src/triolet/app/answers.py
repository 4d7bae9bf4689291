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
from ..transports.negotiate import Headers
from ..wire.messages import Reply

__all__ = ["REPLAYED", "Answer", "KeptAnswer", "as_response", "is_kept", "keep", "own_answer", "reply_of"]

REPLAYED: Final = "Idempotency-Replayed"
"""The header that says that an answer is the one that was kept (as Stripe's API has it)."""

_TRY_AGAIN: Final = frozenset({408, 425, 429})
"""Answers below 500 that say "not now", and not what came of it."""
_NOT_KEPT: Final = frozenset({"connection", "content-length", "date", "set-cookie", "transfer-encoding"})
"""Headers that belong to one response: to one client's session, or to one message."""


class Answer(msgspec.Struct, frozen=True):
    """What a command was answered: an HTTP response, all of it."""

    status: int
    headers: Headers
    body: bytes


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


def is_kept(status: int) -> bool:
    """Whether an answer is kept: it says what came of the command, and does not ask to try again."""
    return status < 500 and status not in _TRY_AGAIN


async def keep(response: Any, limits: Limits) -> KeptAnswer:
    """Return what is kept of a view's response, which can still be sent.

    Raises:
        DataError: the app's fault; it is larger than ``limits.answer_bytes``.
        Exception: its body cannot be read.
    """
    body = await _read(response, limits.answer_bytes)
    headers = [(name, value) for name, value in response.headers.items() if name.lower() not in _NOT_KEPT]
    kept = KeptAnswer(response.status_code, headers, body)
    if len(kept.encode()) > limits.answer_bytes:
        raise _too_large(limits.answer_bytes)
    if not isinstance(getattr(response, "response", None), DataBody):  # which can be read again
        response.set_data(body)
    return kept


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


def own_answer(status: int, error: str, message: str, retry: int | None = None) -> Answer:
    """Return an answer of Triolet's own: a word, a sentence, and after how many seconds to ask again."""
    headers = [(b"content-type", b"application/json")]
    if retry is not None:
        headers.append((b"retry-after", b"%d" % retry))
    return Answer(status, headers, msgspec.json.encode({"error": error, "message": message}))


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
        _data(answer.body, fields.get(b"content-type", b"")),
        1000 * int(retry) if retry.isdigit() and len(retry) <= RETRY_AFTER_DIGITS else None,
        REPLAYED.lower().encode() in fields,
    )


def _data(body: bytes, content_type: bytes) -> msgspec.Raw:
    if not body:
        return msgspec.Raw(b"null")
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == b"application/json" or kind.endswith(b"+json"):
        try:
            # Anew and not as it came: in one line, and surely JSON.
            return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(body)))
        except (msgspec.DecodeError, RecursionError, ValueError):
            pass  # it only says that it is
    return msgspec.Raw(msgspec.json.encode(body.decode(errors="replace")))
