"""The access log has a line for each answer, those to what was no request among them, and nothing of what that was."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import pytest

from tests.e2e.certificate import make_certificate
from tests.e2e.ports import free_port
from tests.e2e.server import wait_for

from .serving import Command, started

HERE = str(Path(__file__).parent)

BEFORE = b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n"
REFUSED = {
    "no HTTP": (b"SECRET \x1b[31m\x00\r\n\r\n", 400),
    "TLS to a plain port": (b"\x16\x03\x01\x00\x05SECRET\r\n\r\n", 400),
    "a forged line": (b"GET /\x85SECRET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two lengths": (b"POST /SECRET HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "a head that is too large": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"SECRET" * 20_000, 431),
    "a body that is too large": (
        b"POST /who HTTP/1.1\r\nHost: a\r\nX: SECRET\r\nContent-Length: 99999999999\r\n\r\n",
        413,
    ),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Command, int]]:
    """A server for all that is no request, and its port. The lines of a client are its own: each test waits for its."""
    port = free_port()
    options = ["--app-dir", HERE, "--bind", str(port), "--access-log"]
    with started(tmp_path_factory.mktemp("plain"), "serve", "who_app:app", *options) as server:
        server.says("serving on")
        yield server, port


@pytest.mark.parametrize("before", [b"", BEFORE], ids=["first", "later"])
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_request_is_one_line_without_what_it_was(
    what: str, before: bytes, plain: tuple[Command, int]
) -> None:
    data, status = REFUSED[what]
    server, port = plain
    said_before = len(server.said)

    def says(words: str) -> None:
        wait_for(lambda: words in server.said[said_before:], words)

    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(before + data)
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk
    assert b"HTTP/1.1 %d " % status in answer
    says(f'INFO triolet.access 127.0.0.1 "-" {status} 0.000')
    if before:  # the line of an app's answer is written when its task has ended, which may be later
        says('"GET /who')
    lines = [line for line in server.said[said_before:].splitlines() if "triolet.access" in line]
    assert len(lines) == (2 if before else 1)
    assert "SECRET" not in server.said


def test_a_request_over_http_2_that_is_refused_is_a_line_too(tmp_path: Path) -> None:
    port = free_port()
    options = ["--bind", str(port), "--access-log", "--http2", *make_certificate(tmp_path)]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with started(tmp_path, "serve", "who_app:app", "--app-dir", HERE, *options) as server:
        server.says("serving on")
        with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as client:
            config = h2.config.H2Configuration(validate_outbound_headers=False)
            asking = h2.connection.H2Connection(config)
            asking.initiate_connection()
            pseudo = [(":method", "GET"), (":path", "SECRET"), (":scheme", "https"), (":authority", "a")]
            asking.send_headers(1, pseudo, end_stream=True)
            client.sendall(asking.data_to_send())
            server.says('INFO triolet.access 127.0.0.1 "-" 400 0.000')
        assert "SECRET" not in server.said
