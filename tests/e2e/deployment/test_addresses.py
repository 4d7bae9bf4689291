"""Where a server listens, on real sockets: names, both families, modes of Unix sockets, and identity by file."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.e2e.ports import free_port
from tests.e2e.server import START_SECONDS
from triolet import ConfigError
from triolet.cli import main
from triolet.server.listeners import close_listener
from triolet.workers.addresses import Access, address, bind, bind_all, bind_shared

from .serving import get, started

HERE = str(Path(__file__).parent)


def names(*texts: str) -> list[str]:
    listeners = bind_all(texts)
    try:
        return [listener.getsockname()[0] for listener in listeners]
    finally:
        for listener in listeners:
            close_listener(listener)


def test_a_port_alone_is_the_loopbacks() -> None:
    assert names(str(free_port())) == ["127.0.0.1"]


def test_localhost_is_both_families_on_one_port() -> None:
    assert names("localhost:0") == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("turned", [False, True])
def test_all_addresses_of_both_families_stand_side_by_side(turned: bool) -> None:
    port = free_port()
    texts = [f"0.0.0.0:{port}", f"[::]:{port}"]
    assert names(*(reversed(texts) if turned else texts)) == (["::", "0.0.0.0"] if turned else ["0.0.0.0", "::"])
    for group in bind_shared(texts, 2):
        assert len(group) == 2
        for listener in group:
            listener.close()


def test_one_of_ipv6_alone_takes_ipv4_too() -> None:
    with bind(f"[::]:{free_port()}") as listener:
        listener.listen()
        listener.settimeout(5)
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 5):
            peer, address = listener.accept()
            peer.close()
            assert address[0] == "::ffff:127.0.0.1"


@pytest.mark.parametrize(
    "text", ["x", "99999", "host:", "127.0.0.1:x", "fd://x", "fd://9999", "unix:/no/such/folder/x", "unix:"]
)
def test_what_is_no_address_is_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        bind(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://127.0.0.1:8000", "write it as host:port, without a scheme"),
        ("127.0.0.1:99999", "a port is at most 65535"),
        ("unix:@name", "to an abstract name anybody may connect"),
        (f"unix:/tmp/{'ä' * 60}", "the path of a Unix socket has at most 107 bytes"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        bind(text)


def test_an_address_of_a_link_is_bound_with_its_scope() -> None:
    with pytest.raises(ConfigError, match="Cannot assign requested address"):  # it has a scope, but is not ours
        bind("[fe80::1%lo]:0")


def test_an_address_of_a_link_is_written_with_its_scope() -> None:
    class Linked(socket.socket):
        def getsockname(self) -> tuple[str, int, int, int]:
            return "fe80::1", 80, 0, socket.if_nametoindex("lo")

    with Linked() as listener:
        assert address("http", listener) == "http://[fe80::1%lo]:80"


def test_one_unix_socket_is_not_put_in_the_place_of_another_of_the_same_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="listed twice"):
        bind_all([f"unix:{tmp_path}/x", f"unix:{tmp_path}/./x"])  # a longer one may be too long
    assert not (tmp_path / "x").exists()


def test_no_more_sockets_are_bound_than_a_worker_can_be_lent() -> None:
    with pytest.raises(ConfigError, match="cannot listen on 65 addresses: 64 are the most"):
        bind_all(["127.0.0.1:0"] * 65)


def test_an_address_that_is_taken_is_said_and_nothing_stays_bound(tmp_path: Path) -> None:
    with bind("127.0.0.1:0") as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="in use"):
            bind_all([f"unix:{tmp_path}/x", f"127.0.0.1:{port}"])
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "options",
    [["--admin", "{port}"], ["--workers", "2", "--metrics", "{port}"], ["--bind", "127.0.0.1:{port}"]],
    ids=["admin", "its old name, of two workers", "twice"],
)
def test_two_listeners_at_one_address_are_a_sentence(options: list[str], tmp_path: Path) -> None:
    port = str(free_port())
    more = [option.format(port=port) for option in options]
    with started(tmp_path, "serve", "who_app:app", "--app-dir", HERE, "--bind", port, *more) as server:
        assert server.process.wait(START_SECONDS) == 1
        assert re.search(
            rf"^triolet: cannot listen on .*{port}.* \(--bind\): Address already in use", server.said, re.MULTILINE
        )
        assert "Traceback" not in server.said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--admin", "x"], "cannot listen on 'x' (--admin): write it as host:port"),
        (["--metrics", "x"], "cannot listen on 'x' (--metrics): write it as host:port"),
        (["--bind", "x"], "cannot listen on 'x' (--bind): write it as host:port"),
        (["--uds-mode", "660"], "--uds-mode is for Unix sockets that are made here: add --bind unix:PATH, or leave"),
        (["--uds-group", "0", "--bind", "8000"], "--uds-group is for Unix sockets that are made here: add --bind"),
    ],
)
def test_the_option_is_named_that_cannot_be_followed(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "who_app:app", "--app-dir", HERE, "--workers", "1", *arguments]) == 1
    assert capsys.readouterr().err.startswith(f"triolet: {says}")


@pytest.mark.parametrize("mode", [0o660, 0o600, 0o777])
def test_a_unix_socket_has_the_mode_that_is_said(mode: int, tmp_path: Path) -> None:
    (listener,) = bind_all([f"unix:{tmp_path}/x"], Access(mode, str(os.getgid())))
    found = (tmp_path / "x").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (mode, os.getgid())
    close_listener(listener)
    assert not (tmp_path / "x").exists()


def test_a_group_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no group 'nobody-has-this' on this machine: give another --uds-group"):
        bind_all([f"unix:{tmp_path}/x"], Access(group="nobody-has-this"))


def test_of_two_servers_that_start_on_one_unix_name_the_first_has_it(tmp_path: Path) -> None:
    first = bind(f"unix:{tmp_path}/x")
    with pytest.raises(ConfigError, match=r"/x' \(--bind\): Address already in use"):
        bind(f"unix:{tmp_path}/x")
    first.listen()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/x")
    close_listener(first)
    assert list(tmp_path.iterdir()) == []


def test_a_unix_name_that_a_dead_server_has_left_is_taken(tmp_path: Path) -> None:
    dies = "from triolet.workers.addresses import bind; import os, sys; bind(sys.argv[1]); os._exit(0)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", dies, f"unix:{tmp_path}/x"], check=True)
    assert (tmp_path / "x").exists()
    close_listener(bind(f"unix:{tmp_path}/x"))
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_was_put_there_anew_is_not_taken_away(tmp_path: Path) -> None:
    first = bind(f"unix:{tmp_path}/x")
    os.unlink(tmp_path / "x")
    second = bind(f"unix:{tmp_path}/x")
    close_listener(first)
    assert (tmp_path / "x").exists()
    close_listener(second)
    assert not (tmp_path / "x").exists()


def test_a_proxys_word_is_taken_where_it_is_listed(tmp_path: Path) -> None:
    said = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    for listed, expected in (("127.0.0.1", ("203.0.113.7", "https", "shop.example")), ("10.0.0.1", None)):
        port = free_port()
        options = ["--app-dir", HERE, "--bind", str(port), "--forwarded-allow-ips", listed, "--access-log"]
        with started(tmp_path, "serve", "who_app:app", *options) as server:
            server.says("serving on")
            who = json.loads(get(("127.0.0.1", port), "/who?ticket=secret", headers=said)[1])
            assert (who["client"], who["scheme"], who["host"]) == (expected or ("127.0.0.1", "http", "inner"))
            page = {"Accept": "text/event-stream", "Cookie": "a=b", "Origin": "https://shop.example"}
            status = _status(port, "/c/x", {**page, **said})
            assert status == (200 if expected else 403), "the Origin is compared with what the proxy says"
            server.says('"GET /who" 200')
            assert "secret" not in server.said


def _status(port: int, path: str, headers: dict[str, str]) -> int:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: inner\r\n{lines}\r\n".encode())
        return int(client.recv(15).split()[1])


@pytest.mark.parametrize("path", ["/who", "/shop/who"])
def test_a_prefix_may_be_stripped_or_not(path: str, tmp_path: Path) -> None:
    port = free_port()
    options = ["--app-dir", HERE, "--bind", str(port), "--root-path", "/shop"]
    with started(tmp_path, "serve", "who_app:app", *options) as server:
        server.says("serving on")
        assert json.loads(get(("127.0.0.1", port), path)[1])["url"] == "/shop/who"
        assert get(("127.0.0.1", port), path.replace("who", "c/x"))[0] == 200


def test_a_proxy_header_is_what_a_connection_begins_with(tmp_path: Path) -> None:
    port = free_port()
    with started(
        tmp_path, "serve", "who_app:app", "--app-dir", HERE, "--bind", str(port), "--proxy-protocol"
    ) as server:
        server.says("serving on")
        first = b"PROXY TCP4 203.0.113.9 10.0.0.1 5 6\r\n"
        assert json.loads(get(("127.0.0.1", port), "/who", first=first)[1])["client"] == "203.0.113.9"
        assert get(("127.0.0.1", port), "/who")[0] == 0


def test_a_handlers_crash_says_message_and_place_in_one_line(tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path, "serve", "who_app:app", "--app-dir", HERE, "--bind", str(port)) as server:
        server.says("serving on")
        with connect(f"ws://127.0.0.1:{port}/crash") as client, suppress(ConnectionClosed):
            while True:
                client.recv(10)
        server.says("ValueError at who_app.py:")
        (line,) = (line for line in server.said.splitlines() if "ValueError at who_app.py" in line)
        assert "a bug\\nin a handler" in line
