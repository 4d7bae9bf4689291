"""What a server of ours leaves in the ``state`` of its ASGI scopes, typed: a value of the process, one of the request.

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
    "ClientState",
    "RequestStream",
    "ServerState",
    "UnreadMessages",
    "inbox_of",
    "leave_inbox",
    "leave_server",
    "server_state",
    "stream_of",
    "with_client",
]

SERVER_KEY: Final = "triolet.server"
"""In every scope, the lifespan's too."""
CLIENT_KEY: Final = "triolet.client"
"""In the scopes of requests."""


class RequestStream(Protocol):
    """What a request came on: a client's connection, or one stream of an HTTP/2 connection."""

    @property
    def outlet(self) -> Outlet:
        """Its write side."""

    def abort(self) -> None:
        """Reset it at once."""


class UnreadMessages(Protocol):
    """The client's messages that the app has not taken yet.

    Attributes:
        tracked: whether the reader says of each message when it is used up.
    """

    tracked: bool

    def used_up(self) -> None:
        """The reader is done with the oldest message."""


class _Shared:
    """A copy of it is the thing itself."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


@dataclass(frozen=True, slots=True)
class ServerState(_Shared):
    """What an app and its server share in one process.

    Attributes:
        budget: where everything that is held for clients is counted, by both.
        counters: what has happened in this process, as both count it.
        draining: set when the server drains.
        leave_seconds: within which a server that drains is to have asked every client to leave.
        sockets: looks at the open connections.
    """

    budget: Budget
    counters: Metrics
    draining: trio.Event
    leave_seconds: float
    sockets: Callable[[], OpenSockets] = no_sockets


@dataclass(frozen=True, slots=True)
class ClientState(_Shared):
    """What one request came with.

    Attributes:
        stream: what it came on, and may be answered on directly where no middleware stands between.
        inbox: the client's messages in front of this run of the app. None before the app runs.
    """

    stream: RequestStream
    inbox: UnreadMessages | None = None


def leave_server(state: MutableMapping[str, Any], server: ServerState) -> None:
    """Leave what the process shares. The scopes of requests are made from the same ``state``, and have it too."""
    state[SERVER_KEY] = server


def with_client(state: Mapping[str, Any], stream: RequestStream) -> dict[str, Any]:
    """A request's own ``state``: what the app's lifespan has left for all of them, and what this one came on."""
    return {**state, CLIENT_KEY: ClientState(stream)}


def leave_inbox(state: MutableMapping[str, Any], inbox: UnreadMessages) -> None:
    """Leave the client's unread messages, where :func:`with_client` has left what they came on."""
    state[CLIENT_KEY] = replace(state[CLIENT_KEY], inbox=inbox)


def server_state(scope: Mapping[str, Any]) -> ServerState | None:
    """What the process shares; None on another server."""
    found: ServerState | None = (scope.get("state") or {}).get(SERVER_KEY)
    return found


def stream_of(scope: Mapping[str, Any]) -> RequestStream | None:
    """What a request came on; None on another server."""
    client = _client(scope)
    return None if client is None else client.stream


def inbox_of(scope: Mapping[str, Any]) -> UnreadMessages | None:
    """The client's messages that this run of the app has not taken yet; None on another server."""
    client = _client(scope)
    return None if client is None else client.inbox


def _client(scope: Mapping[str, Any]) -> ClientState | None:
    found: ClientState | None = (scope.get("state") or {}).get(CLIENT_KEY)
    return found
