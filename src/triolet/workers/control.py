"""The line between a supervisor and one of its workers: orders and listening sockets go down, reports come up.

It is a pair of Unix sockets that keep messages apart (SOCK_SEQPACKET, unix(7)). When the process of one side ends,
whatever ended it, the other side hears the end.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import trio

from .bounds import CONTROL_BYTES, CONTROL_LISTENERS

__all__ = ["ACCEPT", "ASK", "BEAT", "LEAVING", "NOW", "READY", "RELEASE", "SAID", "STOP", "Control", "Message"]

ACCEPT: Final = b"accept"
"""Accept on these sockets too, which are those of a place."""
RELEASE: Final = b"release"
"""Accept on a place's sockets no longer."""
STOP: Final = b"stop"
"""Shut down gracefully, and end."""
NOW: Final = b"now"
"""End at once, once draining."""
BEAT: Final = b"beat"
"""Down: are you there? Up: yes. A worker whose event loop does not turn does not answer."""
ASK: Final = b"ask"
"""Answer the operator's question that comes over the socket which is sent along: a line of its own, with an end."""
READY: Final = b"ready"
"""The app has started."""
LEAVING: Final = b"leaving"
"""The worker accepts no longer, and will end: it was told to, or its app has ended by itself."""

SAID: Final = os.EX_CONFIG
"""The exit code of a worker that cannot start and has said why, in a sentence."""


class Message(NamedTuple):
    """A message that came over the line.

    Attributes:
        what: one of the constants above.
        place: the number of a place.
        listeners: the sockets that came with it.
    """

    what: bytes
    place: int
    listeners: list[socket.socket]


class Control:
    """One end of the line. It owns its socket."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Control, socket.socket]:
        """Return the supervisor's end, and the socket that is to be the worker's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def say(self, what: bytes, place: int = 0, listeners: Sequence[socket.socket] = ()) -> None:
        """Send a message. It is lost if the other side does not read, or has ended; :meth:`hear` hears that end."""
        # Never waits: a worker that does not read must not hold up its supervisor, which has others to see to.
        with suppress(OSError):
            descriptors = [listener.fileno() for listener in listeners]
            socket.send_fds(self._socket, [b"%b %d" % (what, place)], descriptors)

    async def hear(self) -> Message | None:
        """Return the next message of the other side; None when that has ended.

        Cancellation: nothing is lost.
        """
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self._socket, CONTROL_BYTES, CONTROL_LISTENERS, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                continue
            except ConnectionError:
                return None
            if not data:
                return None
            what, place = data.split()
            return Message(what, int(place), [socket.socket(fileno=number) for number in descriptors])

    def close(self) -> None:
        """Close this end. Closing it again does nothing."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
