"""The log of ``triolet serve``: a line is one that the server has begun."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from triolet.workers import logs

FORGED = "GET /c/x\n2026-11-28 20:00:00,000 INFO triolet.server FORGED\x1b[31m\r\u2028\x85"


@pytest.fixture
def stream(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What is written."""
    return lambda: capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("logger", ["app", "hypercorn.error", "triolet.server"])
def test_a_message_is_one_line_whatever_logs_it(stream: Callable[[], str], form: str, logger: str) -> None:
    logs.configure("info", form=form)
    logging.getLogger(logger).error("Exception on request %s", FORGED)
    (line,) = stream().split("\n")[:-1]
    assert "\\nFORGED" not in line
    assert "\\n2026-11-28" in line
    assert not {"\x1b", "\r", "\u2028", "\x85"} & set(line)


def test_a_tracebacks_lines_are_indented_and_its_message_cannot_begin_one(stream: Callable[[], str]) -> None:
    logs.configure("info")
    try:
        raise ValueError(FORGED)
    except ValueError:
        logging.getLogger("app").exception("it failed")
    written = stream()
    first, *others = written.split("\n")[:-1]
    assert "ERROR app it failed" in first
    assert others[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in others)
    assert "\x1b" not in written


def test_json_is_an_object_a_line(stream: Callable[[], str]) -> None:
    logs.configure("info", form="json")
    logging.getLogger("app").info("one %s", "thing")
    try:
        raise ValueError("two")
    except ValueError:
        logging.getLogger("app").exception("it failed")
    one, two = (json.loads(line) for line in stream().splitlines())
    assert (one["level"], one["logger"], one["message"]) == ("info", "app", "one thing")
    assert two["error"].splitlines()[-1] == "ValueError: two"


@pytest.mark.parametrize("root", [None, {"level": "WARNING", "handlers": []}])
def test_an_apps_own_configuration_does_not_silence_the_server(stream: Callable[[], str], root: object) -> None:
    logs.configure("info")
    logging.config.dictConfig({"version": 1} if root is None else {"version": 1, "root": root})
    logs.speak_again()
    logging.getLogger("triolet.server").info("serving")
    logging.getLogger("triolet.supervisor").info("both")
    assert len(stream().splitlines()) == 2


def test_an_apps_disabling_of_all_loggers_does_not_silence_the_server(stream: Callable[[], str]) -> None:
    logs.configure("info")
    logging.disable()
    try:
        logs.speak_again()
        logging.getLogger("triolet.server").info("serving")
        logging.getLogger("triolet.server").debug("in detail")
        logging.getLogger("app").error("not wanted")
    finally:
        logging.disable(logging.NOTSET)
    assert [line.split(" ", 2)[2] for line in stream().splitlines()] == ["INFO triolet.server serving"]


def test_each_logger_of_ours_is_known() -> None:
    folder = Path(logs.__file__).parents[1]
    named = {
        name for path in folder.rglob("*.py") for name in re.findall(r'getLogger\("(triolet.*?)"\)', path.read_text())
    }
    assert named - {"triolet.client", "triolet.testing"} == {*logs.LOGGERS}


def test_an_apps_own_handler_gets_ours_escaped(stream: Callable[[], str]) -> None:
    logs.configure("info")
    own = io.StringIO()
    handler = logging.StreamHandler(own)
    logging.getLogger("triolet").addHandler(handler)
    logging.getLogger("triolet.server").error("%s", FORGED)
    assert len(own.getvalue().splitlines()) == 1


@pytest.mark.parametrize("logger", [None, "triolet", "triolet.server"])
def test_an_apps_handler_that_fails_keeps_no_line_from_others_and_is_told_of_once(
    stream: Callable[[], str], logger: str | None
) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ConnectionError("the collector is down")

    logs.configure("info")
    logging.getLogger(logger).addHandler(Failing())
    logging.getLogger("triolet.server").info("serving")
    logging.getLogger("triolet.server").info("ended")
    lines = stream().splitlines()
    assert [line.split(" ", 2)[2] for line in lines if "fails" not in line] == [
        "INFO triolet.server serving",
        "INFO triolet.server ended",
    ]
    (told,) = (line for line in lines if "fails" in line)
    assert "a handler of the app's log fails (Failing), which is said once: ConnectionError at test_logs.py:" in told


def test_a_standard_error_that_is_closed_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure("info")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    logging.getLogger("app").error("nobody hears this")
    logging.getLogger("triolet.server").error("nor this")
