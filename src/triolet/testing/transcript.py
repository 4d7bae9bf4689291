"""What a client and its server said to each other, with virtual times: the text under a failed expectation."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["Message", "Transcript", "differences", "short", "tell"]

Message = dict[str, Any]
"""A message as its JSON object is on the wire; ``type`` says which it is."""

KEPT: Final = 1_000
"""Lines that are kept. Older ones are forgotten: a client may run for days of virtual time."""

SHOWN: Final = 40
"""Lines that are shown."""


class _Line(NamedTuple):
    time: float
    arrow: str
    what: Message | str


class Transcript:
    """The lines of one client, the newest :data:`KEPT` of them.

    Args:
        began: the moment from which times count, in Trio's seconds.
    """

    def __init__(self, began: float) -> None:
        self.began = began
        self._lines: deque[_Line] = deque(maxlen=KEPT)

    def heard(self, time: float, message: Message) -> None:
        """Note what the server said."""
        self._lines.append(_Line(time, "<-", message))

    def said(self, time: float, what: Message | str) -> None:
        """Note what the client said."""
        self._lines.append(_Line(time, "->", what))

    def note(self, time: float, what: str) -> None:
        """Note what happened to the connection."""
        self._lines.append(_Line(time, "--", what))

    def nearest(self, kind: str, fields: Mapping[str, Any]) -> tuple[float, Message] | None:
        """The message that has most of what was expected, and when it came; the newest of several.

        None where no message has anything of it.
        """
        best, found = 0, None
        for line in self._lines:
            if line.arrow == "<-" and isinstance(line.what, dict):
                score = _likeness(line.what, kind, fields)
                if score and score >= best:
                    best, found = score, (line.time - self.began, line.what)
        return found

    def text(self) -> str:
        """The newest lines, one each: the time in seconds, who spoke, and what."""
        lines = [f"{line.time - self.began:>12.3f} s {line.arrow} {_show(line.what)}" for line in self._lines]
        if len(lines) > SHOWN:
            lines[: len(lines) - SHOWN] = [f"{'':>12}   … {len(lines) - SHOWN} lines before"]
        return "\n".join(lines) or f"{'':>12}   nothing was said"


def _likeness(message: Message, kind: str, fields: Mapping[str, Any]) -> int:
    """How much of what was expected a message has; fields count only beside the right type, or where there are some."""
    same = sum(bool(name in message and value == message[name]) for name, value in fields.items())
    return 2 * same + int(message["type"] == kind)


def differences(message: Message, kind: str, fields: Mapping[str, Any]) -> list[str]:
    """One line for each field of a message that is not as expected, or one for its type; none where all is."""
    if message["type"] != kind:
        return [f"type: expected {kind!r}, got {message['type']!r}"]
    found = []
    for name, value in fields.items():
        if name not in message:
            found.append(f"{name}: expected {short(value)}, and there is none")
        elif value != message[name]:
            found.append(f"{name}: expected {short(value)}, got {short(message[name])}")
    return found


def tell(message: Mapping[str, Any]) -> str:
    """A message as a line: its type, and its fields as they would be expected."""
    fields = " ".join(f"{name}={short(value)}" for name, value in message.items() if name != "type")
    return f"{message.get('type', 'message'):<6} {fields}".rstrip()


def short(value: Any) -> str:
    """A value's repr, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:120]} … {text[-30:]} ({len(text):,} characters)"


def _show(what: Message | str) -> str:
    return what if isinstance(what, str) else tell(what)
