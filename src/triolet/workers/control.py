"""The line between a supervisor and one of its workers: orders and listening sockets down, what has become of it up.

A pair of Unix sockets that keep messages apart. When one side's process ends, whatever ended it, the other side hears
the end.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import trio

__all__ = ["ACCEPT", "BEAT", "LEAVING", "METRICS", "NOW", "READY", "RELEASE", "STOP", "Control", "Message"]

ACCEPT: Final = b"accept"
"""Accept on these sockets too, which are those of a place."""
RELEASE: Final = b"release"
"""Accept on a place's sockets no longer."""
STOP: Final = b"stop"
"""Drain, and end."""
NOW: Final = b"now"
"""End at once, once draining."""
BEAT: Final = b"beat"
"""Down: are you there? Up: yes. A worker whose event loop does not turn does not answer."""
METRICS: Final = b"metrics"
"""Down: say them. Up: these they are. For a place stands which question it is: not all are answered."""
READY: Final = b"ready"
"""The app has started."""
LEAVING: Final = b"leaving"
"""The worker accepts no longer, and will end: it was told to, or its app has ended by itself."""

MOST_BYTES: Final = 1 << 20
MOST_LISTENERS: Final = 64


class Message(NamedTuple):
    """What was said: what, of which place, with what."""

    what: bytes
    place: int
    text: bytes
    listeners: list[socket.socket]


class Control:
    """One end of the line, which it closes at its end."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Control, socket.socket]:
        """The supervisor's end, and the socket that is to be the worker's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def say(self, what: bytes, text: bytes = b"", place: int = 0, listeners: Sequence[socket.socket] = ()) -> None:
        """Say something. What the other side is past hearing is lost: its end is heard by :meth:`hear`."""
        with suppress(OSError):
            descriptors = [listener.fileno() for listener in listeners]
            socket.send_fds(self._socket, [b"%b %d\n%b" % (what, place, text)], descriptors)

    async def hear(self) -> Message | None:
        """The next that the other side says; None at its end. Cancellation: nothing is lost."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self._socket, MOST_BYTES, MOST_LISTENERS, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                continue
            except ConnectionError:
                return None
            if not data:
                return None
            head, _, text = data.partition(b"\n")
            what, place = head.split()
            return Message(what, int(place), text, [socket.socket(fileno=number) for number in descriptors])

    def close(self) -> None:
        """Close this end. Closing it again does nothing."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
