"""The parser of ``text/event-stream``, by the HTML standard (section 9.2.6), and fields of Triolet's own besides:
``time``, ``key``, ``fold`` and ``folded``. Sans-IO.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..bounds import CURSOR_CHARACTERS
from .bounds import CLIENT_MESSAGE_BYTES
from .errors import Ended

__all__ = ["Block", "StreamParser"]

_LINE_ENDS: Final = re.compile("\r\n|\n|\r")


class Block(NamedTuple):
    """An event of a stream: its type, data, the last id, and the time in ms, if it has one. Where it goes together with
    others: its key, how, and how many it stands for."""

    event: str
    data: str
    id: str
    time: int | None = None
    key: str | None = None
    fold: str | None = None
    folded: int = 1


class StreamParser:
    """Reads an event stream block by block. ``retry`` is left to EventSource: the server's word is in its bye.

    Bounds: ``CLIENT_MESSAGE_BYTES`` characters of one block.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = io.StringIO()
        self._ended_in_cr = False
        self._id = ""
        self._event = ""
        self._data: list[str] = []
        self._size = 0
        self._time: int | None = None
        self._folds: dict[str, Any] = {}

    def feed(self, data: bytes) -> Iterator[Block]:
        """Take bytes, cut anywhere, and yield the blocks that are whole.

        Raises:
            Ended: a block is longer than the bound.
        """
        text = self._decoder.decode(data)
        if not text:
            return
        if self._ended_in_cr and text[0] == "\n":
            text = text[1:]  # the other half of a CRLF
        self._ended_in_cr = text.endswith("\r") if text else False
        *lines, rest = _LINE_ENDS.split(text)  # what has come before is not looked through again
        if lines:
            lines[0] = self._rest.getvalue() + lines[0]
            self._rest = io.StringIO()
        self._rest.write(rest)
        for line in lines:
            if line:
                self._line(line)
            else:
                if self._data:
                    yield Block(self._event or "message", "\n".join(self._data), self._id, self._time, **self._folds)
                self._event, self._data, self._size, self._time, self._folds = "", [], 0, None, {}
        if self._size + self._rest.tell() > CLIENT_MESSAGE_BYTES:
            raise Ended(f"a block of more than {CLIENT_MESSAGE_BYTES} bytes", "bad answer", retry=None)

    def _line(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
            self._size += len(value) or 1  # an empty one takes its place, too
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "time" and value.isdecimal() and len(value) <= CURSOR_CHARACTERS:
            self._time = int(value)
        elif name in ("key", "fold"):
            self._folds[name] = value
        elif name == "folded" and value.isdecimal() and len(value) <= CURSOR_CHARACTERS:
            self._folds[name] = max(1, int(value))
