"""What is sent in the body of a publish or a revocation: read, with the place of whatever is wrong in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote

import msgspec

from ..bounds import ADMIN_EVENTS, NAME_CHARACTERS
from ..errors import DataError
from ..event import Draft
from ..value import name_twice
from .contract import JSON

__all__ = ["BATCH", "CLOUD", "NDJSON", "BadBody", "CloudEvent", "Entry", "Publish", "Revoke", "media_type", "read"]

NDJSON: Final = "application/x-ndjson"
CLOUD: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"

_CLOUD_HEADERS: Final = "ce-"


class BadBody(Exception):
    """The body cannot be taken; nothing of it is.

    Attributes:
        line: which event of several is meant, the first is 1; None where there is one.
        why: what is wrong, and what to do.
        status: 400, or 413 for what is too much, or 415 for what is no known kind.
    """

    def __init__(self, why: str, line: int | None = None, status: int = 400) -> None:
        super().__init__(why)
        self.why = why
        self.line = line
        self.status = status


class Publish(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An event to publish, as ``live.publish`` takes it.

    Attributes:
        data: any JSON value.
        channel: where to; may stand in the URL (``?channel=``) in place of here.
        name: what kind of event it is.
        key: what it is about: of several with one key the last says all.
        dedupe: a repeat with the same text publishes nothing, and is answered as the first.
        fold: how it goes together with the one of the same key before it: concat, latest, merge or sum.
    """

    data: msgspec.Raw
    channel: str | None = None
    name: str = "message"
    key: str | None = None
    dedupe: str | None = None
    fold: str | None = None


def _nothing() -> msgspec.Raw:
    return msgspec.Raw(b"null")


class CloudEvent(msgspec.Struct, omit_defaults=True):
    """A CloudEvent 1.0. Its ``type`` is the event's name, its ``subject`` the key, and ``source`` and ``id`` together
    are what names a repeat. Attributes that are not listed here are taken, and not published.

    Attributes:
        specversion, id, source, type, subject, datacontenttype: as the specification has them.
        data: any JSON value.
        data_base64: refused: bytes are no JSON value.
        channel: an extension: where to; may stand in the URL (``?channel=``) in place of here.
    """

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.field(default_factory=_nothing)
    data_base64: str | None = None
    channel: str | None = None


class Revoke(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is revoked: all that is named must be so, and one at least is.

    Attributes:
        subject, session: an identity's.
        channel: what is followed.
        url: the path of the URL that is followed.
        channels: a pattern of what is followed, or several.
    """

    subject: str | None = None
    session: str | None = None
    channel: str | None = None
    url: str | None = None
    channels: str | list[str] | None = None


class Entry(NamedTuple):
    """An event to publish, read and checked but for what the app's limits say.

    Attributes:
        line: which of several it is; None where there is one.
        channel: where to, as it was written.
        draft: the event.
    """

    line: int | None
    channel: str
    draft: Draft


def media_type(headers: Mapping[str, str]) -> str:
    """Return the media type of a body, in lower case and without parameters; empty where none is said."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def read(headers: Mapping[str, str], body: bytes, channel: str | None) -> Iterator[Entry]:
    """Read a publish, one event after the other, so that others may have their turn in between.

    Args:
        headers: of the request: what kind of body it is, and, of a CloudEvent in headers, the rest of it.
        body: the body.
        channel: the channel of events that name none.

    Raises:
        BadBody: while it is read: nothing of it may be published.

    Bounds: ``ADMIN_EVENTS`` events.
    """
    kind = media_type(headers)
    if any(name.startswith(_CLOUD_HEADERS) for name in headers) and kind in ("", JSON):
        yield _entry(_cloud_in_headers(headers, body), None, channel)
    elif kind == JSON:
        yield _entry(_told(body, Publish, None), None, channel)
    elif kind == NDJSON:
        yield from _many(enumerate(body.split(b"\n"), 1), Publish, channel)
    elif kind == CLOUD:
        yield _entry(_told(body, CloudEvent, None), None, channel)
    elif kind == BATCH:
        yield from _many(enumerate(_decoded(body, list[msgspec.Raw], None), 1), CloudEvent, channel)
    else:
        raise BadBody(f"a publish is {JSON}, {NDJSON}, {CLOUD} or {BATCH}, not {kind!r:.80}", status=415)


def _many(lines: Iterator[tuple[int, Any]], form: Any, channel: str | None) -> Iterator[Entry]:
    found = 0
    for number, line in lines:
        if not bytes(line).strip():  # most texts of lines end with one that is empty
            continue
        found += 1
        if found > ADMIN_EVENTS:
            raise BadBody(f"a publish has at most {ADMIN_EVENTS} events: send several", number, 413)
        yield _entry(_told(line, form, number), number, channel)
    if not found:
        raise BadBody("there is no event in it")


def _told(text: bytes | msgspec.Raw, form: Any, line: int | None) -> Any:
    """An event, in which no name stands twice: another reader of the same text would publish the other one."""
    said = _decoded(text, form, line)
    try:
        twice = name_twice(bytes(text))
    except (ValueError, RecursionError) as error:
        raise BadBody(f"it is no JSON: {error}", line) from None
    if twice is not None:
        raise BadBody(f"{twice!r:.80} stands twice in the event: say it once", line)
    return said


def _decoded(text: bytes | msgspec.Raw, form: Any, line: int | None) -> Any:
    try:
        return msgspec.json.decode(text, type=form)
    except msgspec.ValidationError as error:
        raise BadBody(str(error), line) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BadBody(f"it is no JSON: {error}", line) from None


def _entry(said: Publish | CloudEvent, line: int | None, channel: str | None) -> Entry:
    named = said.channel if said.channel is not None else channel
    if named is None:
        raise BadBody("no channel is named: say it in the event (`channel`), or in the URL (?channel=)", line)
    try:
        if isinstance(said, Publish):
            draft = Draft.of(said.data, name=said.name, key=said.key, dedupe=said.dedupe, fold=said.fold)
        else:
            draft = Draft.of(_content(said), name=said.type, key=said.subject, dedupe=_repeat(said))
    except DataError as error:
        raise BadBody(str(error), line) from None
    except BadBody as error:
        raise BadBody(error.why, line) from None
    return Entry(line, named, draft)


def _content(event: CloudEvent) -> msgspec.Raw:
    if event.data_base64 is not None:
        raise BadBody("the data of an event is JSON, and no bytes (data_base64)")
    return event.data


def _repeat(event: CloudEvent) -> str:
    """What names a CloudEvent: its source and id, "unique for each distinct event" (CloudEvents 1.0, section "id")."""
    if not event.id or not event.source:
        raise BadBody("`id` and `source` of a CloudEvent are not empty")
    both = f"{event.source} {event.id}"
    return both if len(both) <= NAME_CHARACTERS else sha256(both.encode("utf-8", "surrogatepass")).hexdigest()


def _cloud_in_headers(headers: Mapping[str, str], body: bytes) -> Any:
    """A CloudEvent in binary mode: its attributes stand in headers, percent-encoded, and the body is its data."""
    said: dict[str, Any] = {
        name.removeprefix(_CLOUD_HEADERS): unquote(value)
        for name, value in headers.items()
        if name.startswith(_CLOUD_HEADERS)
    }
    for name in ("data", "data_base64"):  # the body is that here
        said.pop(name, None)
    try:
        event = msgspec.convert(said, CloudEvent)
    except msgspec.ValidationError as error:
        raise BadBody(f"{error} (in the headers ce-…)") from None
    if body:
        event.data = _decoded(body, msgspec.Raw, None)
    return event
