"""Access: whether a client may follow a channel, or publish to it, asked of the rule and of its callback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import msgspec
import trio

from ..bounds import RECHECK_PART
from ..identity import Grant
from ..limits import Limits
from .callback import Callbacks, Question, Unanswered
from .rules import Rule

__all__ = ["Access", "Permit"]


class Permit(msgspec.Struct, frozen=True):
    """A client may.

    Attributes:
        channel: which.
        subject: who it is to the others; None is nobody.
        seconds: for how long that is good; None for as long as nobody asks again.
        data: what a callback has said besides; unset where it has not.
    """

    channel: str
    subject: str | None
    seconds: float | None = None
    data: Any = msgspec.UNSET


class _Until(NamedTuple):
    """Until when (Trio's time) a yes is good, and for how long it was."""

    time: float
    seconds: float


class Access:
    """Asks who may.

    A yes of a callback's that is good for so many seconds is asked for again before they are over (the route's view is
    asked again, as by ``recheck=``). If then the callback has no answer, and none can be had in time, the yes has come
    to its end. Where a yes has no end, a callback that has no answer takes nothing away from a client that is in.

    Args:
        callbacks: asks them.
        limits: ``follows`` bounds what is remembered of a client.

    Bounds: for each client that is let in, ``limits.follows`` of such times.
    """

    def __init__(self, callbacks: Callbacks, limits: Limits) -> None:
        self._callbacks = callbacks
        self._limits = limits
        self._until: WeakKeyDictionary[Grant, dict[str, _Until]] = WeakKeyDictionary()

    async def ask(
        self, rule: Rule, grant: Grant, headers: Mapping[str, str], question: Question, values: Mapping[str, Any]
    ) -> Permit | None:
        """Ask whether a client may; None is a no.

        Args:
            rule: of the channel.
            grant: what the client was let in with.
            headers: of its request, for a callback.
            question: what is asked.
            values: the URL's.

        Raises:
            Unanswered: nobody can say.

        Cancellation: nothing is lost.
        """
        identity = grant.identity
        subject = None if identity is None else identity.subject
        if rule.kind != "callback":
            return Permit(question.channel, subject) if rule.allows(identity, question.channel, values) else None
        try:
            yes = await self._callbacks.ask(rule.url, headers, question)
        except Unanswered:
            until = self._until.get(grant, {}).get(question.url)
            if until is not None and trio.current_time() + RECHECK_PART * until.seconds >= until.time:
                return None  # it would be over before it is asked the next time
            raise
        if yes is None:
            return None
        if question.action == "follow":
            self._remember(grant, question.url, yes.expires_in)
        return Permit(yes.channel or question.channel, yes.subject or subject, yes.expires_in, yes.data)

    def _remember(self, grant: Grant, url: str, seconds: float | None) -> None:
        known = self._until.setdefault(grant, {}) if seconds is not None else self._until.get(grant, {})
        known.pop(url, None)
        if seconds is None:
            return
        known[url] = _Until(trio.current_time() + seconds, seconds)
        while len(known) > self._limits.follows:
            del known[next(iter(known))]
