"""``--reload``: what is written is served, and an error in it is waited out."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.ports import free_port
from tests.e2e.server import START_SECONDS, wait_for

from .serving import Command, get, started

APP = """from quart_trio import QuartTrio

app = QuartTrio("app")


@app.get("/")
async def page(): return "{text}"
"""
# The texts differ in length: what is compiled is told from what it was made of by size and second.


def _shows(port: int, text: str) -> bool:
    try:
        return get(("127.0.0.1", port), "/") == (200, text)
    except OSError:
        return False


def test_a_change_is_served_and_an_error_waited_out(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    port, file = free_port(), tmp_path / "reloaded.py"
    file.write_text(APP.format(text="one"))
    with started(tmp_path, "serve", "reloaded:app", "--bind", str(port), "--reload") as server:
        wait_for(lambda: _shows(port, "one"), "the first", START_SECONDS)
        file.write_text(APP.format(text="second"))
        wait_for(lambda: _shows(port, "second"), "the second", START_SECONDS)
        file.write_text("x = (\n")
        server.says("was never closed")
        server.says("the server has ended with 1, and is started anew at the next change")
        file.write_text(APP.format(text="three"))
        wait_for(lambda: _shows(port, "three"), "the third", START_SECONDS)
        server.signal(signal.SIGTERM)
        assert server.ends() == 0


def test_without_watchfiles_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "watchfiles.py").write_text("raise ModuleNotFoundError(name='watchfiles')\n")
    rest = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = os.pathsep.join([str(tmp_path), *map(os.path.abspath, rest)])
    server = Command(tmp_path, ["serve", "reloaded:app", "--reload"], environment={"PYTHONPATH": paths})
    assert server.ends() == 1
    assert server.said == "triolet: --reload needs watchfiles: pip install 'triolet[reload]'\n"
