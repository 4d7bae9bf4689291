"""Standard input, output and error that are closed, before the start or by the app as it is imported."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.ports import free_port
from tests.e2e.server import wait_for

from .serving import get, started

APP = """
import os, sys
{first}
from quart_trio import QuartTrio

app = QuartTrio(__name__)


@app.get("/descriptors")
async def descriptors():
    return {{number: os.readlink(f"/proc/self/fd/{{number}}") for number in range(3)}}
"""
CLOSED = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-']


def descriptors(port: int) -> str:
    with suppress(OSError):
        return get(("127.0.0.1", port), "/descriptors")[1]
    return ""


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["alone", "a worker"])
@pytest.mark.parametrize(
    ("before", "first"),
    [(CLOSED, ""), ([], "[os.close(number) for number in range(3)]")],
    ids=["before it starts", "by the app"],
)
def test_what_is_closed_is_no_number_for_a_connection_or_a_database(
    before: list[str], first: str, workers: list[str], tmp_path: Path
) -> None:
    (tmp_path / "closing.py").write_text(APP.format(first=first))
    port = free_port()
    with started(tmp_path, "serve", "closing", "--bind", str(port), *workers, before=before) as server:
        held = json.loads(wait_for(lambda: descriptors(port), "an answer"))
        # Before a line of ours runs the interpreter may have loaded libffi, newer ones of which keep their file open.
        assert {name for name in held.values() if "/libffi.so" not in name} == {"/dev/null"}
        server.signal(signal.SIGTERM)
        assert server.ends() == 0


def test_an_app_that_closes_the_standard_error_does_not_end_the_server(tmp_path: Path) -> None:
    (tmp_path / "closing.py").write_text(APP.format(first="sys.stdout.close(); sys.stderr.close()"))
    with started(tmp_path, "serve", "closing", "--bind", str(free_port())) as server:
        server.says("serving on")
        server.signal(signal.SIGTERM)
        assert server.ends() == 0
