"""One connection that is kept up: silence, backoff, coming back. Sans-IO: it is told the time, and waits for
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Literal

from .bounds import (
    CLIENT_BEATS_MISSED,
    CLIENT_FIRST_RETRY_SECONDS,
    CLIENT_LAST_RETRY_SECONDS,
    CLIENT_LEAST_RETRY_SECONDS,
    CLIENT_LEAST_SILENCE_SECONDS,
    CLIENT_LUMP_SECONDS,
)
from .errors import Ended
from .heard import Heard

__all__ = ["Line", "backoff"]

_PROOFS: Final = ("live", "reply")
"""Messages that show that all is well."""


def backoff(
    attempt: int, random: Callable[[], float], said: float | Literal["backoff"] = "backoff", idle: int | None = None
) -> float:
    """Seconds to wait before a try. However little is said or drawn, nobody is asked again and again without a pause.

    Args:
        attempt: which one it is; the first is 0.
        random: 0 up to 1.
        said: by the server; without, it is drawn from the whole range, so that clients spread.
        idle: so many tries before it have brought nothing; without, all have.
    """
    if said == "backoff":
        said = random() * _doubled(CLIENT_FIRST_RETRY_SECONDS, attempt, CLIENT_LAST_RETRY_SECONDS)
    least = _doubled(CLIENT_LEAST_RETRY_SECONDS, attempt if idle is None else idle, CLIENT_FIRST_RETRY_SECONDS)
    return max(said, (0.5 + random() / 2) * least)


def _doubled(first: float, times: int, most: float) -> float:
    return min(most, first * 2.0 ** min(times, 30))


class Line:
    """What is known of one connection that is kept up, from one try to the next.

    Args:
        silence: seconds without a word before it counts as lost. Two beats in a row show their pace, and from then on
            it is two and a half of the longest: as our clock goes, for the server's may jump, and the longest, for
            beats that a network held up come at once.
        random: 0 up to 1.

    Attributes:
        due: by when something has to be heard; infinity while nothing is due.
        lumps: how many times two beats came at once that say that they were sent apart: something holds them back.
    """

    __slots__ = (
        "_attempt",
        "_beat_at",
        "_beat_said",
        "_first_silence",
        "_hurried_until",
        "_idle",
        "_longest",
        "_random",
        "_silence",
        "due",
        "lumps",
    )

    def __init__(self, silence: float, random: Callable[[], float]) -> None:
        self._first_silence = silence
        self._random = random
        self._attempt = 0
        self._idle = 0  # connections in a row that were up to date, and brought no event
        self._hurried_until = -inf
        self.due = inf
        self.begin()

    def begin(self) -> None:
        """A new connection: the pace of the last one's beats says nothing of this one's."""
        self._silence = self._first_silence
        self._longest = 0.0
        self._beat_at: float | None = None
        self._beat_said = 0
        self.lumps = 0
        self.due = inf

    def listen(self, now: float) -> None:
        """From now on something is due."""
        self.due = now + self._silence

    def rest(self) -> None:
        """Nothing is due."""
        self.due = inf

    def heard(self, message: Heard, now: float) -> None:
        """Learn from a message."""
        if message.type in _PROOFS:
            self._attempt = 0
        if message.type == "event":
            self._idle = 0
        if message.type != "beat":
            self._beat_at = None
            return
        if self._beat_at is not None:
            apart = now - self._beat_at
            said = (message.time - self._beat_said) / 1000
            if said >= CLIENT_LUMP_SECONDS and apart < CLIENT_LUMP_SECONDS / 4:
                self.lumps += 1
            else:
                self._longest = max(self._longest, apart)
                self._silence = max(CLIENT_LEAST_SILENCE_SECONDS, CLIENT_BEATS_MISSED * self._longest)
        self._beat_at, self._beat_said = now, message.time

    def after(self, ended: Ended, now: float, *, renewable: bool) -> float | None:
        """Return when to try again after a connection has ended, in seconds; None: never.

        With a new token an expired one is no end, and is tried at once; but not again so soon: tokens that are over as
        they come would make the two of us run in circles.

        Args:
            renewable: whether there may be a new token.
        """
        self.due = inf
        attempt, idle = self._attempt, max(self._attempt, self._idle)
        if ended.retry != 0:  # else it goes on at once in another way, and no try has failed
            self._idle += attempt == 0
            self._attempt += 1
        if ended.expired and renewable:
            if now >= self._hurried_until:
                self._hurried_until = now + CLIENT_LAST_RETRY_SECONDS
                return 0.0
            return backoff(attempt, self._random, idle=idle)
        return backoff(attempt, self._random, ended.retry, idle) if ended.retry else ended.retry
