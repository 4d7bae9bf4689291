"""What a log in memory keeps of what is to happen once: claims, and the answers that take their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from ..bounds import MEMORY_KEPT_BYTES, MEMORY_KEPT_EACH_BYTES, MEMORY_SWEEP_CHANNELS
from ..errors import LogFull
from ..event import Event
from .contract import NOTHING_KEPT, Kept

__all__ = ["Answers", "Claim"]


class Claim:
    """A key that is held; after :meth:`Answers.settle`, one that is answered.

    Attributes:
        events: what was stored with the answer, for each of the commit's writes; None while the key is held.
        until: when it lapses, or the answer is forgotten.
    """

    __slots__ = ("answer", "events", "holder", "print", "size", "until")

    def __init__(self, print: bytes, holder: bytes, until: float) -> None:
        self.print = print
        self.holder = holder
        self.until = until
        self.answer: bytes | None = None
        self.events: Sequence[Sequence[Event]] | None = None
        self.size = MEMORY_KEPT_EACH_BYTES


class Answers:
    """The claims and answers of one log. No method waits, so each is one step for all tasks.

    Args:
        max_bytes: past it nothing new can be claimed. What is claimed can be answered all the same.

    Bounds: ``max_bytes``, and the answers of what is claimed at a time.
    """

    def __init__(self, max_bytes: int = MEMORY_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._claims: dict[bytes, Claim] = {}
        self._ends: list[tuple[float, bytes]] = []  # a heap; a claim that was renewed is in it more than once

    def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float, now: float) -> Kept | None:
        """See EventLog.claim.

        Raises:
            LogFull: there is no room for another answer.
        """
        self._forget_some(now)
        claim = self._find(key, now)
        if claim is None:
            if self._bytes >= self._max_bytes:
                raise LogFull(
                    f"the log in memory keeps {self._bytes:,} bytes of answers, and has no room for another: keep them "
                    "for a shorter time (limits.command_seconds), or use a log in SQLite or Redis"
                )
            claim = self._claims[key] = Claim(print, holder, now + seconds)
            self._bytes += claim.size
        elif claim.events is not None or claim.holder != holder:
            return Kept(claim.print, claim.answer)
        claim.until = now + seconds
        heappush(self._ends, (claim.until, key))
        return None

    def held(self, key: bytes, holder: bytes, now: float) -> Claim | Kept:
        """Return a holder's own claim, answered or not; or what is kept there instead."""
        self._forget_some(now)
        claim = self._find(key, now)
        if claim is None:
            return NOTHING_KEPT
        return claim if claim.holder == holder else Kept(claim.print, claim.answer)

    def settle(self, key: bytes, answer: bytes, events: Sequence[Sequence[Event]], until: float) -> None:
        """Keep the answer of a claim that is held."""
        claim = self._claims[key]
        size = len(answer) + sum(len(event.json) for some in events for event in some)
        claim.answer, claim.events, claim.until = answer, events, until
        claim.size += size
        self._bytes += size
        heappush(self._ends, (until, key))

    def release(self, key: bytes, holder: bytes) -> None:
        """See EventLog.release."""
        claim = self._claims.get(key)
        if claim is not None and claim.holder == holder and claim.events is None:
            self._drop(key)

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._claims.values())

    def _find(self, key: bytes, now: float) -> Claim | None:
        claim = self._claims.get(key)
        if claim is not None and claim.until <= now:
            self._drop(key)
            return None
        return claim

    def _forget_some(self, now: float) -> None:
        """Forget what is over, a bounded number at a time, which is more than came since the last time."""
        for _ in range(MEMORY_SWEEP_CHANNELS):
            if not self._ends or self._ends[0][0] > now:
                return
            _, key = heappop(self._ends)
            self._find(key, now)

    def _drop(self, key: bytes) -> None:
        self._bytes -= self._claims.pop(key).size
