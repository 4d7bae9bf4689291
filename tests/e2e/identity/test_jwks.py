"""Keys of a real URL: by TLS and without, from a server that is as it should be, and from one that is not."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.identity.issuer import EDWARDS, jwk, jwks, token
from tests.identity.test_jwt import kind_of, shop
from triolet.identity.bounds import JWKS_BYTES

from ..certificate import make_certificate

KEYS = jwks(jwk("EdDSA", EDWARDS, kid="one"))
Answer = Callable[[BaseHTTPRequestHandler], None]


class Host:
    """A server of keys, that says at each path what that path is for."""

    def __init__(self, **answers: Answer) -> None:
        self.asked: list[str] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host.asked.append(self.path)
                with suppress(OSError):  # the client has heard enough
                    answers[self.path.strip("/")](self)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = False  # all have ended when it has

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a handshake that the client broke off

        self.server = Quiet(("127.0.0.1", 0), Handler)

    @contextmanager
    def running(self) -> Iterator[str]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{self.server.server_port}"
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


def say(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def say_for_ever(request: BaseHTTPRequestHandler) -> None:
    say(b"", content_length=str(1 << 40))(request)
    while True:
        request.wfile.write(b" " * 65_536)


def say_slowly(request: BaseHTTPRequestHandler) -> None:
    say(b"{", content_length=str(1 << 20))(request)
    while True:  # until the client goes: a byte so often that no wait for the next one is long
        request.wfile.write(b" ")
        time.sleep(0.1)


def ask(url: str) -> str:
    """What a good token is told whose key is there, where it is fetched."""

    async def main() -> str:
        with trio.fail_after(30):
            return await kind_of(shop(keys=url), token(head={"kid": "one"}))

    return trio.run(main)


def test_keys_come_from_a_url() -> None:
    host = Host(jwks=say(KEYS))
    with host.running() as address:
        assert ask(f"http://{address}/jwks") == "ok"
    assert host.asked == ["/jwks"]


def test_a_redirect_is_followed_on_the_same_host_alone() -> None:
    other = Host(jwks=say(KEYS))
    with other.running() as elsewhere:
        host = Host(
            jwks=say(KEYS),
            near=say(b"", 302, location="/jwks"),
            far=say(b"", 307, location=f"http://{elsewhere}/jwks"),
            name=say(b"", 301, location=f"//localhost:{elsewhere.rpartition(':')[2]}/jwks"),
            file=say(b"", 302, location="file:///etc/passwd"),
            none=say(b"", 302, location="http://[x"),
            round=say(b"", 302, location="/round"),
        )
        with host.running() as address:
            assert ask(f"http://{address}/near") == "ok"
            for path in ("far", "name", "file", "none", "round"):
                assert ask(f"http://{address}/{path}") == "keys_away", path
    assert other.asked == []
    assert host.asked.count("/round") == 4


def test_a_server_that_is_not_as_it_should_be_is_away(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(
        missing=say(b"CANARY", 404),
        broken=say(b"CANARY", 500),
        moved=say(b"", 304),
        large=say(b"x" * (JWKS_BYTES + 1)),
        endless=say_for_ever,
        compressed=say(KEYS, content_encoding="gzip"),
        page=say(b"<html>CANARY</html>"),
        short=say(KEYS, content_length=str(len(KEYS) + 1)),
    )
    with host.running() as address:
        for path in ("missing", "broken", "moved", "large", "endless", "compressed", "page", "short"):
            assert ask(f"http://{address}/{path}") == "keys_away", path
    assert "it answers 404" in caplog.text
    assert caplog.text.count(f"it answers more than {JWKS_BYTES} bytes") == 2  # the endless one is not read on
    assert "CANARY" not in caplog.text


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triolet.identity.url_keys.JWKS_SECONDS", 1)
    host = Host(slow=say_slowly)
    with host.running() as address:
        assert ask(f"http://{address}/slow") == "keys_away"
    assert "no answer in 1 s" in caplog.text


def test_nobody_there_is_away() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        assert ask(f"http://127.0.0.1:{taken.getsockname()[1]}/jwks") == "keys_away"


def test_a_certificate_has_to_be_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, certificate, _, key = make_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    host = Host(jwks=say(KEYS))
    host.server.socket = tls.wrap_socket(host.server.socket, server_side=True)
    with host.running() as address:
        assert ask(f"https://{address}/jwks") == "keys_away"
        assert host.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        assert ask(f"https://{address}/jwks") == "ok"
        assert ask(f"https://{address.replace('127.0.0.1', '127.0.0.2')}/jwks") == "keys_away"
