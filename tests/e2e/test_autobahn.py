"""Autobahn's case files, driven by kosoku, against an echo route with raised limits.

Those that mostly wait, for what does not come, do so side by side. Those of many megabytes (9) go one by one.

Compression (cases 12 and 13), which is off unless asked for, takes minutes:

    make autobahn
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .server import Server, serving

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
RUN = """
from kosoku import _caseindex
from kosoku._cli import main
_caseindex.initialize_shims()
import case12_x_x

def as_bytes(on_message):
    return lambda self, msg, binary: on_message(self, msg.encode("latin-1") if isinstance(msg, str) else msg, binary)

for case in case12_x_x.Case12_X_X + case12_x_x.Case13_X_X:
    case.onMessage = as_bytes(case.onMessage)
main()
"""
"""In kosoku 0.1 the cases 12 and 13 expect texts as the bytes they gave it, which it sends as Latin-1, and fail by
themselves."""


def verdicts(server: Server, folder: Path, *selection: str) -> dict[str, str]:
    """Run cases, and return the verdict of each: of its messages, or of its close if that is worse."""
    command = [sys.executable, "-c", RUN, "-m", "fuzzingclient", "-o", str(folder), *selection]
    done = subprocess.run([*command, f"127.0.0.1:{server.port}"], capture_output=True, text=True, check=False)
    index = folder / "index.json"
    assert index.exists(), done.stdout + done.stderr
    (cases,) = json.loads(index.read_text()).values()
    return {
        case: found["behavior"] if found["behavior"] not in PASSED else found["behaviorClose"]
        for case, found in cases.items()
    }


@pytest.mark.parametrize(
    ("least", "selection"),
    [
        pytest.param(240, ("-p", "8", "-x", "9.*", "-x", "12.*", "-x", "13.*"), id="1 to 7 and 10"),
        pytest.param(54, ("-i", "9.*"), id="9"),
    ],
)
def test_an_echo_passes_autobahn(tmp_path: Path, least: int, selection: tuple[str, ...]) -> None:
    with serving(tmp_path, "apps:autobahn") as server:
        found = verdicts(server, tmp_path / "report", *selection)
        assert not server.crashes()
    assert len(found) >= least
    assert not {case: verdict for case, verdict in found.items() if verdict not in PASSED}


@pytest.mark.timeout(1_800)
@pytest.mark.on_request
def test_a_deflating_echo_passes_autobahn(tmp_path: Path) -> None:
    with serving(tmp_path, "apps:autobahn_deflate") as server:
        found = verdicts(server, tmp_path / "report", "-i", "12.*", "-i", "13.*")
    assert not {case: verdict for case, verdict in found.items() if verdict not in {*PASSED, "UNIMPLEMENTED"}}
