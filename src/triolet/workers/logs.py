"""The log of ``triolet serve``: how a line looks, and that nothing a client sends can make one.

What is logged is escaped where it is written, whatever library has logged it: a message is one line, and each line of a
traceback behind it is indented, so that only a line that the server has begun begins with a time.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

from ..errors import printable, where
from .bounds import LOG_LINE_CHARACTERS

__all__ = ["LOGGERS", "JsonFormatter", "OneLine", "TextFormatter", "configure", "escaped", "speak_again"]

LOGGERS: Final = (
    "triolet",
    "triolet.access",
    "triolet.connection",
    "triolet.hub",
    "triolet.identity",
    "triolet.log",
    "triolet.presence",
    "triolet.runs",
    "triolet.server",
    "triolet.supervisor",
)
"""Those of ours that a filter stands at, for apps that write their log with handlers of their own."""
INDENT: Final = "    "
STANDARD_STREAMS: Final = range(3)


def escaped(text: str) -> str:
    """A text as one line."""
    return printable(text, LOG_LINE_CHARACTERS)


def _indented(text: str) -> str:
    """What stands behind a message, line by line."""
    return "".join(f"\n{INDENT}{escaped(line)}" for line in text.split("\n"))


class TextFormatter(logging.Formatter):
    """A line of text a record, and below it its traceback, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line. A message's own line breaks are escaped."""
        return escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """The traceback."""
        return _indented(super().formatException(ei)).removeprefix("\n")

    def formatStack(self, stack_info: str) -> str:
        """The stack."""
        return _indented(stack_info).removeprefix("\n")

    def format(self, record: logging.LogRecord) -> str:
        """All of it. Another handler may have kept its own text of the traceback, which is not taken."""
        kept, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_text = kept


class JsonFormatter(TextFormatter):
    """A JSON object a record, on one line: ``time`` (seconds), ``level``, ``logger``, ``process``, ``message`` and, if
    there is one, ``error``, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": escaped(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = logging.Formatter.formatException(self, record.exc_info)
        return json.dumps(line)


class OneLine(logging.Filter):
    """Escapes a record itself, before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Escape it, and let it pass."""
        message = record.getMessage()
        line = escaped(message)
        if line != message:
            record.msg, record.args = line, None
        return True


_one_line = OneLine()


class _Terminal(logging.Handler):
    """Writes on the standard error, whichever it is now."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Where nobody can be told that a line cannot be written, nobody is."""
        with suppress(Exception):
            super().handleError(record)


_handler = _Terminal()


class _Guarded(logging.Logger):
    """One of our loggers, whose lines come from amid the server: a handler of the app's that fails does not end it, nor
    keep a line from the other handlers."""

    failed: Final[WeakSet[logging.Handler]] = WeakSet()

    def isEnabledFor(self, level: int) -> bool:
        """Whether a line of this level is wanted. ``logging.disable`` silences the app's loggers alone."""
        return not self.disabled and level >= self.getEffectiveLevel()

    def callHandlers(self, record: logging.LogRecord) -> None:
        """Give a line to all handlers."""
        found: logging.Logger | None = self
        while found is not None:
            for handler in found.handlers:
                if record.levelno >= handler.level:
                    self._give(record, handler)
            found = found.parent if found.propagate else None

    def _give(self, record: logging.LogRecord, handler: logging.Handler) -> None:
        try:
            handler.handle(record)
        except Exception as error:
            if handler not in self.failed:
                self.failed.add(handler)
                kind = type(handler).__name__
                said = f"a handler of the app's log fails ({kind}), which is said once: {where(error)}"
                _handler.handle(self.makeRecord("triolet.server", logging.ERROR, "", 0, said, (), None))


def _guard_ours() -> None:
    for name in LOGGERS:
        found = logging.getLogger(name)
        found.__class__ = _Guarded
        found.addFilter(_one_line)  # twice is once


def hold_standard_streams() -> None:
    """Have the descriptors 0, 1 and 2 open, on nothing where they are closed. Else a connection of a client, or a file
    of a database, would have such a number, and be written whatever is printed."""
    while (number := os.open(os.devnull, os.O_RDWR)) in STANDARD_STREAMS:
        os.set_inheritable(number, True)
    os.close(number)
    if sys.stdout is None or sys.stdout.closed:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None or sys.stderr.closed:
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115 - as above


def configure(level: str, *, form: str = "text", processes: bool = False) -> None:
    """Write the log on the standard error.

    Args:
        level: of what is written.
        form: ``text`` or ``json``.
        processes: whether a line says which process wrote it.
    """
    hold_standard_streams()
    text = f"%(asctime)s {'%(process)d ' if processes else ''}%(levelname)s %(name)s %(message)s"
    _handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(text))
    root = logging.getLogger()
    if _handler not in root.handlers:
        root.addHandler(_handler)
    root.setLevel(level.upper())
    logging.getLogger("triolet").setLevel(level.upper())
    _guard_ours()


def speak_again() -> None:
    """Have our loggers speak, whatever the app's own ``logging.config`` has done to them: by default it disables every
    logger that was there before it. Where it has left no handler that they reach, ours is theirs; and a standard error
    that it has closed is opened again."""
    hold_standard_streams()
    for name, found in list(logging.root.manager.loggerDict.items()):
        if isinstance(found, logging.Logger) and name.partition(".")[0] == "triolet":
            found.disabled = False
    ours = logging.getLogger("triolet")
    if not ours.hasHandlers():
        ours.addHandler(_handler)
    _guard_ours()
