"""The hooks for React, in Node and jsdom: dialogues with fakes, no socket, no waiting."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from .needs import NODE_MODULES, needs, program
from .react.project import REACTS, make_project

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STATIC = ROOT / "src" / "triolet" / "static"

OURS = {"react.js", "views.js", "shown.js", "folds.js"}
"""What only pages with React need, and those that fold."""


@needs("node", "npm:react", "npm:react-18", "npm:jsdom")
@pytest.mark.parametrize("react", REACTS)
def test_components_show_what_is_true(react: str, tmp_path: Path) -> None:
    project = make_project(tmp_path / HERE.relative_to(ROOT), react)
    (tmp_path / STATIC.relative_to(ROOT)).parent.mkdir(parents=True)
    (tmp_path / STATIC.relative_to(ROOT)).symlink_to(STATIC)  # where the clock of the dialogues stands
    shutil.copytree(HERE / "react", project / "react")
    shutil.copytree(HERE / "script", project / "script")
    command = [program("node"), "--preserve-symlinks", "--test", "--test-reporter=spec"]
    command += map(str, sorted((project / "react").glob("*.test.mjs")))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]


@needs("node", "npm:esbuild")
def test_a_page_without_react_is_given_nothing_of_it(tmp_path: Path) -> None:
    listed = tmp_path / "listed.json"
    command = [str(NODE_MODULES / ".bin" / "esbuild"), "--bundle", "--format=esm", "--outfile=bundle.js"]
    command.append(f"--metafile={listed}")
    given = f'export * from "{STATIC / "triolet.js"}";'
    subprocess.run(command, cwd=tmp_path, input=given.encode(), capture_output=True, check=True)
    inputs = {Path(name).name for name in json.loads(listed.read_text())["inputs"]}
    assert {"client.js", "follow.js"} <= inputs
    assert not inputs & OURS
