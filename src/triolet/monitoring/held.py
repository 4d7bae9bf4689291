"""What one process holds at one moment, and for whom: a leak is a number here that does not come back to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from ..budget import Budget
from ..connection import Connection, Context
from ..sockets.direct_outlet import DirectOutlet
from ..sockets.stages import OpenSockets, Stage

__all__ = ["BYTES", "STAGES", "THINGS", "Held", "look"]

GOODBYE: Final = "goodbye"
STAGES: Final = (*(stage.value for stage in Stage), GOODBYE)
THINGS: Final = (
    "followers",
    "polls",
    "replays",
    "replay_pages",
    "messages",
    "windows",
    "tail_events",
    "presence_sessions",
)
BYTES: Final = ("windows", "replay", "unsent", "messages", "http", "tail")

_LASTING: Final = {"windows", "tail_events", "presence_sessions", "tail"}
"""What is held for channels, or ends a while after its client."""


def _nothing(kinds: Iterable[str]) -> Mapping[str, int]:
    return MappingProxyType(dict.fromkeys(kinds, 0))


@dataclass(frozen=True, slots=True)
class Held:
    """What is held, and for whom. The keys are always the same ones.

    Attributes:
        connections: open sockets, by how far they have come. ``handshake``: TLS is being agreed on. ``head``: the first
            request has not come whole. ``view``: the app is asked. ``stream``: a WebSocket or an event stream straight
            on its socket. ``goodbye``: such a one that has ended, and is being told so. ``http``: pages, polls and
            streams that go through HTTP, HTTP/2 among them. ``idle``: connections of HTTP that have asked for nothing
            now. ``refused``: those that sent what is no request. Each 0 on a server that is not ours.
        things: by kind. ``followers``: positions of open connections in channels. ``polls``: what else listens to one:
            long polls that wait. ``replays``: followers that catch up, or wait for their turn to. ``replay_pages``:
            pages that they share. ``messages``: of clients, that a handler has not taken. ``windows``: channels of
            which the newest events are in memory. ``tail_events``: events that the hub has not taken from the log yet.
            ``presence_sessions``: of members.
        bytes: by kind. ``windows``, ``replay``: of events, for all. ``unsent``: what kernels have not taken of batches
            and answers. ``messages``: clients' messages that no handler has taken, and what waits behind slow clients.
            ``http``: all else that counts in the memory budget: what waits for or of the app in HTTP. ``tail``:
            events that the hub has not taken; it does not count in the budget.
    """

    connections: Mapping[str, int] = field(default_factory=lambda: _nothing(STAGES))
    things: Mapping[str, int] = field(default_factory=lambda: _nothing(THINGS))
    bytes: Mapping[str, int] = field(default_factory=lambda: _nothing(BYTES))

    @property
    def nothing(self) -> bool:
        """Whether nothing is held for any client. What is held for channels does not count, nor members' sessions,
        which end a while after their clients."""
        kinds = {**self.connections, **self.things, **{f"{kind} bytes": size for kind, size in self.bytes.items()}}
        return not any(number for kind, number in kinds.items() if kind.removesuffix(" bytes") not in _LASTING)


def look(budget: Budget, context: Context | None, sockets: OpenSockets) -> Held:
    """Ask everything that holds something how much it is. Cost: constant work for each connection."""
    if context is None:
        return Held(bytes=MappingProxyType({**_nothing(BYTES), "http": budget.held}))
    conns: Iterable[Connection] = context.registry.open.values()
    hub, replay = context.hub.statistics(), context.hub.replay.statistics()
    tail = context.hub.log_statistics().waiting
    direct = sum(1 for conn in conns if isinstance(conn.outlet, DirectOutlet))
    followers = sum(len(conn.followers) for conn in conns)
    unsent = sockets.unsent_bytes
    unsent += sum(conn.outlet.pending for conn in conns if not isinstance(conn.outlet, DirectOutlet))
    messages = sum(conn.holding.bytes for conn in conns)
    stages = {stage.value: number for stage, number in sockets.stages.items()}
    stages[GOODBYE] = max(0, stages[Stage.STREAM.value] - direct)
    stages[Stage.STREAM.value] -= stages[GOODBYE]
    things = (
        followers,
        hub.followers - followers,
        replay.taking_part,
        replay.pages,
        sum(conn.inbox.statistics().items for conn in conns if conn.inbox is not None),
        hub.windows,
        tail.events,
        0 if context.presence is None else context.presence.statistics().sessions,
    )
    rest = budget.held - hub.window_bytes - replay.bytes - unsent - messages
    sizes = hub.window_bytes, replay.bytes, unsent, messages, rest, tail.bytes
    return Held(
        MappingProxyType(stages),
        MappingProxyType(dict(zip(THINGS, things, strict=True))),
        MappingProxyType(dict(zip(BYTES, sizes, strict=True))),
    )
