"""The one worker of a process that serves by itself, as its operator's listener sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .contract import Answer, Desk, Hear, Question, nothing, refusal

__all__ = ["Alone", "at_desk"]

_NO_DESK = refusal(404, "path", "this app has no Triolet, so there is nothing here but its health")


class Serving(Protocol):
    """What is needed of a worker."""

    @property
    def ready(self) -> bool:
        """Whether new clients should be sent here."""

    @property
    def desk(self) -> Desk | None:
        """Where the app's Triolet is asked; None where it has none."""


class Alone:
    """A worker by itself. See :class:`.contract.Staff`."""

    figures: Mapping[str, float] | None = None

    def __init__(self, worker: Serving) -> None:
        self._worker = worker

    @property
    def ready(self) -> bool:
        """Whether new clients should be sent here."""
        return self._worker.ready

    async def ask_one(self, question: Question) -> Answer:
        """Ask at its desk."""
        return await at_desk(self._worker.desk, question)

    async def ask_all(self, question: Question, hear: Hear = nothing) -> Mapping[int, Answer | None]:
        """Ask at its desk. Nobody else is there, so it is the worker 0."""
        hear(0, None)
        answer = await self.ask_one(question)
        hear(0, answer)
        return {0: answer}


async def at_desk(desk: Desk | None, question: Question) -> Answer:
    """Ask at a desk, where the app has one."""
    return _NO_DESK if desk is None else await desk.answer(question)
