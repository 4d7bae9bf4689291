"""Both clients do what the cases in ``conformance/`` say, each behind its adapter, as others' clients would be run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .needs import needs, program

ROOT = Path(__file__).parents[2]
ADAPTERS = ROOT / "conformance" / "adapters"


def played(*adapter: str) -> str:
    command = [sys.executable, str(ROOT / "conformance" / "run.py"), *adapter]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-3000:]
    return ended.stdout.splitlines()[-1]


@needs("node")
def test_the_javascript_client() -> None:
    assert played(program("node"), str(ADAPTERS / "triolet_js.mjs")).endswith(" 0 failed")


def test_the_python_client() -> None:
    assert played(sys.executable, str(ADAPTERS / "triolet_client.py")).endswith(" 0 failed")


@pytest.mark.parametrize("lie", ['{"did": "event", "id": "e.7"}', "no JSON"])
def test_an_adapter_that_does_something_else_fails(lie: str) -> None:
    script = f"import sys\nfor line in sys.stdin: print({lie!r}); print('{{\"idle\": true}}', flush=True)"
    with pytest.raises(AssertionError):
        played(sys.executable, "-c", script)
