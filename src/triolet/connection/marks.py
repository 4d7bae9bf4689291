"""Where the client of a stream that follows many channels stands in all of them: the id of its blocks.

A browser keeps the last id, and sends it when it comes back. So each block that moves the client says all of its places
(wire/places.py): that of the block's own channel as it will be once the client has the block, and those of the others
as they are, for what was written to the outlet comes before it. Hence nothing that waits to be written has an id: when
it goes out at last, it would tell the client that it were somewhere else.

What is followed no longer, or was refused, keeps its place there: a client that is let in again later misses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from ..event import Cursor
from ..hub import waits_for_state
from ..wire.many_codec import ManyCodec, mark_of
from ..wire.messages import Beat, GapMessage, Live, Message, Open, SnapshotMessage
from ..wire.places import place_key, write_item, write_places
from .followings import Followings

__all__ = ["Marks"]


class Marks:
    """Makes the marks of one connection's blocks.

    Args:
        codec: the connection's.
        followings: what it follows.
        most: how many places a mark has at most.

    Bounds: as many places as ``limits.follows``, each of ``PLACE_CHARACTERS`` at most.
    """

    __slots__ = ("_codec", "_followings", "_kept", "_most", "_texts")

    def __init__(self, codec: ManyCodec, followings: Followings, most: int) -> None:
        self._codec = codec
        self._followings = followings
        self._most = most
        # By channel, without its epoch: with each event one of them changes alone.
        self._texts: dict[str, tuple[Cursor, str]] = {}
        self._kept: dict[str, Cursor] = {}

    def bring(self, places: Mapping[str, Cursor]) -> None:
        """Keep the places that the client came with, by the keys of their channels, where it does not follow them."""
        followed = {place_key(channel) for channel in self._followings.by_key}
        self._kept.update({key: cursor for key, cursor in places.items() if key not in followed})

    def keep(self, channel: str, position: Cursor) -> None:
        """Keep the place of a channel that is followed no longer."""
        self._texts.pop(channel, None)
        self._kept[place_key(channel)] = position

    def at(self, channel: str) -> Callable[[Cursor], bytes]:
        """See :class:`triolet.hub.filter.Marker`."""
        key = place_key(channel)
        # The block's own place is the last one, so that the others are written once for all blocks of a batch.
        others = self._places(channel)
        before = f"{others}~" if others else ""
        return lambda cursor: mark_of(f"{before}{write_places([(key, cursor)])}")

    def say(self, message: Message) -> Any:
        """Encode a message that is written now."""
        if isinstance(message, Open) and (message.channel is None or message.cursor is None):
            return self._codec.say(message)
        if isinstance(message, Open | Live | SnapshotMessage):
            assert message.channel is not None, "it is of one"
            assert message.cursor is not None, "it has a place"
            return self._codec.say(message, self.at(message.channel)(Cursor.parse(message.cursor)))
        if isinstance(message, GapMessage):
            # As on a stream of one channel: after a conflated gap the newest of each key are still to come.
            to = message.after if message.reason == "conflated" else message.to
            return self._codec.say(message, self.at(message.channel)(Cursor.parse(to)))
        if isinstance(message, Beat):
            return self._codec.say(message, mark_of(self._places()))
        return self._codec.say(message)

    def _places(self, but: str | None = None) -> str:
        """The places in all channels but one, as :func:`write_places` writes them."""
        items: list[str] = []
        epoch: str | None = None
        for channel, following in self._followings.by_key.items():
            follower = following.follower
            position = follower.position
            if channel == but or waits_for_state(follower):
                continue
            known = self._texts.get(channel)
            if known is None or known[0] is not position:
                known = self._texts[channel] = position, write_item(place_key(channel), position.offset)
            items.append(known[1] if position.epoch == epoch else f"{position.epoch}.{known[1]}")
            epoch = position.epoch
        if self._kept:
            left = self._most - len(self._followings.by_key)
            items += [write_places([place]) for place in islice(self._kept.items(), left)]
        return "~".join(items)
