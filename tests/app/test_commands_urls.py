"""What a command's URL, subject and id can be mistaken for: another view, another's command."""

from __future__ import annotations

from itertools import product

import pytest
from trio.testing import MockClock

from triolet import Identity
from triolet.app.command import key_of
from triolet.testing import serve

from .warehouse import ANN, Warehouse

ELSEWHERE = [
    "/orders//A1/pick",
    "/orders/A1/pick/",
    "/orders/A1/../A1/pick",
    "/orders/A1%2f..%2fA1/pick",
    "/orders/A1/events",
    "/orders/A1/other",
    "/live",
    "/raw",
    "/page",
    "/triolet/renew",
    "/triolet/ticket",
    "/triolet/triolet.js",
    "/static/x",
    "/\\other.example/orders/A1/pick",
    "http://test/orders/A1/pick",
    "orders/A1/pick",
    "/orders/A1/pick\r\nx: y",
    "/orders/%ff/pick",
    "/orders/\u00e9/pick",
    "*",
    "",
]

SAME = ["//orders/A1/pick", "/orders/A1%2Fpick", "/orders/A%31/pick", "/orders/A1/pick?a=/page"]
"""These are Quart's for a POST request as well: both ways are one."""


async def test_a_command_on_a_websocket_reaches_commands_alone(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server, server.websocket("/live", headers=ANN) as client:
        for number, url in enumerate(ELSEWHERE):
            await client.say(type="command", id=str(number), url=url, data=None)
            reply = await client.until("reply")
            found = reply["id"], reply["status"], reply["data"]["error"]
            assert found == (str(number), 404, "command"), url
        assert shop.done == []
        for number, url in enumerate(SAME):
            await client.say(type="command", id=url, url=url, data=None)
            assert (await client.until("reply"))["status"] == 200
            assert (await server.request("POST", url, {"idempotency-key": f'"{url}"', **ANN})).json[
                "times"
            ] == number + 1
    assert [done[0] for done in shop.done] == len(SAME) * ["A1"]


PARTS = ["a", "a/b", "b", "/", '"', '","', '["a"', "null", "a\\", "?", "%2F", "é", "b?c"]


@pytest.mark.parametrize("host", [None, "a", "null"])
def test_no_two_commands_have_one_key(host: str | None) -> None:
    keys: dict[bytes, tuple[str | None, str, str, str]] = {}
    for subject, path, query, id in product([None, *PARTS], PARTS, ["", *PARTS], PARTS):
        identity = None if subject is None else Identity(subject)
        key = key_of(identity, f"/{path}", query.encode(), id, host)
        assert keys.setdefault(key, (subject, path, query, id)) == (subject, path, query, id)
