"""The JSON messages of both directions: one shape each, the same on every transport.

A server's message is a Struct here; how it looks on a wire is the codec's business. A client's message is
parsed here, with its size already bounded by the caller and its nesting bounded here.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import msgspec

from ..bounds import SUB_CHARACTERS
from ..closing import BAD_MESSAGE, Closing
from ..errors import RemoteError
from ..event import Cursor, Event, Gap
from ..value import name_twice, name_twice_within, nesting_exceeds

__all__ = [
    "Ack",
    "AppMessage",
    "Auth",
    "Beat",
    "Bracket",
    "Bye",
    "ClientMessage",
    "CommandMessage",
    "End",
    "Expiring",
    "Follow",
    "GapMessage",
    "Incoming",
    "LagMessage",
    "Live",
    "Message",
    "Open",
    "Refused",
    "Renewed",
    "Reply",
    "SnapshotMessage",
    "Tell",
    "Unfollow",
    "encode_event",
    "encode_message",
    "end_of",
    "gap_fields",
    "parse_client",
    "say_bye",
]

_encoder = msgspec.json.Encoder()
encode_message = _encoder.encode


class Message(msgspec.Struct, frozen=True, tag_field="type"):
    """The messages of the server other than events."""


class Open(Message, tag="open", frozen=True, omit_defaults=True):
    """The first message of a stream: the cursor it starts from, for a client that is cut off before any event.

    Attributes:
        channel: the channel's name; None on a socket that follows nothing by itself.
        cursor: where the stream starts.
        url: the URL that was followed; None where that is the connection's own, or the app chose the channel.
        filtered: whether the client may not see every event: then offsets have holes that are no gaps, and ``live``
            and beats move its cursor over them.
        sub: what the client calls its subscription; None where it named none.
    """

    channel: str | None
    cursor: str | None
    url: str | None = None
    filtered: bool = False
    sub: str | None = None


class Bracket(Message, tag="for", frozen=True):
    """The next messages are for some subscriptions alone.

    Attributes:
        subs: what the client calls them.
        next: how many messages.
    """

    subs: list[str]
    next: int


class Live(Message, tag="live", frozen=True, omit_defaults=True):
    """The client is up to date: from now on events come as they are published.

    Attributes:
        channel: the channel's name.
        cursor: up to where it was sent everything.
        subs: the subscriptions that the channel's events are for from now on, but those in brackets; None where the
            client has named none.
    """

    channel: str
    cursor: str
    subs: list[str] | None = None


class GapMessage(Message, tag="gap", frozen=True, rename={"after": "from"}):
    """Events are gone that the client has not seen: those after ``from`` up to ``to``."""

    channel: str
    after: str
    to: str
    missed: int | None
    reason: str


class SnapshotMessage(Message, tag="snapshot", frozen=True, omit_defaults=True):
    """The state of a channel: what its events up to ``cursor`` have made. Events go on from there.

    Attributes:
        channel: the channel's name.
        cursor: up to where its events are in the state.
        data: the state: JSON.
        missed: how many events are not in it that should be; None where that is not known.
    """

    channel: str
    cursor: str
    data: msgspec.Raw
    missed: int | None = 0


class LagMessage(Message, tag="lag", frozen=True, omit_defaults=True):
    """The client is ``behind`` so many events, and its policy says ``step``: with ``block``, publishers wait for it.
    ``sub`` is what it calls its subscription, where it is of one."""

    channel: str
    behind: int
    step: str
    sub: str | None = None


class Beat(Message, tag="beat", frozen=True, omit_defaults=True):
    """The heartbeat.

    Attributes:
        time: the server's clock, in ms since 1970.
        cursors: up to where this client was sent each channel.
        stale: whether the server cannot reach its log now, so that there may be events that it does not know of.
        places: the same of the subscriptions for which ``cursors`` do not tell, by what the client calls each: the last
            ``live`` of their channel has not named them.
    """

    time: int
    cursors: dict[str, str]
    stale: bool = False
    places: dict[str, str] = {}


class End(Message, tag="end", frozen=True):
    """The channel has ended: nothing comes after this.

    Attributes:
        channel: the channel's name.
        cursor: the end's own place: it is the channel's last event.
        data: what the app has said with it. JSON already.
        time: when that was, in ms since 1970.
    """

    channel: str
    cursor: str
    data: msgspec.Raw
    time: int


class Bye(Message, tag="bye", frozen=True):
    """The end of the stream. ``retry`` says after how many ms to come back; None: not by itself."""

    code: int
    reason: str
    retry: int | None


class Refused(Message, tag="refused", frozen=True, omit_defaults=True):
    """A follow was refused. It says the same of a channel that is forbidden and of one that does not exist.

    Attributes:
        url: the URL that was followed, as the client wrote it; None where the channel was followed by its name.
        channel: what is followed no longer; None where nothing was.
        sub: what the client calls its subscription; None where it named none.
        reason: ``repeat`` where a stream or a poll of many channels follows the URL's channel by another URL already;
            ``snapshot`` where the app failed to give the channel's state; ``follows`` where the connection follows as
            many as it may; else None.
        retry: after how many ms to ask again, which may go better; None: not by itself.
    """

    url: str | None
    channel: str | None = None
    sub: str | None = None
    reason: str | None = None
    retry: int | None = None


class Expiring(Message, tag="expiring", frozen=True, omit_defaults=True, rename={"milliseconds": "in"}):
    """The client's identity ends, and its connection with it, unless it is renewed.

    Attributes:
        milliseconds: in how many ms; None is never.
        key: names the connection to ``POST /triolet/renew``, where the client cannot renew on the connection itself.
        refused: whether this answers a renewal that was not accepted.
    """

    milliseconds: int | None
    key: str | None = None
    refused: bool = False


class Renewed(Message, tag="renewed", frozen=True, rename={"milliseconds": "in"}):
    """The client's identity was renewed: it ends in so many ms now; None is never."""

    milliseconds: int | None


class Reply(Message, tag="reply", frozen=True, omit_defaults=True):
    """The answer to a command.

    Attributes:
        id: the command's.
        status: as of HTTP.
        data: the answer's body: JSON as it is, another text as a JSON string, ``null`` where there is none.
        retry: after how many ms to ask again, where the answer says so (``Retry-After``).
        repeated: whether it is the answer that was kept of the first time.
    """

    id: str
    status: int
    data: msgspec.Raw
    retry: int | None = None
    repeated: bool = False


class AppMessage(Message, tag="message", frozen=True):
    """A message of the app's own, from ``conn.send``. ``data`` is JSON already."""

    data: msgspec.Raw


class Tell(Message, tag="tell", frozen=True, omit_defaults=True):
    """Something that is only for now: it is no event, has no place, and is told once, to whoever is there.

    Attributes:
        channel: the channel's name.
        event: what kind of thing it is.
        data: JSON already.
        key: what it is about; None: nothing by itself.
    """

    channel: str
    event: str
    data: msgspec.Raw
    key: str | None = None


class _EventMessage(msgspec.Struct, frozen=True, tag_field="type", tag="event", omit_defaults=True):
    channel: str
    id: str
    event: str
    data: msgspec.Raw
    time: int
    key: str | None = None
    fold: str | None = None
    folded: int = 1


def encode_event(event: Event) -> bytes:
    """Encode an event as the JSON object it is on a WebSocket and in the answer to a poll; one that ends its channel as
    the message that it is to clients."""
    if event.ends:
        return encode_message(end_of(event))
    return _encoder.encode(
        _EventMessage(
            event.channel,
            str(event.cursor),
            event.name,
            msgspec.Raw(event.json),
            int(event.published_at * 1000),
            event.key,
            event.fold,
            event.folded,
        )
    )


def end_of(event: Event) -> End:
    """Return the message that tells a client that its channel has ended."""
    return End(event.channel, str(event.cursor), msgspec.Raw(event.json), int(event.published_at * 1000))


def gap_fields(channel: str, gap: Gap) -> GapMessage:
    """Return the message that tells a client of a gap."""
    return GapMessage(channel, str(gap.after), str(gap.to), gap.missed, gap.reason)


def say_bye(closing: Closing, retry: int | None) -> Bye:
    """Return the goodbye for a closing, with the client's own time to come back, in ms."""
    return Bye(closing.code, closing.reason, retry)


class ClientMessage(msgspec.Struct, frozen=True, tag_field="type"):
    """The messages of a client on a WebSocket."""


Sub: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=SUB_CHARACTERS, pattern=r"^[ -~]+\Z")]
"""What a client calls one of its subscriptions, as no other on the same connection is called: printable ASCII."""


class Follow(ClientMessage, tag="follow", frozen=True):
    """Follow the channel at a URL of this server's, as a request of its own would.

    Attributes:
        url: the URL.
        after: the cursor to go on from.
        sub: what the client calls this subscription, of which a channel may have many; None: a channel has one.
    """

    url: str
    after: str | int | None = None
    sub: Sub | None = None

    def cursor(self) -> Cursor | None:
        """Return the cursor to go on from; None is "from now".

        Raises:
            CursorError: the client's fault; ``after`` is no cursor.
        """
        return None if self.after is None else Cursor.parse_after(str(self.after))


class Unfollow(ClientMessage, tag="unfollow", frozen=True):
    """End the subscription that the client calls ``sub``, or else that of a channel, which has no name."""

    channel: str | None = None
    sub: Sub | None = None

    def __post_init__(self) -> None:
        if self.channel is None and self.sub is None:
            raise ValueError("of nothing")


class Ack(ClientMessage, tag="ack", frozen=True):
    """The client has applied all events up to a cursor. Only a histogram of their age depends on it."""

    channel: str
    cursor: str


class Auth(ClientMessage, tag="auth", frozen=True):
    """A new credential, with which the connection is to go on."""

    token: str

    def __repr__(self) -> str:
        return "Auth()"  # the token belongs in no log line


class Incoming(ClientMessage, tag="message", frozen=True):
    """A message for the app's handler."""

    data: Any


class CommandMessage(ClientMessage, tag="command", frozen=True):
    """Ask for a command at a URL of this server's, as a POST request of its own would.

    Attributes:
        id: what makes it take effect once.
        data: JSON as it came: the request's body.
    """

    id: str
    url: str
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode: Final = msgspec.json.Decoder().decode
_client_decoder: Final = msgspec.json.Decoder(Follow | Unfollow | Incoming | Ack | Auth | CommandMessage)


def parse_client(text: str, depth: int) -> Follow | Unfollow | Incoming | Ack | Auth | CommandMessage:
    """Read a client's message.

    Args:
        text: the message. Its size is bounded by the caller.
        depth: how deep arrays and objects may be nested.

    Raises:
        RemoteError: the client's fault; it is no JSON of a known shape, or nested deeper than ``depth``, or a name
            stands twice in it, of which another reader would take the other. (A command's data are looked at later.)
    """
    # Decoded before the brackets are counted, for only in JSON they may be looked for: see below. The decoder's message
    # is left out of the error, for it may quote what the client sent.
    try:
        said: Follow | Unfollow | Incoming | Ack | Auth | CommandMessage = _client_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise RemoteError(BAD_MESSAGE, f"not a message: {type(error).__name__}") from None
    json = text.encode()
    if nesting_exceeds(json, depth):
        raise RemoteError(BAD_MESSAGE, f"JSON nested deeper than {depth}")
    whole = not isinstance(said, CommandMessage)
    if (name_twice_within(json, _decode(json)) if whole else name_twice(json)) is not None:
        raise RemoteError(BAD_MESSAGE, "a name stands twice in a message")
    return said
