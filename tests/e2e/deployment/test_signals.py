"""Signals at any moment: while the app is imported, twice, and to an app that does not want to end."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.server import free_port

from .serving import get, started

HERE = str(Path(__file__).parent)
SLOW = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
DEAF = """import time
print('importing', flush=True)
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
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


def test_sighup_to_one_process_drains(tmp_path: Path) -> None:
    with started(tmp_path, "serve", "who_app:app", "--app-dir", HERE, "--bind", str(free_port())) as server:
        server.says("serving on")
        server.signal(signal.SIGHUP)
        assert server.ends() == 0
        assert "draining" in server.said


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
        asked = threading.Thread(target=get, args=(("127.0.0.1", port), "/swallow"), daemon=True)
        asked.start()
        server.says("asked")
        start = time.monotonic()
        for _ in range(signals):
            server.signal(signal.SIGTERM)
            time.sleep(0.3)
        assert server.ends() == 1
        assert time.monotonic() - start < 10
        assert not name.exists()
