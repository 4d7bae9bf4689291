"""Whose pages may follow: the own origin and no other, refused before anything is opened, on every transport."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest

from ..raw import Wire, http, statuses, upgrade
from ..server import Server, serving, wait_for

FOREIGN = [
    "null",
    "http://evil.example",
    "https://{host}",
    "http://{host}.evil.example",
    "http://evil.example:{port}",
    "http://evil{host}",
    "http://127.0.0.1",
    "http://127.0.0.1:{next}",
    "http://localhost:{port}",
    "http://LOCALHOST:{port}",
    "http://[::1]:{port}",
    "http://0.0.0.0:{port}",
    "http://127.1:{port}",
    "http://2130706433:{port}",
    "http://{host}/",
    "http://{host}/path",
    "http://{host}?",
    "http://{host}#",
    "http://user@{host}",
    "http://{host}@evil.example",
    "http://evil.example\\@{host}",
    "http://xn--127-1q5a.0.0.1:{port}",
    "http://127.0.0.1.:{port}",
    "http://{host}, http://evil.example",
    "http://{host} http://{host}",
    "file://",
    "chrome-extension://abcdefghijklmnop",
    "ws://{host}",
    "//{host}",
    "{host}",
    "*",
    "",
    "http://127.0.0.1:0{port}",
]
ASKING = {
    "socket": lambda origin, host: upgrade("/talk", f"Origin: {origin}", host=host),
    "raw socket": lambda origin, host: upgrade("/echo", f"Origin: {origin}", host=host),
    "channel": lambda origin, host: upgrade("/c/x/events", f"Origin: {origin}", host=host),
    "stream": lambda origin, host: http(
        "/c/x/events", f"Origin: {origin}", "Accept: text/event-stream", "Cookie: session=x", host=host
    ),
    "long poll": lambda origin, host: http("/c/x/events?wait=0.1", f"Origin: {origin}", "Cookie: session=x", host=host),
    "short poll": lambda origin, host: http("/c/x/events", f"Origin: {origin}", "Cookie: session=x", host=host),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("origins")) as server:
        yield server
        assert not server.crashes()


def ask(server: Server, how: str, origin: str) -> tuple[int, bytes]:
    """Ask from a page of an origin; return the status, and the body where one was announced."""
    with Wire(server.address) as wire:
        wire.send(ASKING[how](origin, f"127.0.0.1:{server.port}"))
        head = wire.receive_until(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        wait_for(lambda: len(wire.received) >= (int(length[1]) if length else 0) or not wire.receive(1), "the body")
        return statuses(head)[0], wire.received


@pytest.mark.parametrize("how", ASKING)
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_origin_is_refused(server: Server, how: str, origin: str) -> None:
    host = f"127.0.0.1:{server.port}"
    status, body = ask(server, how, origin.format(host=host, port=server.port, next=server.port + 1))
    assert status == 403
    assert json.loads(body)["error"] == "origin"


@pytest.mark.parametrize("how", ASKING)
def test_a_page_of_ours_is_welcome(server: Server, how: str) -> None:
    status, _ = ask(server, how, f"http://127.0.0.1:{server.port}")
    assert status in (200, 101)


@pytest.mark.parametrize("how", ASKING)
def test_two_origins_are_none(server: Server, how: str) -> None:
    own = f"http://127.0.0.1:{server.port}"
    status, _ = ask(server, how, f"{own}\r\nOrigin: http://evil.example")
    assert status in (400, 403)


def test_a_refused_origin_opens_nothing(server: Server) -> None:
    before = len(os.listdir(f"/proc/{server.pid}/fd"))
    for _ in range(50):
        status, _ = ask(server, "socket", "http://evil.example")
        assert status == 403
    wait_for(lambda: server.descriptors() <= before + 1, "no more than before")
