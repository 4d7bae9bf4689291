"""Tickets: credentials that a URL may carry, since each is good for one use and half a minute.

A ticket is 256 random bits. The log keeps its hash alone, and under that the identity it stands for; of what an
``EventLog`` keeps once, nothing else is needed. Its use is a second key, which one process claims first: so it is good
once over all processes. A ticket that is used, old or unknown is told apart by nobody: each costs two questions to the
log, and its answer is the same.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Any, Final

import msgspec

from ..bounds import TICKET_SECONDS
from ..errors import DataError, LogUncertain
from ..log.checked import claim_checked, commit_checked, release_checked
from ..log.contract import EventLog
from .bounds import TICKET_BYTES
from .identity import Identity
from .plain import from_plain, to_plain
from .revocations import Revocations

__all__ = ["issue", "redeem"]

_FINGERPRINT: Final = sha256(b"triolet ticket").digest()
"""All tickets are asked for the same."""


class _Kept(msgspec.Struct, frozen=True):
    identity: dict[str, Any]
    made: float
    until: float


async def issue(log: EventLog, identity: Identity, seconds: float, now: float) -> str:
    """Return a new ticket for an identity.

    Args:
        log: where it is kept, hashed.
        identity: the one it stands for.
        seconds: for how long it is good.
        now: the wall clock, in seconds since 1970.

    Raises:
        DataError: the app's fault; it is no identity, or its claims are no JSON.
        ConfigError: the app's fault; its log has no ``claim``.
        LogError: the store's fault; there is no ticket.

    Cancellation: it is kept or not; nobody knows it.
    """
    if not isinstance(identity, Identity):
        raise DataError(f"a ticket is for an Identity, not {type(identity).__name__}")
    kept = msgspec.json.encode(_Kept(to_plain(identity), now, now + seconds))
    ticket, holder = secrets.token_urlsafe(TICKET_BYTES), secrets.token_bytes(TICKET_BYTES)
    await claim_checked(log, _key(ticket), _FINGERPRINT, holder, TICKET_SECONDS)
    if await commit_checked(log, _key(ticket), holder, kept, seconds, []):
        raise LogUncertain("a ticket could not be kept")
    return ticket


async def redeem(log: EventLog, ticket: str, now: float, revocations: Revocations | None = None) -> Identity | None:
    """Return the identity that a ticket stands for, once; None for one that is used, old or unknown, or whose identity
    was revoked since it was made.

    Args:
        log: where it is kept.
        ticket: as the client has it.
        now: the wall clock, in seconds since 1970.
        revocations: those that this process knows.

    Raises:
        LogError: the store's fault; it cannot be said whether the ticket is good.

    Cancellation: it may be used up.
    """
    if not log.can_commit:
        return None
    holder = secrets.token_bytes(TICKET_BYTES)
    found = await claim_checked(log, _key(ticket), _FINGERPRINT, holder, TICKET_SECONDS)
    if found is None:  # unknown: what was claimed to find that out is let go of
        await release_checked(log, _key(ticket), holder)
        return None
    # As long as a ticket can be good: when the claim has lapsed, so has the ticket.
    used = await claim_checked(log, _key(f"{ticket} used"), _FINGERPRINT, holder, 2 * TICKET_SECONDS)
    if used is not None or found.answer is None:
        return None
    kept = msgspec.json.decode(found.answer, type=_Kept)
    if now >= kept.until:
        return None
    identity = from_plain(kept.identity)
    if revocations is None:
        return identity
    made = revocations.before(max(0.0, now - kept.made))
    return identity if revocations.since(made, identity, None, ()) is None else None


def _key(ticket: str) -> bytes:
    return sha256(f"triolet ticket {ticket}".encode("utf-8", "replace")).digest()
