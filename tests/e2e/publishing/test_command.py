"""``triolet publish`` to a log that is served: a line, many lines, and a repeat."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.e2e.clients import Websockets
from tests.e2e.ports import free_port
from tests.e2e.server import START_SECONDS, Server, command
from triolet.cli import main


@pytest.fixture
def log(by_sqlite: Server) -> tuple[str, str]:
    """Where to publish."""
    return "--log", f"sqlite:///{by_sqlite.directory}/events.db"


def test_what_a_shell_publishes_is_heard_once(
    by_sqlite: Server, log: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Websockets(f"{by_sqlite.url}/orders/shell/events")
    try:
        client.hears("live")
        assert main(["publish", "orders/shell", '{"state": "paid"}', *log, "--type", "paid", "--key", "k"]) == 0
        for _ in range(2):  # the second time nothing happens
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'"a"\n\n2\n')))
            assert main(["publish", "orders/shell", "-", *log, "--dedupe", "night"]) == 0
        printed = capsys.readouterr().out.split()
        heard = client.hears("event", 3)
        assert [event["id"] for event in heard] == printed[:3]
        assert printed[3:] == printed[1:3]
        assert client.data == [{"state": "paid"}, "a", 2]
        assert (heard[0]["event"], heard[0]["key"]) == ("paid", "k")
        assert len(client.events) == 3
    finally:
        client.cut()


def test_a_shell_that_is_interrupted_or_finds_nobody_says_so(
    log: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    waits = subprocess.Popen([*command(), "publish", "c", "-", *log], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert waits.stdin is not None
    try:
        waits.stdin.write(b"1\n" * 100_000)  # more than a pipe holds: it has begun to read
        waits.stdin.flush()
        waits.send_signal(signal.SIGINT)
        assert waits.wait(START_SECONDS) == 1
        _, complaints = waits.communicate()
    finally:
        waits.kill()
    assert complaints == b""
    nobody = ("--url", f"http://127.0.0.1:{free_port()}")
    assert main(["publish", "c", "1", *nobody]) == 1
    assert main(["explain", "1", *nobody]) == 1
    assert capsys.readouterr().err.count("no operator's listener is at http://127.0.0.1:") == 2
