"""What a request on a channel's URL asks for, and how it is refused: the part all four transports share."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from ..bounds import FOLLOW_URL_CHARACTERS
from ..errors import CursorError, TrioletError
from ..event import Cursor
from ..limits import Limits
from ..wire.codec import PLAIN, Codec, Rendered
from ..wire.http_head import weight

__all__ = [
    "FULL",
    "PROBE",
    "Answer",
    "Ask",
    "AskError",
    "Form",
    "Headers",
    "Scope",
    "TransportKind",
    "Wish",
    "can_be_followed",
    "check_path",
    "expired",
    "header",
    "is_not_now",
    "names_text",
    "own_answer",
    "parse_ask",
    "parse_wish",
]

ANOTHER_SERVERS: Final = Cursor("of-another-server", 0)
"""What a ``Last-Event-ID`` stands for that no Triolet gave: a place in the life of another log."""

PROBE: Final = "triolet-probe"
"""In a poll's query: say in a header of this name in which version of HTTP the request has come (``triolet probe``)."""

_YES: Final = ("", "1", "true")
"""What a switch in a query is written as, if it is on."""

Scope: TypeAlias = "dict[str, Any]"
Headers: TypeAlias = "list[tuple[bytes, bytes]]"


class TransportKind(Enum):
    """Which transport a request asks for."""

    WEBSOCKET = "websocket"
    SSE = "sse"
    LONG_POLL = "long poll"
    SHORT_POLL = "short poll"


_SAID_WITH: Final[dict[int, Headers]] = {
    401: [(b"www-authenticate", b'Bearer error="invalid_token"')],
    426: [(b"upgrade", b"websocket")],
}
"""What HTTP wants to have said with a status."""

_NOT_NOW: Final = frozenset({408, 425, 429})


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer, all of it."""

    status: int
    headers: Headers
    body: bytes


def own_answer(status: int, error: str, message: str, retry: int | None = None) -> Answer:
    """Return an answer of Triolet's own: a word, a sentence, and after how many seconds to ask again."""
    headers = [(b"content-type", b"application/json"), *_SAID_WITH.get(status, [])]
    if retry is not None:
        headers.append((b"retry-after", b"%d" % retry))
    return Answer(status, headers, msgspec.json.encode({"error": error, "message": message}))


def is_not_now(status: int) -> bool:
    """Whether an answer says no more than "not now": that something failed, or that it is too early, or too much."""
    return status >= 500 or status in _NOT_NOW


class AskError(TrioletError):
    """The request is refused: ``status``, and for the client a word that says what was wrong, and a sentence."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error

    @property
    def answer(self) -> Answer:
        return own_answer(self.status, self.error, str(self))


def expired() -> AskError:
    """What a poll is answered whose client's identity has expired."""
    return AskError(401, "expired", "what this client was let in with has expired")


class Wish(msgspec.Struct, frozen=True):
    """How a client wants to be brought up to the present.

    Attributes:
        after: the cursor to go on from; None is "from now".
        folds: whether events that go together come as one, of what it has missed (``?fold=1``).
        state: whether it wants the channel's state, where it comes without a cursor or has lost events
            (``?snapshot=1``).
    """

    after: Cursor | None
    folds: bool = False
    state: bool = False


class Form(NamedTuple):
    """How an event stream looks.

    Attributes:
        plain: whether only the app's events are events, and all else is comments.
        done: whether a plain one that ends for good ends with ``[DONE]``.
        rendered: how the route has its events look in a plain one; None: as the JSON that they are.
    """

    plain: bool = False
    done: bool = False
    rendered: Rendered | None = None

    @classmethod
    def of(cls, name: str, done: bool) -> Form:
        """The form of that name, as a route or a URL gives it. Raises ValueError, with a sentence."""
        if name not in ("triolet", "plain"):
            raise ValueError(f"format is 'plain' or 'triolet', not {name!r:.40}")
        return cls(name == "plain", done)

    def codec(self, codec: Codec) -> Codec:
        """Return what encodes it, by what would encode the full one of this client; any other codec stays."""
        if not self.plain:
            return codec
        return PLAIN[codec] if self.rendered is None else self.rendered.of(codec)


FULL: Final = Form()
"""That of Triolet's own clients."""


class Ask(msgspec.Struct, frozen=True):
    """What a request asks for: a transport, from where and how, seconds to wait, and how its events look, where they
    are a stream; and the version of HTTP in which it came, where a poll wants to be told."""

    transport: TransportKind
    wish: Wish
    wait: float = 0
    form: Form = FULL
    came_as: str | None = None

    @property
    def after(self) -> Cursor | None:
        """The cursor to go on from; None is "from now"."""
        return self.wish.after


def parse_ask(scope: Scope, limits: Limits, *, upgrade: bool = False, form: Form = FULL) -> Ask:
    """Negotiate: one URL, four transports.

    ``Accept: text/event-stream`` asks for SSE, ``?wait=`` for a long poll. The cursor is the ``Last-Event-ID``
    header's (a browser that comes back sends it), else that of ``?after=``. A header that is no cursor is the id of
    another server, which was at this URL before: it is answered with a gap (``epoch``), as if the log had been begun
    again, since an EventSource that gets a 400 gives up for good. ``?format=`` and ``?done=`` say how an event stream
    looks; elsewhere they may be the app's own, and nobody looks at them.

    Args:
        form: of the route's event streams, where the URL says nothing of it.

    Raises:
        AskError: 400; the cursor, the wait, the format or what is to end it has no known form.
    """
    query = _query(scope)
    wish = _wish(_after(header(scope, b"last-event-id"), query), query)
    if upgrade:
        return Ask(TransportKind.WEBSOCKET, wish)
    if 0 < weight(scope["headers"], b"text/event-stream") >= weight(scope["headers"], b"application/json"):
        return Ask(TransportKind.SSE, wish, form=_form(query, form))
    wait = _wait(query["wait"], limits) if "wait" in query else 0
    came_as = scope["http_version"] if PROBE in query else None
    return Ask(TransportKind.LONG_POLL if wait else TransportKind.SHORT_POLL, wish, wait, came_as=came_as)


def names_text(scope: Scope) -> bool:
    """Tell whether a URL's path is UTF-8 once it is decoded. ASGI's ``path`` has one and the same character for all
    that is not, so two such paths would be one channel."""
    if "\ufffd" not in scope["path"]:
        return True
    try:
        unquote_to_bytes(scope.get("raw_path") or b"%ff").decode()
    except UnicodeDecodeError:
        return False
    return True


def can_be_followed(url: str) -> bool:
    """Whether a client may write a URL so that it follows: one of this server, in printable ASCII, and not too long."""
    return url.startswith("/") and len(url) <= FOLLOW_URL_CHARACTERS and url.isascii() and url.isprintable()


def check_path(scope: Scope) -> None:
    """Refuse a path that is no text. Raises AskError: 400."""
    if not names_text(scope):
        raise AskError(400, "path", "this URL's path is not UTF-8")


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of a name, as text."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def _query(scope: Scope) -> dict[str, str]:
    """The query's first values. What is not UTF-8 is replaced, and refused later where it matters."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return dict(reversed(pairs))


def parse_wish(scope: Scope) -> Wish:
    """How a client wants to follow a URL on a socket. Raises CursorError."""
    query = _query(scope)
    text = query.get("after")
    return _wish(Cursor.parse_after(text) if text else None, query)


def _wish(after: Cursor | None, query: dict[str, str]) -> Wish:
    return Wish(after, query.get("fold") in _YES, query.get("snapshot") in _YES)


def _after(last_event_id: str | None, query: dict[str, str]) -> Cursor | None:
    text = last_event_id or query.get("after")
    if not text:
        return None
    try:
        return Cursor.parse(text) if last_event_id else Cursor.parse_after(text)
    except CursorError as error:
        if last_event_id:
            return ANOTHER_SERVERS
        raise AskError(400, "cursor", str(error)) from None


def _wait(text: str, limits: Limits) -> float:
    if not text:
        return limits.wait_seconds
    if len(text) <= 8 and text.replace(".", "", 1).isdecimal() and text.isascii():
        return min(float(text), limits.wait_seconds)
    raise AskError(400, "wait", f"wait is a number of seconds, at most {limits.wait_seconds:g}, not {text!r:.40}")


def _form(query: dict[str, str], routes: Form) -> Form:
    try:
        form = Form.of(query["format"], routes.done)._replace(rendered=routes.rendered) if "format" in query else routes
    except ValueError as error:
        raise AskError(400, "format", str(error)) from None
    if not form.plain:
        return FULL
    if "done" not in query:
        return form
    if query["done"] not in ("0", "1"):
        raise AskError(400, "done", f"done is 1 or 0, not {query['done']!r:.40}")
    return form._replace(done=query["done"] == "1")
