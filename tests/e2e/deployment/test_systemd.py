"""The documented units, played by a test that is systemd: it listens, passes its sockets, and hears what it is told."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.needs import needs, program
from tests.e2e.ports import free_port
from tests.e2e.server import START_SECONDS
from tests.pages import kept

from .serving import Command, get

HERE = Path(__file__).parent
DOCS = kept("serving")
UNIT = (DOCS / "shop.service").read_text(encoding="utf-8")
WATCHDOG_SECONDS = 1
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.close(int(sys.argv[1]))
os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""systemd starts a process so: the sockets are 3 and up, and LISTEN_PID is the process itself."""


class Systemd:
    """What systemd is to a service: sockets, and an ear."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(str(folder / "notify"))
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", free_port()))
        self.listener.listen(100)
        name = self.listener.getsockname()
        self.address = (str(name[0]), int(name[1]))

    def hears(self, word: str) -> str:
        """The next that is told and begins so; signs of life are passed over."""
        self.ear.settimeout(START_SECONDS)
        while not (said := self.ear.recv(1_000).decode()).startswith(word):
            assert said == "WATCHDOG=1", f"it said {said!r} and not {word!r}"
        return said

    @contextmanager
    def service(self, line: str) -> Iterator[Command]:
        """Start a service as its ``ExecStart`` says, with the app of the tests."""
        assert self.listener.fileno() != 3
        _, *arguments = shlex.split(line)
        environment = {
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": str(WATCHDOG_SECONDS * 1_000_000),
            "LISTEN_FDS": "1",
            "E2E_LOG": f"sqlite:///{self.folder}/events.db",
        }
        number = self.listener.fileno()
        before = [program("python3"), "-c", AS_SYSTEMD, str(number)]
        command = Command(self.folder, arguments, environment=environment, descriptors=[number], before=before)
        try:
            yield command
        finally:
            command.process.kill()
            command.process.wait()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    found = Systemd(tmp_path)
    with found.ear, found.listener:
        yield found


def _exec_start(workers: bool = True) -> str:
    """The documented line, with the app of the tests and fewer workers."""
    line = str(re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)[0])
    line = line.replace("shop:app", f"who_app:app --app-dir {HERE}").replace("--admin 9100", "")
    return line.replace("--workers 4", "--workers 2" if workers else "")


def _exec_reload(service: Command) -> list[str]:
    (line,) = re.findall(r"^ExecReload=(.*)$", UNIT, re.MULTILINE)
    return shlex.split(line.replace("$MAINPID", str(service.process.pid)))


@pytest.mark.parametrize("workers", [False, True], ids=["alone", "two workers"])
def test_a_service_takes_its_sockets_says_that_it_is_ready_lives_and_ends(systemd: Systemd, workers: bool) -> None:
    with systemd.service(_exec_start(workers)) as service:
        systemd.hears("READY=1")
        assert get(systemd.address, "/who")[0] == 200
        for _ in range(4):  # how often is said in tests/workers/test_systemd.py
            systemd.hears("WATCHDOG=1")
        if not workers:  # who reloads it needs no other unit for one process: it stays, and systemd is told
            pid = json.loads(get(systemd.address, "/who")[1])["pid"]
            subprocess.run(_exec_reload(service), check=True)
            assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", systemd.hears("RELOADING=1"))
            systemd.hears("READY=1")
            assert json.loads(get(systemd.address, "/who")[1])["pid"] == pid
        service.signal(signal.SIGTERM)
        systemd.hears("STOPPING=1")
        assert service.ends() == 0
    with socket.create_connection(systemd.address, 5):
        pass  # systemd still listens: who connects waits for the next one


def test_a_service_is_replaced_at_reload_and_says_so(systemd: Systemd) -> None:
    with systemd.service(_exec_start()) as service:
        systemd.hears("READY=1")
        before = json.loads(get(systemd.address, "/who")[1])["pid"]
        subprocess.run(_exec_reload(service), check=True)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", systemd.hears("RELOADING=1"))
        systemd.hears("READY=1")
        assert json.loads(get(systemd.address, "/who")[1])["pid"] != before
        service.signal(signal.SIGTERM)
        assert service.ends() == 0


def test_an_event_loop_that_does_not_turn_gives_no_sign_of_life(systemd: Systemd) -> None:
    with systemd.service(_exec_start(workers=False)) as service:
        systemd.hears("READY=1")
        service.signal(signal.SIGSTOP)
        systemd.ear.settimeout(0.2)
        with suppress(TimeoutError):
            while systemd.ear.recv(1_000):
                pass  # what it said before
        systemd.ear.settimeout(2 * WATCHDOG_SECONDS)
        with pytest.raises(TimeoutError):
            systemd.ear.recv(1_000)
        service.signal(signal.SIGCONT)


@needs("systemd-analyze")
def test_the_units_are_ones_that_systemd_understands(tmp_path: Path) -> None:
    for name in ("shop.service", "shop.socket"):
        text = (DOCS / name).read_text(encoding="utf-8")
        text = text.replace("/srv/shop/.venv/bin/triolet", "/bin/true").replace("/srv/shop", str(tmp_path))
        (tmp_path / name).write_text(text)
    result = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", str(tmp_path / "shop.service")],
        capture_output=True,
        text=True,
    )
    assert "shop." not in result.stderr, result.stderr
