"""What Triolet's own server leaves in the ``state`` of ASGI scopes, typed: a value of the process, one of a request.

On another server there is none of it, and the functions that read it return None.

Middleware may copy a scope deeply before it changes it (Hypercorn's ``ProxyFixMiddleware`` does). What is left here are
the running things themselves, of which a copy would be of no use and mostly cannot be made: a socket has none, and a
copied event is never set. So a copy of a scope holds the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, Self

import trio

from ..budget import Budget
from ..counters import Metrics
from .outlet import Outlet
from .stages import OpenSockets, no_sockets

__all__ = [
    "CONTENT_FOLLOWS",
    "AnsweredLine",
    "ClientState",
    "RequestStream",
    "ServerState",
    "UnreadMessages",
    "inbox_of",
    "leave_inbox",
    "leave_server",
    "leave_status",
    "note_end",
    "note_refusal",
    "note_status",
    "server_state",
    "stream_of",
    "with_client",
]

SERVER_KEY: Final = "triolet.server"
"""In every scope, the lifespan's too."""
LINE_KEY: Final = "triolet.line"
"""In the scopes of requests that are served straight on their sockets, where they are logged."""
CLIENT_KEY: Final = "triolet.client"
"""The key in the scopes of requests."""
CONTENT_FOLLOWS: Final = "triolet.content_follows"
"""In an ASGI ``http.response.start`` of ours: content follows at once, so that head and content can be one write."""


class RequestStream(Protocol):
    """The stream that a request came on: a client's connection, or one stream of an HTTP/2 connection."""

    @property
    def outlet(self) -> Outlet:
        """The write side of the stream."""

    def abort(self) -> None:
        """Reset the stream at once."""


class UnreadMessages(Protocol):
    """The client's messages that the app has not taken yet.

    Attributes:
        tracked: whether the reader says of each message when it is used up.
    """

    tracked: bool

    def used_up(self) -> None:
        """Count the oldest message as used up: the reader is done with it."""


class AnsweredLine(Protocol):
    """A line of the access log. ``status`` is what its request was answered with."""

    status: int

    def write(self) -> None:
        """Write it, once."""


class _Shared:
    """A value of which a copy is the value itself."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _nobody_is_told(client: Any, status: int) -> None:
    """Where no access log is kept."""


@dataclass(frozen=True, slots=True)
class ServerState(_Shared):
    """The values that an app and its server share in one process.

    Attributes:
        budget: where both count all bytes that are held for clients.
        counters: where both count what happens.
        draining: set when the server shuts down gracefully.
        leave_seconds: the time within which a server that drains asks every client to leave.
        sockets: looks at the open connections.
        refused: told of each request that was refused before an app had it, or was none: the client's address, as ASGI
            has it, and the status.
        app: the ASGI app that the server calls: a Quart app, or what stands before it.
    """

    budget: Budget
    counters: Metrics
    draining: trio.Event
    leave_seconds: float
    sockets: Callable[[], OpenSockets] = no_sockets
    refused: Callable[[Any, int], None] = _nobody_is_told
    app: Any = None


@dataclass(frozen=True, slots=True)
class ClientState(_Shared):
    """The values that belong to one request.

    Attributes:
        stream: the stream that it came on. It may be answered there directly if no middleware stands between.
        inbox: the client's messages in front of this run of the app; None before the app runs.
    """

    stream: RequestStream
    inbox: UnreadMessages | None = None


def leave_server(state: MutableMapping[str, Any], server: ServerState) -> None:
    """Leave the process's values. The scopes of requests are made from the same ``state``, and have them too."""
    state[SERVER_KEY] = server


def with_client(state: Mapping[str, Any], stream: RequestStream) -> dict[str, Any]:
    """Return a request's own ``state``: what the app's lifespan left for all requests, and the stream of this one."""
    return {**state, CLIENT_KEY: ClientState(stream)}


def leave_inbox(state: MutableMapping[str, Any], inbox: UnreadMessages) -> None:
    """Leave the client's unread messages, where :func:`with_client` has left the stream that they came on."""
    state[CLIENT_KEY] = replace(state[CLIENT_KEY], inbox=inbox)


def leave_status(state: MutableMapping[str, Any], line: AnsweredLine) -> None:
    """Leave who wants to know with what status a request is answered that is served straight on its socket."""
    state[LINE_KEY] = line


def note_status(scope: Mapping[str, Any], status: int) -> None:
    """Say with what status a request is answered, to who wants to know, if anybody does."""
    line: AnsweredLine | None = (scope.get("state") or {}).get(LINE_KEY)
    if line is not None:
        line.status = status


def note_end(scope: Mapping[str, Any]) -> None:
    """Say that a request is over, though its connection is not yet, to who wants to know, if anybody does."""
    line: AnsweredLine | None = (scope.get("state") or {}).get(LINE_KEY)
    if line is not None:
        line.write()


def note_refusal(state: Mapping[str, Any], client: Any, status: int) -> None:
    """Say that a request was refused before an app had it, or was none, to who wants to know."""
    server: ServerState | None = state.get(SERVER_KEY)
    if server is not None:
        server.refused(client, status)


def server_state(scope: Mapping[str, Any]) -> ServerState | None:
    """Return the process's values; None on another server."""
    found: ServerState | None = (scope.get("state") or {}).get(SERVER_KEY)
    return found


def stream_of(scope: Mapping[str, Any]) -> RequestStream | None:
    """Return the stream that a request came on; None on another server."""
    client = _client(scope)
    return None if client is None else client.stream


def inbox_of(scope: Mapping[str, Any]) -> UnreadMessages | None:
    """Return the client's messages that this run of the app has not taken yet; None on another server."""
    client = _client(scope)
    return None if client is None else client.inbox


def _client(scope: Mapping[str, Any]) -> ClientState | None:
    found: ClientState | None = (scope.get("state") or {}).get(CLIENT_KEY)
    return found
