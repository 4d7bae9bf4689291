"""Who may ask at the operator's listener: the key, and pages of others in the operator's browser."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.shop import make_shop
from triolet import ConfigError
from triolet.admin.alone import Alone
from triolet.admin.guard import Guard, Key, is_local
from triolet.admin.listener import Office
from triolet.server.settings import Settings
from triolet.server.worker import Worker
from triolet.testing.server import serve

from .asking import KEY, ask, get, office

EVENT = {"channel": "a", "data": 1}


def worker() -> Worker:
    app, _ = make_shop()
    return Worker(app, Settings())


# --- pages of others


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "127.0.0.1:9100"}, 200),
        ({"host": "127.8.8.8"}, 200),
        ({"host": "[::1]:9100"}, 200),
        ({"host": "LOCALHOST."}, 200),
        ({"host": "shop.localhost:9100"}, 200),
        ({"origin": "http://localhost:9100", "sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"host": "attacker.example:9100"}, 421),  # a name of the page's that leads here
        ({"host": "attacker.example:9100", "origin": "http://attacker.example:9100"}, 421),
        ({"host": "127.0.0.1.attacker.example"}, 421),
        ({"host": "10.0.0.5:9100"}, 421),
        ({"origin": "https://attacker.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:8000"}, 403),  # another page of this machine
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
async def test_without_a_key_a_page_of_another_site_can_do_nothing(
    headers: dict[str, str], status: int, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        asked = office(server.worker)
        assert (await ask(asked, "POST", "/publish", EVENT, **headers)).status == status
        assert (await ask(asked, "POST", "/revoke", {"subject": "ann"}, **headers)).status == status
        assert (await get(asked, "/connections", **headers)).status == status
        assert (await live.log.head("a")).offset == (status == 200)
        assert (await get(asked, "/health/ready", **headers)).status == 200


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"],
)
async def test_a_body_that_a_form_could_send_is_not_taken(kind: str, autojump_clock: MockClock) -> None:
    for path in ("/publish", "/revoke"):
        told = await ask(office(worker()), "POST", path, b'{"channel":"a","data":1}', kind)
        assert told.status == 415
        assert "application/json" in told.json["message"]


async def test_a_page_is_let_nothing_by_a_preflight_and_shows_nothing_in_a_frame(autojump_clock: MockClock) -> None:
    asked = office(worker())
    told = await ask(asked, "OPTIONS", "/publish", origin="https://x.example", access_control_request_method="POST")
    assert told.status == 403
    for one in (told, await get(asked, "/metrics"), await get(asked, "/health/live"), await get(asked, "/nothing")):
        assert not [name for name in one.headers if name.startswith("access-control")]
        assert "frame-ancestors 'none'" in one.headers["content-security-policy"]
        assert one.headers["x-content-type-options"] == "nosniff"


async def test_a_unix_socket_has_no_name_to_be_looked_at(autojump_clock: MockClock) -> None:
    asked = Office(Alone(worker()), Guard(Key(None, {}), names=False))
    assert (await get(asked, "/metrics", host="whatever")).status == 200


def test_a_page_may_be_linked_to_from_elsewhere_and_nothing_more() -> None:
    guard, linked = Guard(Key(None, {})), {"host": "localhost:9100", "sec-fetch-site": "cross-site"}
    assert guard.check(linked, is_page=True) is None
    assert guard.check(linked) is not None
    assert guard.check({**linked, "host": "attacker.example"}, is_page=True) is not None


# --- the key


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer  {KEY}", 200),
        ("", 401),
        (KEY, 401),
        (f"Basic {KEY}", 401),
        (f"Bearer {KEY}x", 401),
        (f"Bearer {KEY[:-1]}", 401),
        (f"Bearer {KEY} {KEY}", 401),
        ("Bearer ÄÄÄÄ", 401),
    ],
)
async def test_with_a_key_nothing_but_health_is_told_without_it(
    given: str, status: int, autojump_clock: MockClock
) -> None:
    headers = {"authorization": given} if given else {}
    asked = office(worker(), KEY)
    for path in ("/metrics", "/openapi.json", "/nothing"):
        told = await get(asked, path, host="metrics.example", **headers)
        assert told.status == (404 if (path, status) == ("/nothing", 200) else status)
        if status == 401:
            assert told.headers["www-authenticate"].startswith("bearer")
    assert (await get(asked, "/health/live", host="metrics.example")).status == 200
    assert (await get(asked, "/metrics", origin="https://x.example", **headers)).status == (
        403 if status == 200 else 401
    )


@pytest.mark.parametrize("key", ["short", "x" * 1_025, "with a space in it", "ä" * 16])
def test_what_is_no_key_is_said_at_the_start(key: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    for said in (str(file), None):
        with pytest.raises(ConfigError, match="16 to 1024 characters of printable ASCII") as raised:
            Key(said, {"TRIOLET_ADMIN_KEY": key})
        assert key not in str(raised.value)


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_file_that_cannot_be_read_is_said_at_the_start(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the operator's key"):
        Key(str(tmp_path / name), {})


def test_a_key_in_a_file_is_read_again_and_the_file_counts_before_the_environment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\r\nand a note\n")
    key = Key(str(file), {"TRIOLET_ADMIN_KEY": "f" * 16})
    assert key.opens(KEY)
    assert not key.opens("f" * 16)
    file.write_text("g" * 16)
    assert key.opens(KEY)
    key.read_again()
    assert (key.opens(KEY), key.opens("g" * 16)) == (False, True)
    file.unlink()
    with caplog.at_level(logging.ERROR):
        key.read_again()
    assert key.opens("g" * 16)
    assert "the operator's key stays the OLD one: cannot read" in caplog.text


def test_there_need_be_none() -> None:
    key = Key(None, {"TRIOLET_ADMIN_KEY": ""})
    assert not key.known
    assert not key.opens("")


def test_an_address_is_local_or_not() -> None:
    class Bound(socket.socket):
        name: object = ""

        def getsockname(self) -> object:
            return self.name

    with Bound() as bound:
        for name, local in [
            (("127.0.0.1", 1), True),
            (("::1", 1, 0, 0), True),
            (("0.0.0.0", 1), False),
            (("::", 1, 0, 0), False),
            (("10.0.0.5", 1), False),
            ("/run/admin.sock", True),
        ]:
            bound.name = name
            assert is_local(bound) == local
