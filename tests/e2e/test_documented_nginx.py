"""The documented nginx configuration in front of a real server: what the table of paths leaves open."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.pages import kept

from .clients import hear
from .needs import needs, program
from .ports import free_port
from .server import Server, serving, wait_for

pytestmark = needs("nginx")

DOCUMENTED = kept("serving") / "nginx.conf"

AROUND = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
access_log off;
client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{documented}
}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def front(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nginx's URL; only the two ports are other ones than in the documentation."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    text = DOCUMENTED.read_text(encoding="utf-8")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    text = text.replace("127.0.0.1:8000;", f"127.0.0.1:{server.port};")
    file = folder / "nginx.conf"
    file.write_text(AROUND.format(folder=folder, documented=text))
    command = [program("nginx"), "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(file)]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(url, process, folder), "nginx to answer")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str, process: subprocess.Popen[bytes], folder: Path) -> bool:
    assert process.poll() is None, (folder / "output").read_text() + (folder / "start.log").read_text()
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_a_websocket_gets_through_and_hears_an_event(server: Server, front: str) -> None:
    # The browser's own Origin: host and port must reach the server as the browser knows them.
    with connect(f"ws{front.removeprefix('http')}/c/ws/events", origin=Origin(front)) as socket:
        assert [hear(socket)["type"] for _ in range(2)] == ["open", "live"]
        cursor = server.publish("ws", 1)
        assert hear(socket)["id"] == cursor


def test_a_short_poll_is_not_answered_twice(server: Server, front: str) -> None:
    server.publish("short", 1)
    first = httpx.get(f"{front}/c/short/events", params={"after": "0"})
    again = httpx.get(
        f"{front}/c/short/events", params={"after": "0"}, headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (first.status_code, again.status_code) == (200, 304)


@pytest.mark.parametrize(("channel", "status"), [("forbidden", 403), ("absent", 404)])
def test_a_websocket_that_is_refused_hears_the_apps_own_status_and_words(front: str, channel: str, status: int) -> None:
    # Again and again: nginx keeps its connections to the server, and a refused one must not spoil the next request.
    for _ in range(5):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws{front.removeprefix('http')}/c/{channel}/events", origin=Origin(front))
        said = refused.value.response
        page = httpx.get(f"{front}/c/{channel}/events")
        assert (said.status_code, page.status_code) == (status, status)
        assert said.body == page.content != b""


def test_a_websocket_of_another_origin_hears_why(front: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws{front.removeprefix('http')}/c/ws/events", origin=Origin("https://elsewhere.example"))
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body or b"")["error"] == "origin"
