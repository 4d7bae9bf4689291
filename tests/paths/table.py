"""One table: what is promised of a transport, over which paths, and where it is not given, with the reason.

Each promise is a dialogue in :mod:`tests.paths.promises`, of the same name, which is held over every path that serves
its transports, in memory (``tests/paths``) and with real processes (``tests/e2e/paths``). A cell of the table is tested
or it is an entry here: in ``NOT_MEANT`` where the promise says nothing of that transport, in ``NOT_GIVEN`` where a path
cannot keep it. The documentation prints both from here (``docs/_ext/promises.py``), so this file imports nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["NOT_GIVEN", "NOT_MEANT", "PATHS", "PROMISES", "TRANSPORTS", "Cell", "cells", "reason"]

TRANSPORTS: Final = ("websocket", "sse", "long poll", "short poll")

PATHS: Final = {
    "http1": "``triolet serve``, HTTP/1.1",
    "tls": "``triolet serve``, HTTP/1.1 over TLS",
    "http2": "``triolet serve``, HTTP/2",
    "middleware": "``triolet serve``, ASGI middleware before the app",
    "http2 middleware": "``triolet serve``, HTTP/2, ASGI middleware before the app",
    "nginx": "behind nginx",
    "haproxy": "behind haproxy",
    "hypercorn": "``hypercorn -k trio``",
    "standalone": "``triolet serve channels.toml``, HTTP/1.1",
}
"""The ways from a client to an app, in the documentation's words."""

PROMISES: Final = {
    "order": "Each event is heard once and in order, also by a client that comes back with its cursor.",
    "gaps": "Events that are gone are announced: expired, of another life of the log, or of its future.",
    "beats": "A client hears something every ``beat_seconds`` at least; a long poll is answered after "
    "``wait_seconds``.",
    "silence": "A client that has frozen (it neither reads nor answers) is gone after ``silence_seconds``, also as a "
    "member; one that only has nothing to say is not.",
    "stall": "A client that takes nothing for ``stall_seconds`` is followed no longer; the others do not notice.",
    "budget": "What waits for a client that does not read is bounded, counted in ``memory_bytes``, and given back.",
    "leaving": "Of a client that goes nothing is left.",
    "plain": "Of a plain event stream (``?format=plain``) only the app's events are events, and all else is comments. "
    "It goes on by ``Last-Event-ID``.",
    "states": "A client that asks for the channel's state is given it once, with the events behind it, and in place of "
    "a gap.",
    "folds": "A client that asks for it is given what it has missed folded, and comes to the same state.",
    "refusal": "A view's refusal, a foreign page and a bad ``?after=`` are answered with 403, 403 and 400.",
    "isolation": "A view or a handler that crashes ends its own client alone.",
    "goodbye": "A server that ends tells each client when to come back, at a time of its own; waiting polls are "
    "answered.",
    "many": "One stream or poll follows many channels: a refusal refuses only its own, and who comes back with its one "
    "cursor goes on in each of them.",
    "message_bytes": "A message larger than ``message_bytes`` is not taken: close code 1009.",
    "message_fragments": "Nor one in more than ``message_fragments`` pieces: 1008.",
    "message_depth": "Nor JSON that is nested deeper than ``message_depth``: 1008.",
    "control_per_second": "Nor more pings than ``control_per_second``: 1008.",
    "follows": "Nor more than so many follows: one more is refused, and the others go on.",
    "header_bytes": "A request with more than ``header_bytes`` of headers is refused before the app sees it.",
    "body_bytes": "A body larger than ``body_bytes`` is answered with 413.",
}
"""What is promised, in the order of the documentation."""


class Cell(NamedTuple):
    """One test: a promise, by one transport, over one path."""

    promise: str
    transport: str
    path: str


POLLS: Final = "a poll holds no connection: between two polls nothing is there"
ASKS_AGAIN: Final = "it asks again when its last answer told it to, and finds another process"
ONLY_SOCKETS: Final = "only a WebSocket carries messages of a client"
OF_REQUESTS: Final = "a request's, whatever its answer: tried once a path, as a short poll"

OF_STREAMS: Final = "only an event stream is plain"

NOT_MEANT: Final = {
    ("beats", "short poll"): "it is answered at once",
    ("silence", "long poll"): "it is over after ``wait_seconds``, whoever reads the answer",
    ("silence", "short poll"): POLLS,
    ("stall", "long poll"): POLLS,
    ("stall", "short poll"): POLLS,
    ("goodbye", "short poll"): ASKS_AGAIN,
    ("many", "websocket"): "a WebSocket follows by messages, each from a cursor of its own",
    **{
        (promise, transport): ONLY_SOCKETS
        for promise in ("message_bytes", "message_fragments", "message_depth", "control_per_second", "follows")
        for transport in TRANSPORTS[1:]
    },
    **{("plain", transport): OF_STREAMS for transport in TRANSPORTS if transport != "sse"},
    **{("body_bytes", transport): OF_REQUESTS for transport in TRANSPORTS[:3]},
}
"""Promise and transport: why the one says nothing of the other."""

A_STREAM_IS_ONE_WAY: Final = (
    "an event stream is one way: of a client that has frozen the kernel still takes what is sent, until it is full and "
    "``stall_seconds`` are over. A machine that is gone is found: it acknowledges nothing"
)
NO_PINGS: Final = "Hypercorn's own WebSockets are pinged by nobody, and ASGI knows no pings"
NO_WORD: Final = "Hypercorn tells the app that it ends when all its connections have ended, and resets them before"
OWN_FRAMES: Final = "Hypercorn reads the frames: the app sees whole messages, and no pings"
OWN_HEADS: Final = "Hypercorn has a bound of its own, ``h11_max_incomplete_size``, for a head that comes in pieces"
OWN_BODIES: Final = "Quart's own ``MAX_CONTENT_LENGTH`` holds, 16 MiB if nothing is said"
NO_CODE: Final = "no code of an app's runs in this process"
NO_FUNCTION: Final = "a file names no function that gives a state"

NOT_GIVEN: Final = {
    **{
        Cell("silence", "sse", path): A_STREAM_IS_ONE_WAY
        for path in ("http1", "tls", "middleware", "nginx", "haproxy", "hypercorn", "standalone")
    },
    **{Cell("isolation", transport, "standalone"): NO_CODE for transport in TRANSPORTS},
    **{Cell("states", transport, "standalone"): NO_FUNCTION for transport in TRANSPORTS},
    Cell("silence", "websocket", "hypercorn"): NO_PINGS,
    Cell("message_fragments", "websocket", "hypercorn"): OWN_FRAMES,
    Cell("control_per_second", "websocket", "hypercorn"): OWN_FRAMES,
    **{Cell("header_bytes", transport, "hypercorn"): OWN_HEADS for transport in TRANSPORTS},
    Cell("body_bytes", "short poll", "hypercorn"): OWN_BODIES,
    Cell("goodbye", "websocket", "hypercorn"): NO_WORD,
    Cell("goodbye", "sse", "hypercorn"): NO_WORD,
    Cell("goodbye", "long poll", "hypercorn"): NO_WORD,
}
"""Cells that a path cannot keep, and why."""


def reason(cell: Cell) -> str | None:
    """Why a cell is not tested; None where it is."""
    return NOT_MEANT.get((cell.promise, cell.transport)) or NOT_GIVEN.get(cell)


def cells(*paths: str) -> list[Cell]:
    """The cells that are tested over these paths, in the table's order."""
    found = (Cell(promise, transport, path) for path in paths for promise in PROMISES for transport in TRANSPORTS)
    return [cell for cell in found if reason(cell) is None]
