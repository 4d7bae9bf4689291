"""Whom the server believes about a client, and what a request's scope says then."""

from __future__ import annotations

from typing import Any

import pytest

from triolet import ConfigError
from triolet.server.forwarded import Forwarded, read_root_path, rooted

PROXY = ("10.0.0.1", 4_711)


def scope_of(
    *headers: tuple[str, str], client: Any = PROXY, kind: str = "http", scheme: str = "http"
) -> dict[str, Any]:
    return {
        "type": kind,
        "scheme": scheme,
        "client": client,
        "path": "/c/x",
        "raw_path": b"/c/x",
        "root_path": "",
        "headers": [(b"host", b"inner"), *((name.lower().encode(), value.encode()) for name, value in headers)],
    }


def seen(scope: dict[str, Any], listed: str = "10.0.0.0/8") -> tuple[str, str, str]:
    """What the app sees: the client's address, the scheme and the host."""
    Forwarded.parse(listed).apply(scope)
    client = scope["client"]
    return client[0] if client else "unix", scope["scheme"], dict(scope["headers"])[b"host"].decode()


ALL = (("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "shop.example"))


@pytest.mark.parametrize("listed", ["10.0.0.1", "10.0.0.0/8", "*", "192.0.2.1, 10.0.0.1", "unix,10.0.0.1"])
def test_a_listed_peer_is_believed(listed: str) -> None:
    assert seen(scope_of(*ALL), listed) == ("203.0.113.7", "https", "shop.example")


@pytest.mark.parametrize("listed", ["", "10.0.0.2", "192.168.0.0/16", "::/0", "unix"])
def test_nobody_else_is(listed: str) -> None:
    assert seen(scope_of(*ALL), listed) == ("10.0.0.1", "http", "inner")


@pytest.mark.parametrize(
    ("listed", "expected"), [("unix", "203.0.113.7"), ("10.0.0.0/8", "unix"), ("*", "203.0.113.7")]
)
def test_a_peer_of_a_unix_socket_has_a_name_of_its_own(listed: str, expected: str) -> None:
    assert seen(scope_of(*ALL, client=None), listed)[0] == expected


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),  # the client has sent the first itself
        ("6.6.6.6, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("10.8.8.8, 10.9.9.9", "10.8.8.8"),
        ("203.0.113.7:5123", "203.0.113.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ('fe80::1%eth0" 200 0.001', "fe80::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ('"203.0.113.7"', "203.0.113.7"),
        ("unknown", "10.0.0.1"),
        ("6.6.6.6, _hidden", "10.0.0.1"),
        ("6.6.6.6, , 10.9.9.9", "10.9.9.9"),
        ("a\r\nb", "10.0.0.1"),
    ],
)
def test_the_client_is_the_nearest_that_is_no_proxy_of_ours(chain: str, client: str) -> None:
    assert seen(scope_of(("X-Forwarded-For", chain)))[0] == client


def test_lines_of_one_header_are_one_list() -> None:
    scope = scope_of(("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.7"))
    assert seen(scope)[0] == "203.0.113.7"


@pytest.mark.parametrize(
    ("chain", "protos", "scheme"),
    [
        ("203.0.113.7", "https", "https"),
        ("203.0.113.7", "http, https", "https"),  # the first is the client's own word
        ("203.0.113.7, 10.9.9.9", "https, http", "https"),
        ("203.0.113.7, 10.9.9.9", "https", "https"),
        ("203.0.113.7", "HTTPS", "https"),
        ("203.0.113.7", "gopher", "http"),
        ("203.0.113.7", "", "http"),
    ],
)
def test_the_scheme_is_that_of_the_clients_own_request(chain: str, protos: str, scheme: str) -> None:
    assert seen(scope_of(("X-Forwarded-For", chain), ("X-Forwarded-Proto", protos)))[1] == scheme


@pytest.mark.parametrize("host", ["evil.example/x", "a b", "", "x" * 300, "a@b", "[::1", "a:port"])
def test_a_host_that_is_none_is_not_taken(host: str) -> None:
    assert seen(scope_of(("X-Forwarded-Host", host)))[2] == "inner"


def test_a_websockets_scheme_is_a_websockets() -> None:
    scope = scope_of(*ALL, kind="websocket", scheme="ws")
    assert seen(scope)[1] == "wss"


@pytest.mark.parametrize("text", ["nobody", "10.0.0.0/99", "10.0.0.1;10.0.0.2"])
def test_a_list_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        Forwarded.parse(text)


@pytest.mark.parametrize("path", ["/c/x", "/shop/c/x"])
def test_a_prefix_is_there_whether_it_was_stripped_or_not(path: str) -> None:
    scope = {**scope_of(), "root_path": "/shop", "path": path, "raw_path": path.encode()}
    scope = dict(rooted(scope))
    assert (scope["path"], scope["raw_path"]) == ("/shop/c/x", b"/shop/c/x")


def test_a_prefix_ends_at_a_slash() -> None:
    scope = {**scope_of(), "root_path": "/shop", "path": "/shopping"}
    assert rooted(scope)["path"] == "/shop/shopping"


def test_a_prefix_beyond_ascii_is_read_and_quoted() -> None:
    scope = scope_of(("X-Forwarded-Prefix", "/caf%C3%A9"))
    Forwarded.parse("10.0.0.0/8").apply(scope)
    assert scope["root_path"] == "/café"
    stripped = rooted(scope)
    assert (stripped["path"], stripped["raw_path"]) == ("/café/c/x", b"/caf%C3%A9/c/x")
    assert rooted(stripped) is stripped


@pytest.mark.parametrize(
    "prefix",
    [
        *("//x", "/x//y", "/x//", "x", "/x y", "/a?b", "/a#b", "/..", "/a/../b", "/./a", "/\\x"),
        *("/%2Fx", "/a%3Fb", "/%0d%0aX", "/%5Cx", "/%2e%2e/a", "/%ff", "/%", "/%3Cscript%3E", '/"a"'),
    ],
)
def test_a_prefix_that_is_no_path_is_not_taken(prefix: str) -> None:
    scope = scope_of(("X-Forwarded-Prefix", prefix))
    Forwarded.parse("10.0.0.0/8").apply(scope)
    assert scope["root_path"] == ""
    assert read_root_path(prefix) is None


@pytest.mark.parametrize(
    ("text", "path"),
    [("", ""), ("/", ""), ("/x", "/x"), ("/x/", "/x"), ("/a/b.c", "/a/b.c"), ("/..a", "/..a"), ("/caf%C3%A9", "/café")],
)
def test_a_root_path_has_one_form(text: str, path: str) -> None:
    assert read_root_path(text) == path


@pytest.mark.parametrize(
    ("pages", "path"),
    [
        ([], "/shop/c/x"),
        (["/c/x"], "/shop/c/x"),
        (["/c/x", "/shop/c/x"], "/shop/c/x"),
        (["/shop/c/x"], "/shop/shop/c/x"),
    ],
)
def test_whether_a_prefix_was_stripped_is_read_from_the_apps_pages(pages: list[str], path: str) -> None:
    scope = {**scope_of(), "root_path": "/shop", "path": "/shop/c/x"}
    assert rooted(scope, pages.__contains__)["path"] == path
