"""What the rooms on both sides of the operator's listener hold to: a question, its answer, who is asked.

A question is read from HTTP where the listener is: in the one process that serves, or in the supervisor of several. It
is answered at a worker's *desk*, where the app's Triolet is. Between processes both go as MessagePack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from ..bounds import ADMIN_RETRY_SECONDS

__all__ = [
    "EVENT_STREAM",
    "JSON",
    "TEXT",
    "Answer",
    "Desk",
    "Hear",
    "Question",
    "Staff",
    "not_now",
    "nothing",
    "refusal",
]

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A request of the operator's, after all checks that need no app.

    Attributes:
        operation: which of the operations of the table.
        values: what its URL says, by name; none that the table does not know.
        headers: those that say how the body is to be read, by names in lower case.
        body: the body.
    """

    operation: str
    values: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What is answered.

    Attributes:
        status: the status of HTTP.
        body: the content.
        kind: its media type.
        retry: after how many seconds to ask again; None where that is of no use.
        headers: others, each with its value.
    """

    status: int
    body: bytes
    kind: str = JSON
    retry: int | None = None
    headers: dict[str, str] = {}


class Refused(msgspec.Struct, omit_defaults=True):
    """The body of every answer that is a no.

    Attributes:
        error: a word, for programs.
        message: a sentence, for people: what is wrong, and what to do.
        line: which of several events it is about, where it is about one; the first is 1.
    """

    error: str
    message: str
    line: int | None = None


Hear = Callable[[int, Answer | None], object]
"""Is told each worker's number as it is asked, with None, and again with its answer when that comes, if it does."""


def nothing(number: int, answer: Answer | None) -> None:
    """Who waits for all answers need not hear each."""


class Desk(Protocol):
    """Where the app's Triolet is asked, in its own process."""

    async def answer(self, question: Question) -> Answer:
        """Answer a question, also with what went wrong.

        Cancellation: what was asked for is done or not; which of the two is not known.
        """


class Staff(Protocol):
    """The workers, as their listener sees them: the one that is this process, or several."""

    @property
    def ready(self) -> bool:
        """Whether new clients should be sent here."""

    @property
    def figures(self) -> Mapping[str, float] | None:
        """The supervisor's own metrics; None where there is none, and one worker is all there is."""

    async def ask_one(self, question: Question) -> Answer:
        """Ask whichever worker can answer.

        Cancellation: as :meth:`Desk.answer`.
        """

    async def ask_all(self, question: Question, hear: Hear = nothing) -> Mapping[int, Answer | None]:
        """Ask every worker. Return their answers by their numbers; None is that of one which does not answer.

        Args:
            question: what to ask.
            hear: is told of each as it comes, so that one that is late holds no other up.

        Bounds: ``ADMIN_GATHER_SECONDS`` where they are other processes.

        Cancellation: nothing is lost.
        """


def refusal(
    status: int,
    error: str,
    message: str,
    *,
    line: int | None = None,
    retry: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return an answer that is a no: a word for programs, and a sentence for people."""
    body = msgspec.json.encode(Refused(error, message, line)) + b"\n"
    return Answer(status, body, retry=retry, headers=dict(headers or {}))


def not_now(error: str, message: str) -> Answer:
    """Return an answer that says to ask again."""
    return refusal(503, error, message, retry=ADMIN_RETRY_SECONDS)
