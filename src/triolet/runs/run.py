"""A run, as the app has it in hand."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterable, Callable
from typing import Any

import trio

from ..counters import OUTCOMES
from ..errors import DataError, repr_of
from ..event import Cursor, Event, encode_json
from ..limits import Limits
from ..sync.home import Home
from .intake import Intake, Items

__all__ = ["Run", "check_reason", "key_of", "outcome_of"]


def key_of(channel: str) -> bytes:
    """The key of the log's under which a channel's run is held."""
    return hashlib.sha256(b"triolet.run\0" + channel.encode()).digest()


def outcome_of(end: Event) -> str:
    """The outcome that a channel's last event tells of, whoever has put it there."""
    data = end.data
    outcome = data.get("outcome") if isinstance(data, dict) else None
    return outcome if outcome in OUTCOMES else "stopped"


def check_reason(reason: str) -> None:
    """Refuse what no end of a channel can tell of. Raises DataError."""
    if not isinstance(reason, str):
        raise DataError(f"the reason for which a run is stopped is a text, not {repr_of(reason)}")
    encode_json(reason)


class Run:
    """A stream that goes on without its readers. Made by :meth:`Triolet.run`.

    Attributes:
        channel: where its items are told, and its end.
        outcome: None while it goes on. Then ``done``: its source came to its end. ``failed``: the source raised, or
            gave what cannot be an event; the log says what, where. ``stopped``: somebody asked for that, or ended or
            deleted the channel, or the server shut down. ``lost``: this process could not be heard by the log for
            ``limits.run_lease_seconds``.
    """

    __slots__ = (
        "_done",
        "_home",
        "_limits",
        "channel",
        "held_until",
        "intake",
        "key",
        "leaves",
        "name",
        "outcome",
        "reason",
        "since",
        "writing",
    )

    def __init__(
        self, channel: str, source: AsyncIterable[Any], items: Items, limits: Limits, hold: Callable[[int], None]
    ) -> None:
        self.channel = channel
        self.outcome: str | None = None
        self.reason: str | None = None  # why it is stopped
        self.name = self.draw_name()
        self.key = key_of(channel)
        self.held_until = 0.0
        self.since: Cursor | None = None  # the channel's head when it began
        self.leaves = False  # it gives its channel's key back
        self.intake = Intake(source, items, self.name, limits, hold)
        self.writing = trio.CancelScope()
        self._limits = limits
        self._done = trio.Event()
        self._home = Home()

    @staticmethod
    def draw_name() -> str:
        """A name that nothing else has, in any process."""
        return secrets.token_urlsafe(12)

    async def stop(self, reason: str = "asked") -> str:
        """Stop it: cancel its source, store what that has yielded, and then the end, which tells the reason. An item
        that it yields when it is cancelled is its last. A run that is over stays as it is.

        Args:
            reason: what clients get with the end, beside the outcome ``stopped``.

        Returns:
            Its outcome: of what came first.

        Raises:
            DataError: the reason is no text that clients could get; nothing was stopped.
            WrongThreadError: called from another thread or event loop than the app's; nothing was stopped.

        Bounds: the source has ``limits.run_stop_seconds``. Then the run is over, though Trio cannot end a task that
        does not heed its cancellation; what it yields later is dropped.

        Cancellation: it stops all the same.
        """
        self._home.check("Run.stop")
        check_reason(reason)
        self.halt(reason, self._limits.run_stop_seconds)
        return await self.wait()

    async def wait(self) -> str:
        """Wait until it is over, its end stored, and return its outcome.

        Raises:
            WrongThreadError: called from another thread or event loop than the app's.

        Cancellation: nothing is lost; the run goes on.
        """
        self._home.check("Run.wait")
        await self._done.wait()
        assert self.outcome is not None
        return self.outcome

    def halt(self, reason: str, seconds: float) -> None:
        """Have it stopped, its source within so many seconds. The first reason stays."""
        if not self.intake.over:
            self.reason = self.reason or reason
            self.intake.stop(seconds)

    def is_before(self, end: Event) -> bool:
        """Whether an end, or a deletion, is of the time of this run."""
        return self.since is not None and (end.cursor.epoch != self.since.epoch or end.offset > self.since.offset)

    def break_off(self, outcome: str) -> None:
        """End it here at once, with nothing more stored: its channel is another's now, or has ended."""
        if self.outcome is None:
            self.outcome = outcome
            self.intake.drop()
            self.writing.cancel()

    def settle(self, outcome: str) -> None:
        """It is over."""
        self.outcome = outcome
        self._done.set()

    def __repr__(self) -> str:
        return f"<Run on {self.channel!r}: {self.outcome or 'goes on'}>"
