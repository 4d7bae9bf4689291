"""One WebSocket that many follows share: for which of them a message is. Sans-IO."""

from __future__ import annotations

from typing import Final

from .heard import Heard

__all__ = ["Routes", "chosen"]

NOBODY: Final[tuple[str, ...]] = ()


def chosen(channel: str) -> str:
    """The id of a channel that the app follows for this client. No name that we give begins so."""
    return f"@{channel}"


class Routes:
    """The subscriptions of one connection, by the ids (``sub``) that this client gave them.

    What the server sends for some of them stands in brackets, behind a ``for`` that names them and says how many
    messages follow. What is in no bracket is for those that the channel's last ``live`` has named, and where it has
    named none, for the follow of the app's (:func:`chosen`). A server that knows no ``sub`` has one follow a channel:
    see :attr:`old`.

    Attributes:
        old: whether the server knows no ``sub``; None before it has answered.
    """

    __slots__ = ("_bracket", "_channels", "_left", "_live", "_urls", "old")

    def __init__(self) -> None:
        self.old: bool | None = None
        self._urls: dict[str, str] = {}
        self._channels: dict[str, str] = {}
        self._live: dict[str, frozenset[str]] = {}
        self._bracket: tuple[str, ...] = NOBODY
        self._left = 0

    def add(self, sub: str, url: str) -> None:
        """A follow is asked for."""
        self._urls[sub] = url

    def remove(self, sub: str) -> str | None:
        """A follow is left. Return its channel, if it was confirmed."""
        self._urls.pop(sub, None)
        return self._channels.pop(sub, None)

    def has(self, sub: str) -> bool:
        """Whether a follow is asked for."""
        return sub in self._urls

    def is_asked(self, sub: str) -> bool:
        """Whether a follow is asked for, and not confirmed."""
        return sub in self._urls and sub not in self._channels

    def asked(self, url: str) -> list[str]:
        """Those of a URL that are asked for and not confirmed, in order."""
        return [sub for sub, asked in self._urls.items() if asked == url and sub not in self._channels]

    def on(self, channel: str) -> list[str]:
        """Those that follow a channel, in order."""
        return [sub for sub, name in self._channels.items() if name == channel]

    def take(self, message: Heard) -> tuple[str, ...]:
        """Return for which subscriptions a message is; of a beat, whose places it tells."""
        if message.type == "for":
            self._bracket = tuple(sub for sub in message.subs or () if sub in self._urls)
            self._left = message.next
            return NOBODY
        if self._left > 0:
            self._left -= 1
            found = self._bracket
        elif message.sub is not None:
            found = (message.sub,) if message.sub in self._urls else NOBODY
        else:
            found = self._unnamed(message)
        if message.type == "open" and message.channel is not None:
            self._opened(message, found)
        elif message.type == "live" and message.subs is not None and message.channel is not None:
            self._live[message.channel] = frozenset(message.subs)
        elif message.type in ("end", "refused") and message.channel is not None and chosen(message.channel) in found:
            del self._channels[chosen(message.channel)]
        return found

    def _unnamed(self, message: Heard) -> tuple[str, ...]:
        if message.type == "beat":
            return tuple(sub for sub, channel in self._channels.items() if self._is_beaten(sub, channel, message))
        if message.type == "open":
            return self._unnamed_open(message)
        if message.type == "refused" and message.channel is None:
            return tuple(self.asked(message.url or "")[:1])
        if message.channel is None:
            return NOBODY
        if message.type == "live" and message.subs is not None:
            return tuple(sub for sub in message.subs if sub in self._urls)
        followed, own = self.on(message.channel), chosen(message.channel)
        if self.old or (message.type == "refused" and message.url is not None):
            return tuple(followed)
        live = self._live.get(message.channel, frozenset())
        named = tuple(sub for sub in followed if sub in live) if message.type != "refused" else NOBODY
        return named or ((own,) if own in self._channels else NOBODY)

    def _unnamed_open(self, message: Heard) -> tuple[str, ...]:
        if message.url is not None:
            return tuple(self.asked(message.url)[:1])
        return NOBODY if message.channel is None else (chosen(message.channel),)

    def _is_beaten(self, sub: str, channel: str, beat: Heard) -> bool:
        """Whether a beat tells the place of this one: by its name, as the live one of its channel, or the only one."""
        if sub in beat.places or channel not in beat.cursors:
            return sub in beat.places
        live = self._live.get(channel)
        if sub == chosen(channel):
            return not live
        return len(self.on(channel)) == 1 if live is None else sub in live

    def _opened(self, message: Heard, found: tuple[str, ...]) -> None:
        if message.url is not None or message.sub is not None:
            self.old = message.sub is None
        for sub in found:
            self._channels[sub] = message.channel or ""
