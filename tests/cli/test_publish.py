"""``triolet publish`` and ``triolet explain`` say in a sentence what is wrong, before anything is opened."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from triolet.cli import main

LOG = ("--log", "sqlite:///never/opened.db")
LISTENER = ("--url", "http://127.0.0.1:9100")


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (["publish", "c", "{x}", *LOG], "'{x}' is no JSON"),
        (["publish", "c", "word", *LISTENER], "a text has quotes around it"),
        (["publish", "c", "NaN", *LOG], "is no JSON"),
        (["publish", "c", "1", *LOG, "--type", "triolet.bye"], "such events are Triolet's own"),
        (["publish", "c", "1", *LOG, "--fold", "sum"], "of an event with a key"),
        (["publish", "c", f'"{"x" * (1 << 20)}"', *LOG], "more than limits.event_bytes"),
        (["publish", "", "1", *LOG], "cannot name a channel"),
        (["publish", "c", "1", "--log", "memory:"], "known to its own process only"),
        (["publish", "c", "1", "--log", "mysql://u:secret@h"], "names no log"),
        (["publish", "c", "1", "--url", "127.0.0.1:9100"], "is no URL of an operator's listener"),
        (["publish", "c", "1", "--url", "http://127.0.0.1:x"], "is no URL of an operator's listener"),
        (["publish", "c", '{"a": 1, "a": 2}', *LOG], "a key stands twice"),
        (["publish", "c", "1", *LOG, "--type", "triolet.end", "--dedupe", "triolet.end"], "are Triolet's own"),
        (["publish", "c", "1", "--url", "http://a..example"], "is no URL of an operator's listener"),
        (["publish", "c", "1", "--url", "http://u:secret@127.0.0.1:9100"], "'http://…@127.0.0.1:9100' is no URL of an"),
        (["explain", "7", "--url", "http://u:secret/secret@127.0.0.1"], "is no URL of an operator's listener"),
        (["publish", "c", "1", "--url", f"http://{'a' * 300}.example"], "is no URL of an operator's listener"),
        (["publish", "c", "1", "--url", "http://127.0.0.1:9/a b"], "is no URL of an operator's listener"),
        (["publish", "c", "1", *LISTENER, "--key-file", "/nowhere/key"], "cannot read the operator's key"),
        (["publish", "c", "1", *LISTENER, "--key-file", "/dev/null"], "there is no key in the file"),
        (["explain", "7", "--url", "ftp://h"], "is no URL of an operator's listener"),
        (["explain", "7", *LISTENER, "--key-file", "/dev/null"], "there is no key in the file"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(written: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(written) == 1
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert says in line
    assert "secret" not in line
    assert not said.out


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (["publish", "c", "1"], "one of the arguments --log --url is required"),
        (["publish", "c", "1", *LOG, *LISTENER], "not allowed with argument"),
        (["publish", "c", *LOG], "the following arguments are required: JSON"),
        (["explain", "x", *LISTENER], "must be a connection's number"),
        (["explain", "7"], "the following arguments are required: --url"),
        (["publish", "c", "1", "2", *LOG], "unrecognized arguments: 2"),
    ],
)
def test_a_wrong_command_line_is_a_usage(written: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(written)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("where", [LOG, LISTENER])
def test_a_bad_line_of_many_is_named_and_nothing_is_published(
    where: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = b"1\n\n" + b'{"n": 2}\n' * 5_000 + b"oops\n3\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines)))
    assert main(["publish", "c", "-", *where]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("triolet: line 5003: 'oops' is no JSON")
    assert line.endswith("Nothing is published")


def test_more_lines_than_can_be_held_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = io.BytesIO(b'"' + b"x" * (17 << 20))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=lines))
    assert main(["publish", "c", "-", *LOG]) == 1
    assert "are not published at once" in capsys.readouterr().err


def test_nothing_to_publish_is_published_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\n")))
    assert main(["publish", "c", "-", *LISTENER]) == 0
    assert capsys.readouterr() == ("", "")
