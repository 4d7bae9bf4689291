"""Follows with names: a client that follows each channel twice on one socket.

Of one of the two the checker hears, as if it were alone: it is held to every promise. The other one is its shadow, it
comes from a place of its own, and is no member. That both are sent everything, once and in order, in their brackets and
out of them, the kit's :class:`Order` says.
"""

from __future__ import annotations

from triolet.testing.strict import Order

from .history import Message

__all__ = ["Names"]

FIELDS = {"open": "cursor", "live": "cursor", "event": "id", "gap": "to", "snapshot": "cursor", "end": "cursor"}


def _told(channel: str) -> str:
    return f"told {channel}"


def _shadow(channel: str) -> str:
    return f"shadow {channel}"


class Names:
    """One connection's.

    Args:
        start: where shadows begin; None is from now.
    """

    def __init__(self, start: str | None) -> None:
        self._start = start
        self._order = Order()
        self._places: dict[str, str] = {}
        self._live: dict[str, list[str]] = {}

    def follow(self, channel: str, url: str, after: object) -> list[Message]:
        """What is said to follow a channel."""
        told = {"type": "follow", "url": url, "after": after, "sub": _told(channel)}
        at, url = self._places.get(_shadow(channel), self._start), url.partition("?")[0]
        return self._noted([told, {"type": "follow", "url": url, "after": at, "sub": _shadow(channel)}])

    def unfollow(self, channel: str) -> list[Message]:
        """What is said to follow it no longer."""
        return self._noted([{"type": "unfollow", "sub": sub} for sub in (_told(channel), _shadow(channel))])

    def take(self, message: Message) -> Message | None:
        """Take a message as it came. Return it as the checker is to hear it; None where that is not at all.

        Raises:
            MalformedError: the protocol lets it not come now.
        """
        subs = self._order.take(message)
        kind, channel = message["type"], message.get("channel")
        if kind == "refused" and "sub" in message:
            subs = [message["sub"]]
            self._places.pop(message["sub"], None)
        if kind == "beat":
            return {**message, "cursors": self._cursors(message)}
        if subs is None or (channel is None and kind != "refused"):
            return None if subs == [] else message
        if kind == "live":
            self._live[channel or ""] = message["subs"]
        for sub in subs:
            if kind == "end":  # it is one of those that are live no longer
                self._live[channel or ""] = [one for one in self._live.get(channel or "", ()) if one != sub]
            if kind in FIELDS and message[FIELDS[kind]] is not None and message.get("reason") != "conflated":
                self._places[sub] = message[FIELDS[kind]]
        if not any(sub.startswith("told ") for sub in subs):
            return None
        return {name: value for name, value in message.items() if name not in ("sub", "subs")}

    def _cursors(self, beat: Message) -> dict[str, str]:
        """What a beat says of those that the checker hears of. A shadow goes on from what it says of that one."""
        cursors: dict[str, str] = {}
        for sub in self._places:
            whose, _, channel = sub.partition(" ")
            is_live = sub in self._live.get(channel, ())
            at = beat.get("places", {}).get(sub, beat["cursors"].get(channel) if is_live else None)
            if at is not None:
                self._places[sub] = at
                if whose == "told":
                    cursors[channel] = at
        return cursors

    def _noted(self, said: list[Message]) -> list[Message]:
        for message in said:
            self._order.said(message)
            if message["type"] == "unfollow":
                self._places.pop(message["sub"], None)
        return said
