"""One WebSocket, the server's side, after its handshake (RFC 6455): bytes come in, messages come out."""

# The rules of this file:
#
# 1. All that decides how a WebSocket goes on and ends stands here: the closing handshake, the pongs, how often a
#    peer may send what, and until when a message must be finished. A new rule is added to the table, or beside it.
# 2. The session knows no socket, no clock and no task. Bytes and the time are given to it; what is to be sent, and
#    what is to be waited for, are values that it returns. So a test can put it into every state and look.
# 3. No failure is half a failure: either what the peer sends can still be read, or the state says that it cannot.
#
# Why it is a session of our own, and not wsproto's or that of websockets. Two shells serve WebSockets here: our own
# reader, straight on a socket (connection/reader.py), and Hypercorn's stream, guarded, for Quart's own routes and for
# HTTP/2 (http/websocket.py). Each had its own close, its own pong and its own rates, and a rule that was added to
# one was missing in the other. What differs between them is which task waits, and for what; so waiting stays there.
# Frames are read by frames.py, which a session wraps: a message costs a quarter of what wsproto takes for it.
#
# Why events come out one by one, as they are asked for. A shell stops in the middle of what came in, when the app has
# too much to take; the rest is decoded when there is room, and until then a flood has cost nothing. For the same
# reason a pong is an event, in its place among the messages, and not a heap of bytes to be sent at the end.
#
# Why the shell says the time again after it has waited for the app (`session.now = ...`): rates count when a message
# is taken. A client that sent all at once and was held back meanwhile is not blamed for it.
#
# The closing handshake has two sides, and so a session has more states than the four that one reads of: the peer's
# close may come first (REMOTE_CLOSING: we owe ours, and may say what the app has said already before it), or ours
# goes out first (LOCAL_CLOSING: only the peer's close is looked for now). A peer that broke the framing can no longer
# be read: we still owe it a close (FAILED), and then throw away what it sends until it ends (DISCARDING), because a
# connection that is closed with bytes unread is reset, and the reset would overtake our close (section 7.1.1).
# A flood is no such failure: its frames are good, and the peer's close will be found among them.

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

import msgspec

from ..bounds import UNHEARD_IN_A_ROW
from ..closing import BAD_MESSAGE, FLOOD, Closing
from ..errors import RemoteError
from ..limits import Limits
from .frames import Binary, Close, FrameReader, Ping, Text, encode_close, encode_pong
from .rate_limit import control_rate, message_rate

__all__ = ["Answer", "Event", "Session", "State", "Step", "reply_to"]

NO_CODE: Final = 1005
"""What an app is told of a close frame without a code (RFC 6455 section 7.1.5)."""

NO_CLOSE: Final = 1006
"""What an app is told where no close frame went either way."""


class State(Enum):
    """The states of a session."""

    OPEN = auto()
    """Messages go both ways."""
    LOCAL_CLOSING = auto()
    """Our close is out. Only the peer's is looked for."""
    REMOTE_CLOSING = auto()
    """The peer's close has come. Nothing more is read; ours is owed."""
    FAILED = auto()
    """The peer cannot be read any more. Our close is owed."""
    DISCARDING = auto()
    """Our close is out, and what the peer sends is thrown away until it ends."""
    CLOSED = auto()
    """Both closes went, or the stream has ended."""


class Step(Enum):
    """The events that change a session's state: all but messages, pings and pongs."""

    CLOSE_SENT = auto()
    CLOSE_RECEIVED = auto()
    FAILURE = auto()
    """What came in breaks a rule of the framing (frames.py)."""
    END = auto()
    """The stream has ended."""


TRANSITIONS: Final[dict[State, dict[Step, State]]] = {
    State.OPEN: {
        Step.CLOSE_SENT: State.LOCAL_CLOSING,
        Step.CLOSE_RECEIVED: State.REMOTE_CLOSING,
        Step.FAILURE: State.FAILED,
        Step.END: State.CLOSED,
    },
    State.LOCAL_CLOSING: {
        Step.CLOSE_RECEIVED: State.CLOSED,
        Step.FAILURE: State.DISCARDING,
        Step.END: State.CLOSED,
    },
    State.REMOTE_CLOSING: {Step.CLOSE_SENT: State.CLOSED, Step.END: State.CLOSED},
    State.FAILED: {Step.CLOSE_SENT: State.DISCARDING, Step.END: State.CLOSED},
    State.DISCARDING: {Step.END: State.CLOSED},
    State.CLOSED: {},
}
"""A step that a state does not name changes nothing. So a close frame is owed where ``CLOSE_SENT`` is named, and what
comes in is read where ``CLOSE_RECEIVED`` is."""


_OPEN: Final = State.OPEN  # looked up for every message
_NEVER: Final = math.inf


class Answer(msgspec.Struct, frozen=True):
    """A frame that is to be sent as soon as it can: the pong to a ping.

    Where several wait for a slow peer, the last of them suffices (RFC 6455 section 5.5.3).
    """

    frame: bytes


Event = Text | Binary | Answer | Close


class Session:
    """One WebSocket between its opening handshake and its end, without a socket and without a clock.

    Args:
        limits: the bounds: of a message, of its fragments and seconds, and of the two rates.
        deflate: whether permessage-deflate was agreed on.

    Attributes:
        state: how far it is.
        code: what an app is told that the WebSocket ended with (RFC 6455 section 7.1.5).
        deadline: when the message that the peer has begun must be finished; infinite while none is begun.
        early: by how many seconds the message that came out last came too early: its taker sleeps them first.
        weight: as how many messages that one counts. One in many fragments costs us as much as so many.
        behind: whether more has come than was looked at for the peer's close: others should have a turn, and then
            ``receive(b"", now)`` goes on.
        now: the time of what is read. A shell that has waited between two events sets it anew.

    Bounds: what a :class:`~triolet.wire.frames.FrameReader` holds.
    """

    __slots__ = (
        "_control",
        "_frames",
        "_message_seconds",
        "_messages",
        "_readable",
        "behind",
        "code",
        "deadline",
        "early",
        "now",
        "state",
        "weight",
    )

    def __init__(self, limits: Limits, *, deflate: bool = False) -> None:
        self._frames = FrameReader(limits, deflate=deflate)
        self._messages = message_rate(limits)
        self._control = control_rate(limits)
        self._message_seconds = limits.message_seconds
        self.state = _OPEN
        self._readable = True
        self.code = NO_CLOSE
        self.deadline = _NEVER
        self.early = 0.0
        self.behind = False
        self.weight = 1
        self.now = 0.0

    @property
    def held(self) -> int:
        """Bytes of the unfinished message or frame that are held."""
        return self._frames.held

    def receive(self, data: bytes, now: float) -> Iterator[Event]:
        """Take bytes and return an iterator over what they completed, decoded as it is taken.

        What was not taken comes first the next time. Once our close is out, only the peer's comes; and nothing
        comes after that, or once it cannot be read any more.

        Args:
            data: what the peer sent; ``b""`` to go on with what was not taken.
            now: the time, in seconds of any clock that only goes forward.

        Raises:
            RemoteError: the peer's fault; it broke a rule. It is raised after the events that came before, with the
                closing that the peer is to be sent.
        """
        self.now = now
        self.behind = False
        return self._read(data) if self._readable else iter(())

    def close(self, code: int | None, reason: str = "") -> bytes:
        """Return the close frame that is to be sent now; ``b""`` if none is owed.

        Args:
            code: None, and the codes that mean "there was none", give a frame without a code.
            reason: cut to 123 bytes of UTF-8.
        """
        if Step.CLOSE_SENT not in TRANSITIONS[self.state]:
            return b""
        if self.state is not State.REMOTE_CLOSING:  # else the app is told the peer's code, which came first
            self.code = NO_CODE if code is None else code
        self._step(Step.CLOSE_SENT)
        return encode_close(code, reason)

    def end(self) -> None:
        """Take note that the stream has ended: nothing can come or go any more."""
        self._step(Step.END)

    def late(self) -> RemoteError:
        """Return the error of a peer that has not finished its message by the :attr:`deadline`."""
        return RemoteError(BAD_MESSAGE, "a message was begun and not finished in time")

    def _read(self, data: bytes) -> Iterator[Event]:
        unheard = 0
        try:
            for frame in self._frames.feed(data):
                kind = type(frame)
                if kind is Text or kind is Binary:
                    self.deadline = _NEVER  # a next message may have begun right behind this one
                    if self.state is _OPEN:
                        self.weight = weight = 1 + self._frames.crumbs
                        self.early = self._messages.take(self.now, weight)
                        self._frames.crumbs = 0
                        yield frame  # type: ignore[misc]  # one of the two, by the line above
                        continue
                elif isinstance(frame, Close):
                    self._receive_close(frame)
                    yield frame
                    continue
                elif self.state is _OPEN:
                    if self._control.take(self.now):
                        break  # not slept off as with messages: so many pings are a flood
                    if isinstance(frame, Ping):
                        yield Answer(encode_pong(frame.data))
                    continue
                unheard += 1 + self._frames.crumbs
                self._frames.crumbs = 0
                if unheard >= UNHEARD_IN_A_ROW:
                    self.behind = True
                    return
            else:
                if self._frames.mid_message:
                    self.deadline = min(self.deadline, self.now + self._message_seconds)
                else:
                    self.deadline = _NEVER
                return
        except RemoteError:
            self._step(Step.FAILURE)
            raise
        raise RemoteError(FLOOD)

    def _receive_close(self, frame: Close) -> None:
        if self.state is State.OPEN:
            self.code = NO_CODE if frame.code is None else frame.code
        self._step(Step.CLOSE_RECEIVED)

    def _step(self, step: Step) -> None:
        self.state = TRANSITIONS[self.state].get(step, self.state)
        self._readable = Step.CLOSE_RECEIVED in TRANSITIONS[self.state]
        if not self._readable:
            self.deadline = _NEVER  # nothing is read any more, so nothing can be finished


def reply_to(close: Close) -> Closing:
    """Return the closing that answers a peer's close: its own code, and 1000 where it gave none (RFC 6455 section 7.4).

    There is no reason, and so no bye: it was the client that left. A code that may not be sent never gets here: to
    the frame reader it is a broken rule.
    """
    return Closing(1000 if close.code is None else close.code, "", None)
