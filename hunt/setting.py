"""What steps are drawn with, and what they happen in."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from triolet.event import Cursor
from triolet.testing.network import Network

from .history import History
from .identities import Rules
from .plan import PYTHON, ClientPlan, Plan

__all__ = ["Dice", "World"]


class Dice:
    """What steps are drawn with: chance, the features of the play, and who is there."""

    def __init__(
        self, chance: random.Random, features: set[str], clients: tuple[ClientPlan, ...], servers: int, channels: int
    ) -> None:
        self.choice = chance.choice
        self.happens: Callable[[float], bool] = lambda often: chance.random() < often
        self.features = features
        self.sockets = [at for at, client in enumerate(clients) if client.transport == "socket"]
        self.websockets = [at for at, client in enumerate(clients) if client.transport in ("socket", "websocket")]
        self.programs = [at for at, client in enumerate(clients) if client.transport == PYTHON]
        self.clients, self.servers, self.channels = range(len(clients)), range(servers), range(channels)

    def has(self, *features: str) -> bool:
        """Whether the play has one of these features."""
        return not self.features.isdisjoint(features)


class World(Protocol):
    """What steps happen in."""

    plan: Plan
    history: History
    network: Network
    clients: list[Any]
    hosts: list[Any]
    log: Any
    publisher: Any
    orders: Any
    runs: Any
    rules: Rules

    def next_connection(self) -> int:
        """A number that no connection had."""

    def start(self, work: Callable[..., Any], *args: Any) -> None:
        """Begin what takes its time."""

    async def serve(self, host: Any) -> None:
        """Have a server serve at a place, if none does."""

    def head(self, channel: str) -> Cursor:
        """Where a channel's newest event is."""
