"""The catalogue of closings: why a connection ended, and whether and when its client may come back.

Codes below 4000 are RFC 6455 section 7.4.1 and the IANA registry's; those of ours are 4400 and up, named after
the HTTP status that says the same. A reason is fixed text: nothing of a request or of an error gets into it.
The JavaScript client takes its catalogue from here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["CATALOGUE", "Closing"]


class Closing(NamedTuple):
    """Why a connection ended.

    Attributes:
        code: the WebSocket close code. Server-sent events carry it in their ``bye``.
        reason: fixed text, at most 123 bytes (RFC 6455 section 5.5.1).
        retry: the range in milliseconds from which the server draws when this client comes back; drawn, so that many
            clients do not come at once. None means: do not come back by yourself.
    """

    code: int
    reason: str
    retry: tuple[int, int] | None


NORMAL: Final = Closing(1000, "done", None)
"""The app's handler returned, or the client closed."""

ENDED: Final = Closing(1000, "ended", None)
"""The channel has ended (``live.end``, ``live.delete``), and its client was told: nothing comes after that."""

PROTOCOL_ERROR: Final = Closing(1002, "protocol error", None)
"""Bytes that RFC 6455 forbids."""

UNSUPPORTED: Final = Closing(1003, "text only", None)
"""A binary message where only JSON text is spoken."""

GONE: Final = Closing(1006, "gone", (0, 1_000))
"""The client vanished without goodbye. It is never sent: there is no client, and RFC 6455 section 7.4.1 forbids it."""

NOT_UTF8: Final = Closing(1007, "not UTF-8", None)
"""A text message that is not UTF-8 (RFC 6455 section 8.1)."""

BAD_MESSAGE: Final = Closing(1008, "bad message", None)
"""JSON of a shape that the protocol does not know, nested too deeply, or in too many fragments."""

FLOOD: Final = Closing(1008, "too much at once", (5_000, 15_000))
"""More messages, control frames or answers that nobody reads than the limits allow."""

TOO_BIG: Final = Closing(1009, "message too big", None)
"""A message over ``limits.message_bytes``."""

CRASHED: Final = Closing(1011, "internal error", (1_000, 10_000))
"""A bug of the app's or of ours ended this one connection."""

RESTARTING: Final = Closing(1012, "restarting", (0, 5_000))
"""The server shuts down gracefully."""

OVERLOADED: Final = Closing(1013, "try again later", (2_000, 20_000))
"""Admission or load shedding: there is no room, or no memory, for this client."""

EXPIRED: Final = Closing(4401, "expired", None)
"""The client's identity has expired: it comes back with a new credential, or not at all."""

SLOW: Final = Closing(4408, "slow", (1_000, 5_000))
"""The kernel has taken nothing for ``limits.stall_seconds``."""

SILENT: Final = Closing(4409, "silent", (0, 2_000))
"""Nothing was heard for ``limits.silence_seconds``."""

LAGGING: Final = Closing(4410, "too far behind", (1_000, 5_000))
"""A policy gave the client up: it reads, but not fast enough."""

REFUSED: Final = Closing(4403, "refused", None)
"""The app decides which client may follow what, and this was its answer."""

REVOKED: Final = Closing(4403, "revoked", None)
"""The app has revoked what the client was let in with (``live.revoke``)."""

# Counters label a closing that stands here by its reason; any other one as the client's. So a new closing that is
# missing here would be counted as "closed by the client".
CATALOGUE: Final = (
    NORMAL,
    ENDED,
    PROTOCOL_ERROR,
    UNSUPPORTED,
    GONE,
    NOT_UTF8,
    BAD_MESSAGE,
    FLOOD,
    TOO_BIG,
    CRASHED,
    EXPIRED,
    RESTARTING,
    OVERLOADED,
    SLOW,
    SILENT,
    LAGGING,
    REFUSED,
    REVOKED,
)
