"""What the page on databases says of a library that runs on asyncio alone: by itself, and with PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from socket import create_connection

import pytest
import trio

from tests.test_docs import load

from .needs import needs, program
from .ports import free_port
from .server import serving, wait_for

FOLDER = Path(__file__).parents[2] / "docs" / "how-to" / "databases"


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of a database of this test's own. PostgreSQL refuses to be run by root."""
    pytest.importorskip("asyncpg", reason="pip install asyncpg")
    binaries = Path(program("postgres")).resolve().parent
    user = "nobody" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if user:
            shutil.chown(folder, user)
        data, port = folder / "data", free_port()
        subprocess.run(
            [binaries / "initdb", "-D", data, "-A", "trust", "-U", "shop", "--no-sync"],
            user=user, cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={folder}"]
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), *settings],
            user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(lambda: is_there(port), "PostgreSQL", 60)
            yield f"postgresql://shop@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_there(port: int) -> bool:
    try:
        with closing(create_connection(("127.0.0.1", port), 1)):
            return True
    except OSError:
        return False


@needs("postgres")
def test_an_app_on_trio_asks_a_driver_of_asyncios(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    for name in ("asyncio_thread.py", "asyncpg_app.py"):
        shutil.copy(FOLDER / name, tmp_path)
    with serving(tmp_path, "asyncpg_app:app") as server:
        server.request("POST", "/orders/A123/paid")
        server.request("POST", "/orders/A123/packed")
        assert server.request("GET", "/orders/A123") == {"state": "packed"}
        events = server.request("GET", "/orders/A123/events?after=0")["events"]
        assert [event["data"]["state"] for event in events] == ["paid", "packed"]
        assert not server.crashes()


async def test_what_is_called_over_there_comes_back_fails_or_is_cancelled() -> None:
    aio = load("asyncio_thread", "databases").AsyncioThread()
    over: list[str] = []

    async def add(one: int, two: int) -> int:
        await asyncio.sleep(0)
        return one + two

    async def fail() -> None:
        raise LookupError("over there")

    async def wait(begun: Callable[[], object]) -> None:
        try:
            begun()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            over.append("cancelled")
            raise

    async with trio.open_nursery() as nursery:
        await nursery.start(aio.run)
        assert await aio.call(add, 1, 2) == 3
        with pytest.raises(LookupError, match="over there"):
            await aio.call(fail)
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            await aio.call(wait, lambda: token.run_sync_soon(scope.cancel))
        assert scope.cancelled_caught
        assert await aio.call(add, 3, 4) == 7
        assert over == ["cancelled"]
        nursery.cancel_scope.cancel()
