"""The documented Dockerfile, step by step and without an engine: its ``pip install``, and its ``CMD`` as process 1."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.needs import needs, program
from tests.e2e.ports import free_port
from tests.e2e.server import START_SECONDS, wait_for
from tests.pages import kept

from .serving import get

ROOT = Path(__file__).parents[3]
TEXT = (kept("serving") / "Dockerfile").read_text(encoding="utf-8")
APP = """
import os, time
from quart_trio import QuartTrio
from triolet import Triolet

time.sleep(float(os.environ.get("IMPORT_SECONDS", "0")))
app = QuartTrio("shop")
live = Triolet(app)


@app.get("/pid")
async def pid(): return {"pid": os.getpid()}
"""

pytestmark = [
    needs("unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a process 1 needs root"),
]


def step(name: str) -> str:
    """What stands behind an instruction."""
    (found,) = re.findall(rf"^{name} (.*)$", TEXT, re.MULTILINE)
    return str(found)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the image has it: an environment with what RUN installs, and the app."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "requirements.txt").write_text(f"triolet @ file://{ROOT}\n")
    (folder / "shop.py").write_text(APP)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    bin_folder = folder / "venv" / "bin"
    install = step("RUN").split()
    assert install[0] == "pip"
    made = subprocess.run([bin_folder / "python", "-m", *install], cwd=folder, capture_output=True, text=True)
    if made.returncode and "network" in made.stderr.lower():
        pytest.skip("pip reaches no index")
    assert made.returncode == 0, made.stderr
    return folder


class Container:
    """The CMD as process 1 of its own world of processes."""

    def __init__(self, image: Path, seconds: float = 0) -> None:
        self.port, self.operators = free_port(), free_port()
        command = json.loads(step("CMD"))
        command = [word.replace("0.0.0.0:8000", f"127.0.0.1:{self.port}") for word in command]
        command = [str(self.operators) if word == "9100" else word for word in command]
        command[0] = str(image / "venv" / "bin" / command[0])
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.log = (image / f"log-{self.port}").open("w+b")
        self.process = subprocess.Popen(
            [program("unshare"), "--pid", "--fork", "--kill-child", *command],
            cwd=image,
            env={**environment, "IMPORT_SECONDS": str(seconds)},
            stdout=self.log,
            stderr=self.log,
        )

    @property
    def first(self) -> int:
        """Process 1, as it is called outside."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(text) for task in tasks for text in task.read_text().split()]
        return wait_for(lambda: pids or self._children(), "process 1")[0]

    def _children(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    @property
    def said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def obeys(self) -> bool:
        """Whether process 1 has come so far that it handles SIGTERM: before, the kernel keeps it from hearing any."""
        (mask,) = re.findall(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{self.first}/status").read_text(), re.MULTILINE)
        return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)

    def stop(self) -> int:
        """``docker stop``: the exit code."""
        os.kill(self.first, signal.SIGTERM)
        return self.process.wait(15)

    def kill(self) -> None:
        with suppress(OSError):
            self.process.kill()
        self.process.wait()
        self.log.close()


def test_it_serves_as_process_1_and_ends_when_it_is_stopped(image: Path) -> None:
    container = Container(image)
    try:
        wait_for(lambda: "serving on" in container.said, "the server", START_SECONDS)
        assert json.loads(get(("127.0.0.1", container.port), "/pid")[1]) == {"pid": 1}
        check = json.loads(re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", TEXT, re.MULTILINE)[0])
        check = [word.replace("9100", str(container.operators)) for word in check]
        assert subprocess.run([sys.executable, *check[1:]]).returncode == 0
        assert container.stop() == 0, container.said
    finally:
        container.kill()


@pytest.mark.parametrize("seconds", [0, 0.1, 0.4, 1.3])
def test_a_stop_while_it_starts_is_not_lost(image: Path, seconds: float) -> None:
    container = Container(image, 30)  # more than is waited for its end
    try:
        wait_for(container.obeys, "a handler of SIGTERM")
        time.sleep(seconds)
        assert container.stop() == 0, container.said
        assert "Traceback" not in container.said
    finally:
        container.kill()


STOPPED = """
import os, signal, sys, types
import triolet_command

class Field:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGTERM)

class Cli(types.ModuleType):
    def __getattr__(self, name):
        type("Owner", (), {"field": Field()})

sys.modules["triolet.cli"] = Cli("triolet.cli")
triolet_command.main()
"""
"""Where Python 3.11 makes a RuntimeError of whatever is raised."""


def test_a_stop_within_a_class_that_is_being_made_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_grace_is_less_than_docker_waits() -> None:
    command = json.loads(step("CMD"))
    (stop_timeout,) = re.findall(r"--stop-timeout (\d+)", TEXT)
    assert float(command[command.index("--grace") + 1]) + 2 < float(stop_timeout)
