"""The codec of event streams that follow many channels: the messages of a WebSocket, each as the data of a block.

Every block may begin with an ``id:`` that says where its client stands in all of its channels. That is another for each
client, so it is no part of what is encoded here once for all of them, but put before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..bounds import SSE_RETRY_MS
from ..event import Event
from .codec import SSE, SSE_CHUNKED, Codec
from .messages import Bye, Message, Open, encode_event, encode_message

__all__ = ["MANY", "ManyCodec", "mark_of"]


def mark_of(place: str) -> bytes:
    """Return what stands before a block that brings its client to a place."""
    return b"id: %b\n" % place.encode()


class ManyCodec(Codec):
    """An event stream of JSON objects: events without a name of their own, so that a page's ``onmessage`` gets all of
    them, whichever their channel; all else as on any event stream, under ``triolet.`` and its type.

    Args:
        below: how blocks are put together.
    """

    def __init__(self, below: Codec) -> None:
        self._below = below

    def event(self, event: Event) -> bytes:
        return b"%bdata: %b\n\n" % (b"event: triolet.end\n" if event.ends else b"", encode_event(event))

    def join(self, parts: Sequence[bytes]) -> bytes:
        joined: bytes = self._below.join(parts)
        return joined

    def say(self, message: Message, mark: bytes = b"") -> bytes:
        """Encode a message. One without a mark moves its client nowhere.

        Args:
            message: the message.
            mark: of :func:`mark_of`.
        """
        retry = SSE_RETRY_MS if isinstance(message, Open) else message.retry if isinstance(message, Bye) else None
        head = b"" if retry is None else b"retry: %d\n" % retry
        tag = str(message.__struct_config__.tag).encode()
        return self.join([b"%b%bevent: triolet.%b\ndata: %b\n\n" % (head, mark, tag, encode_message(message))])


MANY: Final[dict[Codec, ManyCodec]] = {below: ManyCodec(below) for below in (SSE, SSE_CHUNKED)}
"""By the codec of a stream that follows one channel on the same way to its client."""
