"""Who the clients of a play are, and what its app says no to: the same for all servers, as an app's database is."""

from __future__ import annotations

from dataclasses import dataclass

import trio
from quart import abort

from triolet.clock import wall_time
from triolet.event import Event
from triolet.identity import Identity

from .folding import number_of

__all__ = ["Ban", "Rules", "allows", "is_seen", "token_of"]


def is_seen(number: int | None, subject: str) -> bool:
    """Whether a subject ("": nobody) may see an event on a filtered route, by what that holds."""
    return number is None or (number + len(subject)) % 3 > 0


def allows(event: Event, identity: Identity | None) -> bool:
    """The same, as ``allow=`` is asked."""
    return is_seen(number_of(event.data), "" if identity is None else identity.subject)


def token_of(subject: str, session: str, until: float | None) -> str:
    """A credential, good until a virtual time; None: for ever."""
    milliseconds = 0 if until is None else int((wall_time() - trio.current_time() + until) * 1000)
    return f"{subject}.{session}.{milliseconds}"


@dataclass(frozen=True, slots=True)
class Ban:
    """What is said no to: ``by`` is ``subject``, ``session``, ``channel`` or ``url``."""

    by: str
    value: str

    def speaks_of(self, subject: str, session: str, channel: str | None, path: str | None) -> bool:
        """Whether it is about who asks (\"\": nobody), and what is asked for."""
        return {"subject": subject, "session": session, "channel": channel, "url": path}[self.by] == self.value


class Rules:
    """What the app decides by.

    Attributes:
        bans: what it says no to now. ``runs``: how often its command was done.
    """

    def __init__(self) -> None:
        self.bans: list[Ban] = []
        self.runs = 0

    def who(self, token: str | None) -> Identity | None:
        """The app's ``@live.identify``."""
        if token is None:
            return None
        subject, session, until = token.split(".")
        self.check(subject, session, None, None)
        return Identity(subject, session, int(until) / 1000 if int(until) else None)

    def check(self, subject: str, session: str, channel: str | None, path: str | None) -> None:
        """Refuse who is banned, or what."""
        if any(ban.speaks_of(subject, session, channel, path) for ban in self.bans):
            abort(403)
