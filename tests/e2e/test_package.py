"""The wheel, as users get it: what is in it, and that its public types are known to type checkers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .needs import NODE_MODULES, needs, program

ROOT = Path(__file__).parents[2]

FACES = ("triolet.event.", "triolet.limits.", "triolet.errors.", "triolet.closing.")
"""Whose every attribute is known, too."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sources as they stand."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_triolet_its_script_and_the_pytest_plugin_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "triolet",
        "triolet_command.py",
        "pytest_triolet.py",
    }
    assert {"triolet/py.typed", "triolet/static/triolet.js"} <= set(names)
    for folder in ("triolet/static/", "triolet/admin/page/"):
        given = {name.removeprefix(folder) for name in names if name.startswith(folder)}
        files = ROOT / "src" / folder
        found = {str(path.relative_to(files)) for path in files.rglob("*") if path.is_file()}
        assert given == found, "npm packs static from here, too"
    assert not [name for name in names if "hunt" in name or name.rpartition("/")[2].startswith("test_")]


def test_an_app_is_made_with_what_the_wheel_brings(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import triolet, triolet.testing; print(triolet.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(said.stdout.strip()).is_relative_to(tmp_path)


def test_the_pytest_plugin_loads_neither_a_server_nor_trio() -> None:
    code = "import sys, pytest_triolet; print(*sorted({'trio', 'quart', 'hypercorn', 'triolet'} & sys.modules.keys()))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""


@needs("node", "npm:pyright")
def test_every_public_name_has_a_type_that_is_known(wheel: Path, tmp_path: Path) -> None:
    """As pyright verifies it for a package that says ``py.typed``; of other packages it is not said."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    command = [program("node"), str(NODE_MODULES / "pyright" / "index.js")]
    command += ["--verifytypes", "triolet", "--ignoreexternal", "--outputjson"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where pyright finds its Python
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": path}
    said = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = json.loads(said.stdout)["typeCompleteness"]
    assert found["exportedSymbolCounts"]["withUnknownType"] == 0
    assert not [
        f"{symbol['name']}: {[each['message'] for each in symbol['diagnostics']]}"
        for symbol in found["symbols"]
        if symbol["name"].startswith(FACES) and not symbol["isTypeKnown"]
    ]
