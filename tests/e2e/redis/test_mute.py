"""A server that takes connections and answers nothing, as a Redis that hangs: a sentence, and no traceback."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.e2e.deployment.serving import started
from tests.e2e.ports import free_port
from tests.e2e.server import START_SECONDS

APP = """
from quart_trio import QuartTrio
from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app, log="redis://127.0.0.1:{port}/0")
"""


def test_a_redis_that_answers_nothing_is_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        (tmp_path / "mute_app.py").write_text(APP.format(port=mute.getsockname()[1]))
        with started(
            tmp_path, "serve", "mute_app:app", "--app-dir", str(tmp_path), "--bind", str(free_port())
        ) as server:
            assert server.process.wait(START_SECONDS) == 1
            assert "the app did not start: Redis at 127.0.0.1" in server.said
            assert len(server.said.splitlines()) == 2, "its being away, and the end"
