"""The documented nginx, haproxy and Caddy before a real server: the client they tell of, and what idles between."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.e2e.needs import needs, program
from tests.e2e.ports import free_port
from tests.e2e.server import wait_for
from tests.e2e.test_documented_nginx import AROUND
from tests.pages import kept

from ..clients import hear
from .serving import Command, get, started

HERE = Path(__file__).parent
DOCS = kept("serving")
FRONTS = [pytest.param(kind, marks=needs(kind)) for kind in ("nginx", "haproxy", "caddy")]
ASKED = 8
OLD_KEEP_ALIVE_SECONDS = 5.5
"""A little longer than the server once kept an idle connection: a proxy that took it for open was told 502."""


@contextmanager
def front(kind: str, port: int, folder: Path, config: str = "nginx.conf") -> Iterator[int]:
    """Run a proxy as it is documented, before a server on a port, and give its own port."""
    own = free_port()
    command = {"nginx": _nginx, "haproxy": _haproxy, "caddy": _caddy}[kind](own, port, folder, config)
    with (folder / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={"HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        )
    try:
        wait_for(lambda: _answers(own), f"{kind}: {(folder / f'{kind}.log').read_text()}")
        yield own
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with suppress(OSError):
        return get(("127.0.0.1", port), "/who")[0] in (200, 404)
    return False


def _nginx(own: int, port: int, folder: Path, config: str) -> list[str]:
    text = (DOCS / config).read_text(encoding="utf-8").replace("listen 80;", f"listen 127.0.0.1:{own};")
    file = folder / "nginx.conf"
    file.write_text(AROUND.format(folder=folder, documented=text.replace("127.0.0.1:8000;", f"127.0.0.1:{port};")))
    return [program("nginx"), "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(file)]


def _haproxy(own: int, port: int, folder: Path, _: str) -> list[str]:
    text = (DOCS / "haproxy.cfg").read_text(encoding="utf-8").replace("bind :80", f"bind 127.0.0.1:{own}")
    lines = [line for line in text.splitlines() if not line.strip().startswith(("server two", "option httpchk"))]
    text = "\n".join([*lines, ""]).replace("127.0.0.1:8001 port 9101", f"127.0.0.1:{port}")
    (folder / "haproxy.cfg").write_text(text)
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def _caddy(own: int, port: int, folder: Path, _: str) -> list[str]:
    text = (DOCS / "Caddyfile").read_text(encoding="utf-8").replace("shop.example {", f"http://127.0.0.1:{own} {{")
    text = "{\n\tadmin off\n\tauto_https off\n}\n" + text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    text = text.replace(f"http://127.0.0.1:{own}", f"http://:{own}", 1)
    (folder / "Caddyfile").write_text(text.replace(f"http://:{own} {{", f"http://:{own} {{\n\tbind 127.0.0.1", 1))
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Command, int]]:
    port = free_port()
    options = ["--app-dir", str(HERE), "--bind", str(port), "--forwarded-allow-ips", "127.0.0.1"]
    with started(tmp_path, "serve", "who_app:app", *options) as running:
        running.says("serving on")
        yield running, port


@pytest.mark.parametrize("kind", FRONTS)
def test_what_idles_between_a_proxy_and_the_server_is_still_good(
    kind: str, server: tuple[Command, int], tmp_path: Path
) -> None:
    with front(kind, server[1], tmp_path) as port:
        for _ in range(2):
            assert [get(("127.0.0.1", port), "/who")[0] for _ in range(ASKED)] == [200] * ASKED
            time.sleep(OLD_KEEP_ALIVE_SECONDS)
        assert [get(("127.0.0.1", port), "/who")[0] for _ in range(ASKED)] == [200] * ASKED


@pytest.mark.parametrize("kind", FRONTS)
def test_the_client_is_the_proxys_and_not_what_the_client_says(
    kind: str, server: tuple[Command, int], tmp_path: Path
) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example"}
    with front(kind, server[1], tmp_path) as port:
        status, body = get(("127.0.0.1", port), "/who", headers=forged)
        who = json.loads(body)
        assert status == 200
        assert (who["scheme"], who["host"], who["url"]) == ("http", "inner", "/who")
        assert who["client"] in ("127.0.0.1", "6.6.6.6"), "the proxy itself is listed, and so the chain goes on"


@pytest.mark.parametrize("kind", FRONTS)
def test_a_websocket_gets_through(kind: str, server: tuple[Command, int], tmp_path: Path) -> None:
    with front(kind, server[1], tmp_path) as port, connect(f"ws://127.0.0.1:{port}/c/x") as client:
        assert [hear(client)["type"] for _ in range(2)] == ["open", "live"]


@needs("nginx")
def test_below_a_path_that_nginx_strips_urls_are_right(server: tuple[Command, int], tmp_path: Path) -> None:
    with front("nginx", server[1], tmp_path, "nginx-below.conf") as port:
        assert json.loads(get(("127.0.0.1", port), "/live/who")[1])["url"] == "/live/who"
        assert get(("127.0.0.1", port), "/live/c/x")[0] == 200
        with connect(f"ws://127.0.0.1:{port}/live/follows") as client:
            assert hear(client)["type"] == "open"
            for channel, url in (("a", "/live/c/a"), ("b", "/c/b")):
                client.send(json.dumps({"type": "follow", "url": url}))
                told = [hear(client) for _ in range(2)]
                assert [(message["type"], message["channel"]) for message in told] == [
                    ("open", channel),
                    ("live", channel),
                ]
