"""What a plan is asked for."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from ..errors import ConfigError

__all__ = ["TRANSPORTS", "Question", "Transport"]

Transport = Literal["websocket", "sse", "long-poll", "poll"]

TRANSPORTS: Final[tuple[Transport, ...]] = get_args(Transport)

_MAY_BE_ZERO: Final = ("lost", "proxies", "rate", "room")
_PARTS: Final = ("room", "used")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be served, and on what.

    Attributes:
        clients: at the same time.
        transport: theirs.
        rate: events a second that each of them gets.
        event_bytes: of one, on the wire.
        header_bytes: of a poll's request and answer.
        beat_bytes: of a beat.
        heartbeat: seconds between two beats of a stream (``limits.beat_seconds``).
        wait: seconds that a long poll is held (``limits.wait_seconds``).
        poll: seconds between two short polls (``limits.poll_seconds``).
        memory: bytes of one server.
        cores: of one server; it runs a worker on each.
        used: part of memory and cores that is for clients.
        a_server: clients that one server holds; None: what its memory and its cores hold.
        lost: servers that may be away at the same time.
        room: part of a server that is to stay free when so many are away.
        spread: seconds over which clients come back.
        leaves: clients a second that a draining worker asks to leave (``limits.leaves_per_second``).
        proxies: addresses from which proxies connect to a server; 0: clients connect by themselves.
        addresses: pairs of address and port at which a server is connected to.
    """

    clients: int
    transport: Transport = "websocket"
    rate: float = 1.0
    event_bytes: int = 220
    header_bytes: int = 900
    beat_bytes: int = 100
    heartbeat: float = 20.0
    wait: float = 25.0
    poll: float = 2.0
    memory: float = 8e9
    cores: int = 4
    used: float = 0.5
    a_server: int | None = None
    lost: int = 1
    room: float = 0.2
    spread: float = 5.0
    leaves: float = 1_000.0
    proxies: int = 0
    addresses: int = 1

    def check(self) -> None:
        """Raises ConfigError: a number that can be none."""
        for name, value in msgspec.structs.asdict(self).items():
            option = f"--{name.replace('_', '-')}"
            if name == "transport":
                if value not in TRANSPORTS:
                    raise ConfigError(f"{option} {value!r:.40}: one of {', '.join(TRANSPORTS)}")
            elif value is not None and not (0 <= value <= 1e15 and (value or name in _MAY_BE_ZERO)):
                least = "0 or more" if name in _MAY_BE_ZERO else "more than 0"
                raise ConfigError(f"{option} {value:g}: a number, {least}, and not beyond all measure")
            elif name in _PARTS and value > (0.95 if name == "room" else 1):
                raise ConfigError(f"{option} {value:g}: a part: {'0.95' if name == 'room' else '1'} at most")
