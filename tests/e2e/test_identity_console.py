"""What the page on identity has its reader type is typed, with curl and `triolet serve`, and answers what it shows."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.pages import kept
from tests.test_docs import blocks

from .needs import needs, program
from .server import Server, serving, wait_for

pytestmark = needs("curl")

IDENTITY = kept("identity")


class Terminal:
    """A terminal of the reader's, in the app's folder."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def arguments(self, line: str) -> list[str]:
        """What a line runs, of the server that is there."""
        name, *rest = shlex.split(line.replace("http://127.0.0.1:8000", self._server.url))
        assert name == "curl"
        return [program("curl"), "-sS", *rest]

    def type(self, line: str) -> str:
        """Run a line to its end, and return what it has said."""
        run = subprocess.run(self.arguments(line), cwd=self._server.directory, capture_output=True, check=True)
        return run.stdout.decode().strip()


def lines(block: str) -> list[tuple[str, str]]:
    """The commands of a block, each with the answer that is shown."""
    typed: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            typed.append((line.removeprefix("$ "), ""))
        else:
            typed[-1] = (typed[-1][0], line)
    return typed


def test_the_page_on_identity_shows_what_its_reader_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, second, third = blocks("identity.rst", "console")
    (shown,) = blocks("identity.rst", "text")
    folder, output = tmp_path / "shop", tmp_path / "stream"
    shutil.copytree(IDENTITY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("SHOP_TOKEN_KEY", "k" * 64)
    with serving(folder, "app:app") as server:
        terminal = Terminal(server)
        (login, answer), (follow, _) = lines(second)
        assert terminal.type(login) == answer
        with output.open("wb") as file, subprocess.Popen(terminal.arguments(follow), cwd=folder, stdout=file) as curl:
            try:
                wait_for(lambda: "triolet.live" in output.read_text(), "an open stream")
                for line, answer in lines(third):
                    assert terminal.type(line) == answer
                assert curl.wait(10) == 0
            finally:
                curl.kill()
        assert '{"state":"packed","by":"ann"}' in output.read_text()
        assert output.read_text().strip().endswith(shown)
        assert not server.crashes()
