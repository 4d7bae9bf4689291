"""Deletions, as those have to know of them who keep something of a channel's events beside the log.

What stands in the log for the deleted events of a channel is dropped by the next event. Whoever reads on after that
finds a gap, as of events that are too old; but what he has made of the deleted ones has to go as well. So a mark is
kept in a hidden channel of its own, before the events are deleted and behind that: who finds a gap that a deletion has
made finds the mark, too.
"""

from __future__ import annotations

import logging
from base64 import urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import CursorError, LogError, LogUncertain, where
from ..event import Cursor, Draft, Event, encode_json
from ..limits import SNAPSHOTS
from ..log.contract import EventLog, read_checked

__all__ = ["Mark", "delete", "mark_of", "read_kept", "written_at"]

logger = logging.getLogger("triolet.hub")

_decode: Final = msgspec.json.Decoder().decode


class Mark(NamedTuple):
    """That a channel was deleted.

    Attributes:
        at: the cursor of the event that stood for what was deleted; None while it is being deleted.
    """

    at: Cursor | None


async def delete(log: EventLog, channel: str) -> Event:
    """Delete a channel's events, and have those know of it who keep something of them.

    Raises:
        LogError, LogUncertain: as :meth:`EventLog.delete`.

    Cancellation: it was deleted or not; a repeat is safe.
    """
    before = await mark_of(log, channel)
    await _keep(log, channel, None)
    try:
        event = await log.delete(channel)
    except LogUncertain:
        raise
    except LogError:
        with suppress(LogError):
            await _keep(log, channel, before.at if before is not None else Cursor("", 0))
        raise
    try:
        await _keep(log, channel, event.cursor)
    except LogError as error:  # what is kept is made anew then, of what the log has
        logger.error("%.80s was deleted, but the mark of it is not finished: %s", channel, where(error))
    return event


async def mark_of(log: EventLog, channel: str) -> Mark | None:
    """Return what is known of a channel's last deletion; None where there was none. Raises LogError."""
    for said in await read_kept(log, written_at([channel])):
        try:
            if said["deleted"] == channel:
                return Mark(None if said["at"] is None else Cursor.parse(said["at"]))
        except (CursorError, KeyError, TypeError):  # not of ours: as if there were none
            continue
    return None


async def read_kept(log: EventLog, place: str) -> list[Any]:
    """Return what a hidden channel holds, the newest first. Raises LogError."""
    page = await read_checked(log, place, Cursor("", 0), limit=1 << 10, max_bytes=1 << 40)
    found = []
    for event in reversed(page.events):
        with suppress(msgspec.DecodeError):
            found.append(_decode(event.json))
    return found


def written_at(named: list[str]) -> str:
    """Return the hidden channel of something with names: they may be as long as any channel's, and no prefix has room
    beside them."""
    digest = sha256(encode_json(named)).digest()
    return f"{SNAPSHOTS}{urlsafe_b64encode(digest).decode().rstrip('=')}"


async def _keep(log: EventLog, channel: str, at: Cursor | None) -> None:
    said = {"deleted": channel, "at": None if at is None else str(at)}
    await log.append(written_at([channel]), [Draft.of(said)])
