"""The log of ``triolet serve``: how a line looks, and that nothing a client sends can make one.

What is logged is escaped where it is written, whatever library has logged it: a message is one line, and each line of a
traceback behind it is indented, so that only a line that the server has begun begins with a time.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Final

from ..errors import printable
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


_handler = _Terminal()


def configure(level: str, *, form: str = "text", processes: bool = False) -> None:
    """Write the log on the standard error.

    Args:
        level: of what is written.
        form: ``text`` or ``json``.
        processes: whether a line says which process wrote it.
    """
    text = f"%(asctime)s {'%(process)d ' if processes else ''}%(levelname)s %(name)s %(message)s"
    _handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(text))
    root = logging.getLogger()
    if _handler not in root.handlers:
        root.addHandler(_handler)
    root.setLevel(level.upper())
    logging.getLogger("triolet").setLevel(level.upper())
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_one_line)  # twice is once


def speak_again() -> None:
    """Have our loggers speak, whatever the app's own ``logging.config`` has done to them: by default it disables every
    logger that was there before it. Where it has left no handler that they reach, ours is theirs."""
    for name, found in list(logging.root.manager.loggerDict.items()):
        if isinstance(found, logging.Logger) and name.partition(".")[0] == "triolet":
            found.disabled = False
    ours = logging.getLogger("triolet")
    if not ours.hasHandlers():
        ours.addHandler(_handler)
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_one_line)
