"""How far open connections have come, and what their kernels have not taken: seen when somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

__all__ = ["OpenSockets", "Stage", "no_sockets"]


class Stage(Enum):
    """How far a connection has come.

    HANDSHAKE: TLS is being agreed on. HEAD: its first request has not come whole. VIEW: the app is asked what it may
    have. STREAM: it has its WebSocket or event stream straight on its socket, up to the end of the goodbye. HTTP:
    everything else: a page, a poll, a command; IDLE: of these, those that have asked for nothing now. REFUSED: it was
    told that its request is none, and has a moment to read that.
    """

    HANDSHAKE = "handshake"
    HEAD = "head"
    VIEW = "view"
    STREAM = "stream"
    HTTP = "http"
    IDLE = "idle"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class OpenSockets:
    """The sockets of one server's clients at one moment.

    Attributes:
        stages: how many have come how far; every stage is there.
        unsent_bytes: what was written to them and their kernels have not taken.
    """

    stages: Mapping[Stage, int] = field(default_factory=lambda: MappingProxyType(dict.fromkeys(Stage, 0)))
    unsent_bytes: int = 0


def no_sockets() -> OpenSockets:
    """What there is to see on another server, which does not tell: nothing."""
    return OpenSockets()


Look = Callable[[], OpenSockets]
"""Looks at all of them. Cost: constant work for each connection."""
