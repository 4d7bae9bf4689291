"""An app below a path of nginx's, which passes it on or takes it off: found, and followed by URLs of both forms."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from .needs import needs, program
from .ports import free_port
from .server import Server, serving, wait_for
from .test_documented_nginx import AROUND

pytestmark = needs("nginx")

BELOW = """
map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
server {{
    listen 127.0.0.1:{port};
    location /shop/ {{
        proxy_pass http://127.0.0.1:{server}{slash};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_buffering off;
    }}
}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), arguments=["--root-path", "/shop"]) as server:
        yield server


@pytest.fixture(scope="module", params=["passed on", "taken off"])
def front(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app's URL at nginx."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    slash = "/" if request.param == "taken off" else ""
    file = folder / "nginx.conf"
    text = BELOW.format(port=port, server=server.port, slash=slash)
    file.write_text(AROUND.format(folder=folder, documented=text))
    command = [program("nginx"), "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(file)]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}/shop"
    try:
        wait_for(lambda: _answers(url), "nginx to answer")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/").status_code == 200
    except httpx.TransportError:
        return False


def test_polls_streams_and_the_script_are_found_below_the_path(front: str) -> None:
    assert httpx.get(f"{front}/c/x/events").status_code == 200
    assert httpx.get(f"{front}/triolet/triolet.js").status_code == 200
    with httpx.stream("GET", f"{front}/c/x/events", headers={"accept": "text/event-stream"}) as stream:
        assert stream.status_code == 200
    assert httpx.get(f"{front}/none").status_code == 404


def test_a_client_follows_by_a_url_as_the_browser_knows_it_and_as_the_app_does(server: Server, front: str) -> None:
    with connect(f"ws{front.removeprefix('http')}/talk") as socket:
        for number, url in enumerate(("/shop/c/a/events", "/c/b/events")):
            socket.send(json.dumps({"type": "follow", "url": url}))
            wait_for(lambda: json.loads(socket.recv(10)).get("url") == url, "to be let in")  # noqa: B023 - called before the next turn
            cursor = server.publish("ab"[number], 1)
            wait_for(lambda: json.loads(socket.recv(10)).get("id") == cursor, "the event")  # noqa: B023 - the same
