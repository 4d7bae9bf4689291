"""A shell script with curl, and ``triolet publish`` and ``explain``, by an operator's listener."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.e2e.clients import Websockets
from tests.e2e.needs import needs
from tests.e2e.ports import free_port
from tests.e2e.server import Server, serving, wait_for
from triolet.cli import main

SCRIPT = """
set -eu
send() { curl -sS --fail-with-body -H "Authorization: Bearer $(cat key)" -H "Content-Type: $1" -d @- "$ADMIN/publish"; }
printf '{"channel": "orders/cron", "name": "order-status", "data": {"state": "paid"}}' | send application/json
! printf '{"channel": "orders/cron"}' | send application/json
"""


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str, Path]]:
    """A server, and where its operator's listener is, and its key."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "key").write_text(f"{'k' * 32}\n")
    port = str(free_port())
    operated = ["--admin", port, "--admin-key-file", str(folder / "key")]
    with serving(folder, "publishing.app:app", log="memory:", arguments=operated) as server:
        yield server, f"http://127.0.0.1:{port}", folder


@needs("curl")
def test_a_shell_script_with_curl_is_heard(listener: tuple[Server, str, Path]) -> None:
    server, admin, folder = listener
    client = Websockets(f"{server.url}/orders/cron/events")
    try:
        client.hears("live")
        done = subprocess.run(
            ["sh", "-c", SCRIPT],
            cwd=folder,
            env={"ADMIN": admin, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        (event,) = client.hears("event")
        assert (event["event"], event["data"]) == ("order-status", {"state": "paid"})
        assert event["id"] in done.stdout
        assert "data" in done.stdout.splitlines()[-1]
    finally:
        client.cut()


def test_the_commands_publish_and_explain_by_a_listener(
    listener: tuple[Server, str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server, admin, folder = listener
    where = ("--url", admin, "--key-file", str(folder / "key"))
    client = Websockets(f"{server.url}/orders/listener/events")

    def lines(text: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))

    try:
        client.hears("live")
        assert main(["publish", "orders/listener", '{"state": "paid"}', *where, "--type", "paid", "--key", "k"]) == 0
        for _ in range(2):
            lines(b'"a"\n\n2\n')
            assert main(["publish", "orders/listener", "-", *where, "--dedupe", "night"]) == 0
        printed = capsys.readouterr().out.split()
        heard = client.hears("event", 3)
        assert [event["id"] for event in heard] == printed[:3]
        assert printed[3:] == printed[1:3]
        assert (heard[0]["event"], heard[0]["key"], client.data) == ("paid", "k", [{"state": "paid"}, "a", 2])

        lines(b"1\n\n" + b'"%s"' % (b"x" * (1 << 20)) + b"\n")  # the listener is the one that knows the limit
        assert main(["publish", "orders/listener", "-", *where]) == 1
        assert "line 3: " in capsys.readouterr().err
        assert main(["publish", "orders/listener", "1", "--url", admin]) == 1
        assert "key" in capsys.readouterr().err
        assert main(["publish", "orders/listener", "1", "--url", server.url]) == 1
        assert "is no operator's listener" in capsys.readouterr().err

        assert main(["explain", "1", *where]) == 0
        for_people = capsys.readouterr().out
        assert for_people.startswith("Connection 1 (websocket)")
        assert main(["explain", "1", *where, "--json"]) == 0
        (explained,) = json.loads(capsys.readouterr().out)["explanations"]
        assert explained["sentences"][1] in for_people
        assert main(["explain", "4711", *where]) == 1
        assert "no connection 4711 is open" in capsys.readouterr().err
        wait_for(lambda: len(client.events) == 3, "no more than three")
    finally:
        client.cut()
