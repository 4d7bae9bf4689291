"""The page's client, ``triolet.js``, in Node: dialogues with fakes, no socket, no waiting."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from triolet.closing import CATALOGUE, NORMAL

from .needs import needs, program

SCRIPT = Path(__file__).parent / "script"
ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src" / "triolet" / "static"


@needs("node")
def test_the_pages_client_keeps_its_word() -> None:
    command = [program("node"), "--test", "--test-reporter=spec", *map(str, sorted(SCRIPT.glob("*.test.mjs")))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]


def test_the_pages_client_has_the_catalogue_of_closings() -> None:
    """But a 1000 without a bye is somebody on the way who tidies up: our server says bye first."""
    found = re.search(r"FINAL_CODES = new Set\(\[([\d, ]+)\]\)", (STATIC / "transports.js").read_text())
    assert found is not None
    final = {closing.code for closing in CATALOGUE if closing.retry is None} - {NORMAL.code}
    assert {int(code) for code in found[1].split(",")} == final


def test_the_pages_client_writes_no_markup_and_evaluates_nothing() -> None:
    for script in [*STATIC.glob("*.js"), *ROOT.glob("examples/*/static/*.js")]:
        forbidden = re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script.read_text()
        )
        assert forbidden is None, f"{script.name}: {forbidden}"
