"""Signals at any moment: while the app is imported, twice, and to an app that does not want to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.ports import free_port
from tests.e2e.server import wait_for

from .serving import get, started

HERE = str(Path(__file__).parent)
KEY = "0123456789abcdef"
AT_A_TERMINAL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
os.close(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""A process whose controlling terminal is the one of which the test has the other side."""
SLOW = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
DEAF = """import time
print('importing', flush=True)
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_a_signal_while_the_app_is_imported_ends_it_at_once(number: int, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    with started(tmp_path, "serve", "slow:app") as server:
        server.says("importing")
        server.signal(number)
        assert server.ends() == 0
        assert server.said == "importing\n"


def test_also_with_several_workers(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    with started(tmp_path, "serve", "slow:app", "--workers", "2") as server:
        server.says("importing")
        server.signal(signal.SIGTERM)
        assert server.ends() == 0
        assert "Traceback" not in server.said


def test_an_import_that_catches_it_has_the_grace(tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(DEAF)
    with started(tmp_path, "serve", "deaf:app", "--grace", "1") as server:
        server.says("importing")
        server.signal(signal.SIGTERM)
        assert server.ends() == 1
        assert "time is up" in server.said


def test_sighup_has_one_process_read_the_operators_key_again_and_serve_on(tmp_path: Path) -> None:
    key, port, operators = tmp_path / "key", free_port(), ("127.0.0.1", free_port())
    key.write_text(f"{KEY}\n")
    listens = ["--bind", str(port), "--admin", str(operators[1]), "--admin-key-file", str(key)]

    def asked(with_key: str) -> int:
        return get(operators, "/connections", headers={"Authorization": f"Bearer {with_key}"})[0]

    with started(tmp_path, "serve", "who_app:app", "--app-dir", HERE, *listens) as server:
        server.says("serving on")
        pid = get(("127.0.0.1", port), "/who")[1]
        key.write_text("short\n")
        server.signal(signal.SIGHUP)
        server.says("the operator's key stays the OLD one")
        assert asked(KEY) == 200
        key.write_text(f"{KEY[::-1]}\n")
        server.signal(signal.SIGHUP)
        wait_for(lambda: asked(KEY[::-1]) == 200, "the new key")
        assert asked(KEY) == 401
        assert get(("127.0.0.1", port), "/who")[1] == pid
        server.signal(signal.SIGTERM)
        assert server.ends() == 0
        assert KEY not in server.said


@pytest.mark.parametrize("arguments", [[], ["--workers", "1"]], ids=["alone", "a worker"])
def test_sigquit_drains_and_signals_of_other_servers_end_nothing(arguments: list[str], tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path, "serve", "who_app:app", "--app-dir", HERE, "--bind", str(port), *arguments) as server:
        server.says("serving on")
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            server.signal(number)
            server.says(f"{number.name} means nothing here")
        assert get(("127.0.0.1", port), "/who")[0] == 200
        server.signal(signal.SIGQUIT)
        assert server.ends() == 0
        assert "draining" in server.said


def test_one_process_ends_when_its_terminal_is_closed(tmp_path: Path) -> None:
    terminal, theirs = os.openpty()
    try:
        number = str(theirs)
        with started(
            tmp_path,
            *("serve", "who_app:app", "--app-dir", HERE, "--bind", str(free_port())),
            descriptors=[theirs],
            before=[sys.executable, "-c", AT_A_TERMINAL, number],
        ) as server:
            server.says("serving on")
            os.close(theirs)
            os.close(terminal)
            terminal = theirs = -1
            assert server.ends() == 0
            assert "the terminal that this was started from is gone" in server.said
    finally:
        for end in (terminal, theirs):
            if end >= 0:
                os.close(end)


def _ask(port: int, path: str) -> None:
    with suppress(OSError):  # it is not answered, however long it waits
        get(("127.0.0.1", port), path)


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["alone", "two workers"])
@pytest.mark.parametrize(("grace", "signals"), [(1, 1), (60, 2)], ids=["grace", "second signal"])
def test_an_app_that_swallows_cancellation_ends_all_the_same(
    grace: int, signals: int, arguments: list[str], tmp_path: Path
) -> None:
    port, name = free_port(), tmp_path / "socket"
    bind = ["--bind", str(port), "--bind", f"unix:{name}"]
    options = ["--app-dir", HERE, *bind, "--grace", str(grace), *arguments]
    log = {"E2E_LOG": f"sqlite:///{tmp_path}/events.db"}
    with started(tmp_path, "serve", "who_app:app", *options, environment=log) as server:
        server.says("workers serve" if arguments else "serving on http")
        threading.Thread(target=_ask, args=(port, "/swallow"), daemon=True).start()
        server.says("asked")
        for _ in range(signals):
            server.signal(signal.SIGTERM)
            server.says("draining")  # or two signals may be taken for one
        assert server.ends() == 1  # long before a grace of 60 seconds is over
        assert not name.exists()
