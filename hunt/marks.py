"""Where a client of many channels stands in all of them: what each word of its connection says of that."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from triolet.event import Cursor
from triolet.testing.many import places_in
from triolet.wire.places import PlacesError, parse_places, place_key

from .book import Book
from .history import Message
from .subscriber import Subscriber, promise

__all__ = ["Marks"]


class Marks:
    """Holds each place that one connection tells against where the reference stands.

    Args:
        after: the place that it was asked with.
        asked: the channels that were asked for.
    """

    def __init__(self, book: Book, after: str | None, asked: Collection[str]) -> None:
        self._book = book
        keys = set(map(place_key, asked))
        said = {} if after is None else parse_places(after, len(after))
        self._told: dict[str, Cursor] = {}
        self._others = {key: cursor for key, cursor in said.items() if key not in keys}

    def look(self, message: Message, followers: Mapping[str, Subscriber]) -> None:
        """Judge the place that comes with a message, which its follower has heard. Raises BrokenPromiseError."""
        text = message.get("place")
        if text is None:
            moved = {} if message["type"] == "page" else places_in(message)
            for channel, cursor in moved.items():
                stays = self._told.get(place_key(channel)) == Cursor.parse(cursor)  # as with an end that is told again
                promise(stays, "a place", "with whatever moves the client where it stands in all channels", message)
            return
        try:
            told = parse_places(text, len(text))
        except PlacesError:
            told = {}
        self._told = told
        for channel, follower in followers.items():
            at = told.get(place_key(channel))
            if follower.position is not None:
                right = at is not None and follower.is_at(at)
                promise(right, "a place", f"{follower.position} in {channel}, where the client stands", f"{at}: {text}")
        for key, kept in self._others.items():
            promise(told.get(key) == kept, "a place", f"{kept} of {key}, which is not followed", text)
