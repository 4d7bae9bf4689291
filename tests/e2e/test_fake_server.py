"""The fake server of the npm package is as the real one: a page hears the same of both, on every way, word by word."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browser import open_browser
from .needs import needs, program
from .redis.servers import RedisServer
from .server import Server, serving

pytestmark = needs("node", "npm:ws", "redis-server", "redis-cli")

HERE = Path(__file__).parent
SCENES = HERE / "script" / "twins.mjs"
SECONDS = 200.0
"""The upper bound of all scenes on one server."""

WAYS = ("websocket", "socket", "sse", "long-poll", "poll", "shared sse", "wire")


class Twin:
    """The real server, and another one whose log can lose its newest events: with what the scenes ask to be done."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "events.db"
        self._redis = RedisServer(directory / "redis")
        self._dump = self._redis.folder / "dump.rdb"
        self.server = Server(directory, "twin_app:app", log="sqlite:///events.db")
        self.losing = Server(directory, "twin_app:app", log=self._redis.url)

    def start(self) -> None:
        self._redis.start()
        self.server.start()
        self.losing.start()

    def do(self, asked: str | int) -> None:
        """``"backup"``; or what is lost with a restart: nothing, ``"all"``, or what came since the backup."""
        if asked == "backup":
            self._redis.ask("SAVE")
            shutil.copy(self._dump, self._redis.folder / "backup.rdb")
        elif asked in (0, "all"):
            end(self.server)
            for path in self._log.parent.glob(f"{self._log.name}*") if asked else ():
                path.unlink()
            self.server.start()
        else:
            end(self.losing)
            self._redis.stop()
            shutil.copy(self._redis.folder / "backup.rdb", self._dump)
            self._redis.start()
            self.losing.start()

    def kill(self) -> None:
        for one in (self.server, self.losing):
            one.kill()
        self._redis.stop()


def end(server: Server) -> None:
    """End it as an operator does. It has to have had no trouble, but for the states that fail as the scenes want it."""
    assert server.terminate() == 0, server.log[-4000:]
    assert not [line for line in server.crashes() if not line.endswith("no state now")]


def played(twin: Twin | None = None) -> dict[str, Any]:
    """What is heard in each scene on each way; without a twin of the fake server."""
    where = ["fake"] if twin is None else [twin.server.url, twin.losing.url]
    process = subprocess.Popen(
        [program("node"), str(SCENES), *where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    late = threading.Timer(SECONDS, process.kill)
    late.start()
    try:
        for line in process.stdout:
            said = json.loads(line)
            if "heard" in said:
                heard: dict[str, Any] = said["heard"]
                return heard
            assert twin is not None
            twin.do(said["ask"])
            process.stdin.write("{}\n")
            process.stdin.flush()
        raise AssertionError("the scenes have ended without a word")
    finally:
        late.cancel()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture(scope="module")
def fake() -> dict[str, Any]:
    return played()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    twin = Twin(tmp_path_factory.mktemp("twin"))
    try:
        twin.start()
        yield played(twin)
        end(twin.server)
        end(twin.losing)
    finally:
        twin.kill()


def on_the_way(heard: dict[str, Any], way: str) -> dict[str, Any]:
    return {name: notes for name, notes in sorted(heard.items()) if name.endswith(f"({way})")}


@pytest.mark.parametrize("way", WAYS)
def test_a_page_hears_the_same_of_the_fake_server(fake: dict[str, Any], real: dict[str, Any], way: str) -> None:
    expected = on_the_way(real, way)
    assert len(expected) >= 9
    assert not {name: notes["error"] for name, notes in expected.items() if "error" in notes}
    assert on_the_way(fake, way) == expected


@needs("chromium")
def test_the_fake_server_is_one_in_a_browser_too(tmp_path: Path) -> None:
    """Where test runners use one: of its network and its timers nothing is taken."""
    script = """(async () => {
        const {connect} = await import("/triolet/triolet.js");
        const {fakeServer} = await import("/triolet/fake.js");
        const server = fakeServer();
        const heard = [];
        for (const way of ["websocket", "sse", "long-poll", "poll"]) {
            const live = connect("https://nowhere.test", {...server.options, transports: [way]});
            server.channel("/orders");
            live.follow("/orders").on("event", ({data}) => heard.push([way, data]));
            await server.settle();
            server.drop();
            server.publish("/orders", way);
            await server.advance(60_000);
            live.close();
        }
        server.close();
        return heard;
    })()"""
    with serving(tmp_path) as server, open_browser() as browser, browser.page(f"{server.url}/") as page:
        assert page.evaluate(script) == [[way, way] for way in ("websocket", "sse", "long-poll", "poll")]
