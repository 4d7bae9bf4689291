"""What a server leaves in ASGI's ``state`` is the same in a copy of the scope, and is nothing on another server."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import trio

from triolet.budget import Budget
from triolet.counters import Metrics
from triolet.sockets.server_state import (
    ServerState,
    inbox_of,
    leave_inbox,
    leave_server,
    server_state,
    stream_of,
    with_client,
)
from triolet.sockets.stream import ClientStream
from triolet.testing.network import link_pair

READERS: list[Callable[[dict[str, Any]], object]] = [server_state, stream_of, inbox_of]


class Inbox:
    """Takes note of what was used up."""

    tracked = False

    def used_up(self) -> None:
        """Nothing waits here."""


def left() -> tuple[dict[str, Any], list[object]]:
    """A request's scope, and what was left in it, in the order of the readers."""
    server = ServerState(Budget(1 << 30), Metrics(), trio.Event(), 3.5)
    stream, inbox = ClientStream(link_pair()[1], server.budget), Inbox()
    state: dict[str, Any] = {"of": ["the lifespan"]}
    leave_server(state, server)
    scope: dict[str, Any] = {"type": "http", "state": with_client(state, stream)}
    assert (stream_of(scope), inbox_of(scope), stream_of({"state": state})) == (stream, None, None)
    leave_inbox(scope["state"], inbox)
    return scope, [server, stream, inbox]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda scope: scope], ids=["copy", "deepcopy", "itself"])
async def test_a_copied_scope_holds_what_was_left_itself(copied: Callable[[Any], Any]) -> None:
    scope, values = left()
    found = copied(scope)
    for read, value in zip(READERS, values, strict=True):
        assert read(found) is value
    assert found["state"]["of"] == ["the lifespan"]


@pytest.mark.parametrize("scope", [{}, {"state": None}, {"state": {}}, {"state": {"of": "another"}}])
def test_another_server_has_left_nothing(scope: dict[str, Any]) -> None:
    assert [read(scope) for read in READERS] == [None, None, None]
