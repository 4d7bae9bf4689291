"""Who is given which port, of processes that run tests side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .ports import OF_SERVERS, free_port

ASKS = "import sys; from tests.e2e.ports import free_port; print(free_port(range(int(sys.argv[1]), int(sys.argv[2]))))"


def test_a_port_that_one_process_was_given_is_no_others_also_while_nobody_listens_on_it() -> None:
    port = free_port()
    end = min(port + 100, OF_SERVERS.stop)
    one = _ask(port, port + 1)
    assert "no free port" in one.stderr
    assert int(_ask(end - 100, end).stdout) != port
    assert free_port(range(port, port + 1)) == port


def _ask(first: int, end: int) -> subprocess.CompletedProcess[str]:
    """What another process of the tests is given."""
    command = [sys.executable, "-c", ASKS, str(first), str(end)]
    return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
