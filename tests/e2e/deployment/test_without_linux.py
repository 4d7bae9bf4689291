"""One process without what only Linux has: it serves, and hears what another process writes into the same file."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from websockets.sync.client import connect

from tests.e2e.ports import free_port

from ..clients import hear
from .serving import Command, get

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
RUN = (
    "import sys; sys.path.append({root!r}); from tests.without_linux import take_away; take_away(); "
    "from triolet.cli import main; sys.exit(main(sys.argv[2:]))"
)
PUBLISH = """
import trio
from triolet import Triolet

async def main():
    async with Triolet(log="sqlite:///events.db") as live:
        await live.publish("x", 1)

trio.run(main)
"""


def test_one_process_serves_without_them(tmp_path: Path) -> None:
    port = free_port()
    arguments = ["serve", "who_app:app", "--app-dir", str(HERE), "--bind", str(port)]
    before = [sys.executable, "-c", RUN.format(root=str(ROOT))]
    server = Command(tmp_path, arguments, environment={"E2E_LOG": "sqlite:///events.db"}, before=before)
    try:
        server.says("serving on")
        assert get(("127.0.0.1", port), "/who")[0] == 200
        with connect(f"ws://127.0.0.1:{port}/c/x") as client:
            assert [hear(client)["type"] for _ in range(2)] == ["open", "live"]
            other = Command(tmp_path, [], before=[sys.executable, "-c", PUBLISH])
            assert other.ends() == 0, other.said
            assert hear(client)["data"] == 1
        server.signal(signal.SIGTERM)
        assert server.ends() == 0
    finally:
        server.process.kill()
        server.process.wait()
