"""A load generator of another project counts no failure: each answer has its reason phrase."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .needs import needs, program
from .server import Server, serving


@needs("h2load")
@pytest.mark.parametrize("path", ["/", "/c/h2load/events", "/c/h2load/events?after=0", "/blob/100000"])
def test_h2load_over_http_1_counts_no_failure(tmp_path: Path, path: str) -> None:
    with serving(tmp_path) as server:
        assert failures(server, path) == ["200", "200", "200", "0", "0", "0"]


def failures(server: Server, path: str) -> list[str]:
    """Requests that were started, done, and succeeded; that failed, had an error, and took too long."""
    command = [program("h2load"), "--h1", "-n", "200", "-c", "4", server.url + path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = re.search(r"requests: .*", said)
    assert line is not None, said
    return re.findall(r"(\d+) (?:started|done|succeeded|failed|errored|timeout)", line[0])
