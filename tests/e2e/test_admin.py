"""The operator's listener of a server with two workers, asked as an operator does: with curl, and a key."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.shop import make_shop
from triolet import ConfigError
from triolet.admin.alone import Alone
from triolet.admin.guard import Key, guard_of
from triolet.admin.listener import Office, serve_admin
from triolet.server.listeners import close_listener
from triolet.server.settings import Settings
from triolet.server.worker import Worker
from triolet.workers.addresses import bind_admin

from .clients import CurlStream
from .needs import needs
from .server import Server, wait_for
from .workers import Workers

KEY, NEXT = "k" * 32, "n" * 32


class Operated(Workers):
    """Two workers, and their operator's key in a file."""

    def __init__(self, directory: Path) -> None:
        self.key_file = directory / "key"
        self.key_file.write_text(f"{KEY}\n")
        self.key = KEY
        super().__init__(directory, arguments=["--admin-key-file", str(self.key_file)])

    def curl(self, path: str, *arguments: str, body: bytes = b"") -> tuple[int, Any]:
        """Ask with curl, as the documentation does: the status, and the body."""
        url = f"http://127.0.0.1:{self.operators_port}{path}"
        bearer = f"Authorization: Bearer {self.key}"
        command = ["curl", "-sS", "-w", "\n%{http_code}", "-H", bearer, *arguments, url]
        done = subprocess.run(command, input=body, capture_output=True, check=True)
        text, _, status = done.stdout.rpartition(b"\n")
        return int(status), json.loads(text) if text.startswith(b"{") else text.decode()

    def post(self, path: str, body: Any, kind: str = "application/json") -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.curl(path, "-H", f"Content-Type: {kind}", "--data-binary", "@-", body=data)

    def operator(self, path: str) -> tuple[int, str]:
        return self.curl(path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    operated = Operated(tmp_path_factory.mktemp("admin"))
    operated.start()
    try:
        yield operated
        assert operated.terminate() == 0, operated.log[-4000:]
    finally:
        operated.kill()


def followers_of_both(server: Operated, stack: ExitStack, channel: str) -> list[CurlStream]:
    """Clients of a channel, some at each worker."""
    clients = []
    for _ in range(8):
        client = CurlStream(f"{server.url}/c/{channel}/events")
        stack.callback(client.cut)
        client.hears("live")
        clients.append(client)
    return clients


@needs("curl")
def test_all_workers_are_one_to_their_operator(server: Operated) -> None:
    with ExitStack() as stack:
        clients = followers_of_both(server, stack, "all")
        status, told = server.post("/publish", {"channel": "c/all", "data": {"n": 1}, "dedupe": "once"})
        assert status == 200
        assert server.post("/publish", {"channel": "c/all", "data": {"n": 1}, "dedupe": "once"}) == (200, told)
        lines = b"".join(b'{"data":{"n":%d}}\n' % number for number in range(2, 6))
        assert server.post("/publish?channel=c/all", lines, "application/x-ndjson")[0] == 200
        wait_for(lambda: all(len(client.events) == 5 for client in clients), "five events, once each")
        assert [event["data"]["n"] for event in server.curl("/history?channel=c/all")[1]["events"]] == [1, 2, 3, 4, 5]

        _, seen = server.curl("/connections?channel=c/all")
        assert (seen["total"], seen["silent"]) == (8, [])
        assert {one["worker"] for one in seen["connections"]} <= {0, 1}
        for one in seen["connections"]:
            explained = server.curl(f"/explain/{one['id']}")[1]["explanations"]
            assert one["worker"] in [explanation["worker"] for explanation in explained]
        assert server.metrics()['triolet_worker_answers{worker="1"}'] == 1

        assert server.post("/revoke", {"channel": "c/all"}) == (200, {"told": True, "workers": [0, 1], "silent": []})
        for client in clients:
            assert client.hears("bye")[0]["code"] == 4403


@needs("curl")
def test_ten_thousand_lines_are_published_together_or_not_at_all(server: Operated) -> None:
    lines = [b'{"channel":"c%d","data":%d}' % (number % 3, number) for number in range(10_000)]
    bad = [*lines]
    bad[7_653] = b'{"channel":"c1"}'
    status, told = server.post("/publish", b"\n".join(bad), "application/x-ndjson")
    assert (status, told["line"]) == (400, 7_654)
    assert server.curl("/history?channel=c0")[1]["events"] == []
    status, told = server.post("/publish", b"\n".join(lines), "application/x-ndjson")
    assert (status, len(told["events"])) == (200, 10_000)
    assert server.curl("/history?channel=c2&limit=1")[1]["events"][0]["data"] == 9_998
    status, told = server.post("/publish", b"x" * (9 << 20), "application/x-ndjson")
    assert (status, told["error"]) == (413, "body")


@needs("curl")
def test_a_worker_that_stands_still_is_named_and_not_waited_for(server: Operated) -> None:
    victim = sorted(server.pids)[0]
    os.kill(victim, signal.SIGSTOP)
    try:
        status, told = server.curl("/connections")
        assert (status, len(told["silent"])) == (200, 1)
        [silent] = told["silent"]
        assert server.metrics()[f'triolet_worker_answers{{worker="{silent}"}}'] == 0
        assert server.curl("/explain/123456789")[0] == 503
    finally:
        os.kill(victim, signal.SIGCONT)
    wait_for(lambda: not server.curl("/connections")[1]["silent"], "both workers")


@needs("curl")
def test_a_key_that_changes_is_read_at_sighup(server: Operated) -> None:
    server.key_file.write_text(f"{NEXT}\n")
    server.restart()
    assert server.curl("/metrics")[0] == 401
    server.key = NEXT
    wait_for(server.whole, "new workers")
    assert KEY not in server.log
    assert NEXT not in server.log


# --- its address


@pytest.mark.parametrize(
    ("text", "host"), [("0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("0.0.0.0:0", None)]
)
@pytest.mark.parametrize("key", [KEY, ""])
def test_the_listener_is_the_loopbacks_and_needs_a_key_elsewhere(text: str, host: str | None, key: str) -> None:
    known = Key(None, {"TRIOLET_ADMIN_KEY": key})
    if host is None and not key:
        with pytest.raises(ConfigError, match="where anybody could publish: give --admin-key-file FILE"):
            bind_admin(text, known)
        return
    with bind_admin(text, known) as listener:
        assert listener.getsockname()[0] == (host or "0.0.0.0")


async def test_the_listener_is_a_unix_socket_which_needs_no_key_and_no_name(tmp_path: Path) -> None:
    key = Key(None, {})
    listener = bind_admin(f"unix:{tmp_path / 'admin.sock'}", key)
    try:
        async with trio.open_nursery() as nursery:
            office = Office(Alone(Worker(make_shop()[0], Settings())), guard_of(key, listener))
            nursery.start_soon(serve_admin, listener, office)
            async with await trio.open_unix_socket(str(tmp_path / "admin.sock")) as client:
                await client.send_all(b"GET /openapi.json HTTP/1.1\r\nHost: shop-admin\r\n\r\n")
                assert b"".join([bytes(part) async for part in client]).startswith(b"HTTP/1.1 200 OK\r\n")
            nursery.cancel_scope.cancel()
    finally:
        close_listener(listener)
    assert not (tmp_path / "admin.sock").exists()


@pytest.mark.parametrize("text", ["70000", "127.0.0.1", "no port", "[::1"])
def test_an_address_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        bind_admin(text, Key(None, {}))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--admin", "0.0.0.0:0"], "--admin 0.0.0.0:0 is reached from elsewhere"),
        (["--admin", "0", "--admin-key-file", "absent"], "cannot read the operator's key from 'absent'"),
        (["--admin", "0", "--admin-key-file", ""], "cannot read the operator's key from ''"),
        (["--admin-key-file", "key"], "--admin-key-file is the key for --admin: say where that listens"),
    ],
)
def test_what_is_wrong_is_one_sentence_at_the_start(options: list[str], says: str, tmp_path: Path) -> None:
    server = Server(tmp_path, arguments=options)
    done = subprocess.run(server._command, cwd=tmp_path, env=server._environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
