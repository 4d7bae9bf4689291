"""What a client was told, in order, and what a test expects of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self

import trio

from .http import PATIENCE_SECONDS
from .transcript import Message, Transcript, differences, tell

__all__ = ["Listener"]

QUIET: Final = {"open", "live", "beat"}
"""Messages that say how things stand, and are passed over where others are expected."""


class Listener(ABC):
    """The messages that a client was told: they wait, without bound, until the test takes or expects them.

    Attributes:
        heard: all messages taken, in order.
        closed: why the connection has ended; None while it has not. What it said before may still wait.
        transcript: all that was said, with virtual times.

    Args:
        began: the moment of Trio's time from which the transcript counts.
    """

    def __init__(self, began: float) -> None:
        self.heard: list[Message] = []
        self.closed: str | None = None
        self.transcript = Transcript(began)
        self._waiting: deque[Message] = deque()
        self._arrived = trio.Event()
        self._failure: Exception | None = None
        self._told = False

    @property
    @abstractmethod
    def name(self) -> str:
        """What a dialogue calls it."""

    @abstractmethod
    def keep_cursor(self, message: Message) -> None:
        """Go on from a message that is taken."""

    @property
    def events(self) -> list[Message]:
        """Of what was taken, the events."""
        return [message for message in self.heard if message["type"] == "event"]

    def heard_by(self, sub: str) -> list[Message]:
        """Of what was taken, what is for a subscription that was given a name."""
        return [message for message in self.heard if sub in message.get("for", ())]

    def hear(self, message: Message) -> None:
        """Take in a message that has come."""
        self.transcript.heard(trio.current_time(), message)
        self._waiting.append(message)
        self._wake()

    async def next(self, *, within: float = PATIENCE_SECONDS) -> Message | None:
        """Take the next message, of whatever type; None at the end of the connection, however it ended.

        Args:
            within: seconds to wait at most; 0: it has come already.

        Raises:
            AssertionError: nothing came within that time.

        Cancellation: nothing is lost.
        """
        __tracebackhide__ = True
        try:
            return await self._next(trio.current_time() + within)
        except trio.TooSlowError:
            but = f"but none came within {within:g} s"
        raise AssertionError(f"expected  a message\n{but}\n\n{self.dialogue()}")

    async def expect(self, kind: str = "event", /, *, within: float = 60, **fields: Any) -> Message:
        """Take the next message, and check that it is this one.

        Messages that only say how things stand (``open``, ``live``, ``beat``) are passed over, except those of the
        type that is expected.

        Args:
            kind: the message's type.
            within: seconds to wait at most; 0: it has come already.
            fields: what it has, with the names on the wire: ``event="order-status"``, ``data={"state": "paid"}``,
                ``id=…``, ``reason="expired"``. A trailing ``_`` is dropped, for ``from_=…``. They are compared
                with ``==``, so anything that knows how to be equal will do, such as ``pytest.approx``.

        Returns:
            The message.

        Raises:
            AssertionError: another message came, or none in that time, or the connection ended. It tells the nearest
                message, what differs, and the dialogue so far, with virtual times.

        Cancellation: nothing is lost.
        """
        __tracebackhide__ = True
        fields = {name.rstrip("_"): value for name, value in fields.items()}
        what = tell({"type": kind, **fields})
        message, but = await self._pass(within, lambda message: message["type"] in QUIET - {kind})
        if message is None:
            raise AssertionError(self._miss(what, but or f"nothing came within {within:g} s", kind, fields))
        if found := differences(message, kind, fields):
            raise AssertionError(self._miss(what, f"{tell(message)}\n{_lines(found)}", kind, fields, message))
        return message

    async def until(self, kind: str, /, *, within: float = 60, **fields: Any) -> Message:
        """Take messages up to the next that is this one, and return that. They are all in :attr:`heard`.

        Args:
            kind: the message's type.
            within: seconds to wait at most.
            fields: what it has, as for :meth:`expect`; one of the type that has something else is passed over.

        Raises:
            AssertionError: it did not come within so many seconds, or the connection ended.

        Cancellation: nothing is lost but what was passed over.
        """
        __tracebackhide__ = True
        fields = {name.rstrip("_"): value for name, value in fields.items()}
        message, but = await self._pass(within, lambda message: bool(differences(message, kind, fields)))
        if message is None:
            what = tell({"type": kind, **fields}) if fields else kind
            raise AssertionError(self._miss(what, but or f"none came within {within:g} s", kind, fields))
        return message

    async def pick(self, wanted: Callable[[Message], bool], what: str, *, within: float = 60) -> Message:
        """Take the first message of some sort, before those that wait.

        Args:
            wanted: says which.
            what: says it to people.
            within: seconds to wait at most.

        Raises:
            AssertionError: there was none in that time, or the connection ended.
        """
        __tracebackhide__ = True
        with trio.move_on_after(within):
            while True:
                await trio.lowlevel.checkpoint()
                for message in self._waiting:
                    if wanted(message):
                        self._waiting.remove(message)
                        return self._taken(message)
                if self.closed is not None:
                    raise AssertionError(f"expected  {what}\nbut the connection had ended\n\n{self.dialogue()}")
                await self._arrived.wait()
        raise AssertionError(f"expected  {what}\nbut there was no answer within {within:g} s\n\n{self.dialogue()}")

    async def nothing_for(self, seconds: float) -> None:
        """Check that for so long nothing comes but ``open``, ``live`` and ``beat``, and that the connection lives.

        What had come before and was not taken counts as coming now; so ``nothing_for(0)`` checks that nothing has.

        Raises:
            AssertionError: something else came, or the connection ended.
        """
        __tracebackhide__ = True
        message, ended = await self._pass(seconds, lambda message: message["type"] in QUIET)
        if message is not None or ended is not None:
            but = ended if message is None else f"came  {tell(message)}"
            raise AssertionError(f"expected  nothing for {seconds:g} s\nbut {but}\n\n{self.dialogue()}")

    def dialogue(self) -> str:
        """All that was said, with virtual times: what a failed expectation shows."""
        state = "open" if self.closed is None else f"ended: {self.closed}"
        return f"{self.name}, {state}\n{self.transcript.text()}"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        __tracebackhide__ = True
        if (message := await self.next()) is None:
            raise StopAsyncIteration
        return message

    async def _next(self, deadline: float) -> Message | None:
        """The next message; what waits already is in time, whenever that was. Raises trio.TooSlowError."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._failure is not None:
                self._told = True
                raise self._failure
            if self.closed is not None:
                return None
            with trio.fail_at(deadline):
                await self._arrived.wait()
        return self._taken(self._waiting.popleft())

    async def _pass(self, within: float, by: Callable[[Message], bool]) -> tuple[Message | None, str | None]:
        """The next message that is not passed by; without one in that time, how the connection ended, if it has."""
        deadline = trio.current_time() + within
        try:
            while (message := await self._next(deadline)) is not None:
                if not by(message):
                    return message, None
        except trio.TooSlowError:
            return None, None
        return None, f"the connection had ended: {self.closed}"

    def _taken(self, message: Message) -> Message:
        self.keep_cursor(message)
        self.heard.append(message)
        return message

    def _end(self, why: str) -> None:
        if self.closed is None:
            self.closed = why
            self.transcript.note(trio.current_time(), why)
        self._wake()

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = trio.Event()

    def _miss(self, what: str, but: str, kind: str, fields: dict[str, Any], came: Message | None = None) -> str:
        """The text of an expectation that was not met."""
        parts = [f"expected  {what}", f"but came  {but}" if came is not None else f"but {but}"]
        nearest = self.transcript.nearest(kind, fields)
        if nearest is not None and nearest[1] is not came:
            time, message = nearest
            when = "is still to be taken" if any(message is one for one in self._waiting) else "was taken before"
            found = differences(message, kind, fields)
            parts.append(f"nearest   {tell(message)}\n{_lines([f'came at {time:.3f} s, and {when}', *found])}")
        return "\n".join([*parts, "", self.dialogue()])


def _lines(found: list[str]) -> str:
    return "\n".join(f"          {line}" for line in found)
