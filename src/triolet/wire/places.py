"""Where a client stands in many channels, as one text: the cursor of a stream, or a poll, that follows many of them.

``EPOCH.KEY.OFFSET~KEY.OFFSET~…``: one item for each channel, in any order, and an epoch where it is not that of the
item before. It can stand in a header and in a query as it is. A channel is named by a key, eight characters of its
name's hash, and not by its number among what is followed: so a place is never taken for another channel's, though the
client asks for others, or a view says another channel for the same URL. And however long the names are, the text is
bounded: it stands in each block of a stream, and in a header when its client comes back.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final

from ..bounds import PLACE_CHARACTERS, PLACE_KEYS
from ..errors import TrioletError
from ..event import Cursor

__all__ = ["PlacesError", "parse_places", "place_key", "write_item", "write_places"]

_ITEM: Final = re.compile(r"(?:([A-Za-z0-9_-]{0,32})\.)?([A-Za-z0-9_-]{8})\.([0-9]{1,18})", re.ASCII)


class PlacesError(TrioletError):
    """The client's fault: the text is no cursor of many channels."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text!r:.80} is no cursor of many channels: send what the last id was, or the cursor of the last answer, "
            "or leave it out, and write ?after= to each URL that is followed"
        )


@lru_cache(PLACE_KEYS)
def place_key(channel: str) -> str:
    """Return by what a channel is named in such a text."""
    # 48 bits: that two of some hundred channels have the same is as likely as one in ten thousand million, and then the
    # second of them is not followed.
    return urlsafe_b64encode(sha256(channel.encode()).digest()[:6]).decode()


def write_item(key: str, offset: int) -> str:
    """Return the text of one place, in the epoch of the one before it."""
    return f"{key}.{offset}"


def write_places(places: Iterable[tuple[str, Cursor]]) -> str:
    """Return the text of some places.

    Args:
        places: the key of each channel, and the cursor there.
    """
    epoch, items = None, []
    for key, cursor in places:
        item = write_item(key, cursor.offset)
        items.append(item if cursor.epoch == epoch else f"{cursor.epoch}.{item}")
        epoch = cursor.epoch
    return "~".join(items)


def parse_places(text: str, most: int) -> dict[str, Cursor]:
    """Return the cursors in a text, by the key of each channel, in its order.

    Args:
        text: as a client sends it.
        most: how many channels there may be.

    Raises:
        PlacesError: the client's fault; it is too long, names a channel twice, or has another form.

    Bounds: the length is checked first.
    """
    if len(text) > most * PLACE_CHARACTERS:
        raise PlacesError(text)
    epoch: str | None = None
    places: dict[str, Cursor] = {}
    for item in text.split("~"):
        match = _ITEM.fullmatch(item)
        if match is None or match[2] in places:
            raise PlacesError(text)
        epoch = epoch if match[1] is None else match[1]
        if epoch is None:
            raise PlacesError(text)
        places[match[2]] = Cursor(epoch, int(match[3]))
    if len(places) > most:
        raise PlacesError(text)
    return places
