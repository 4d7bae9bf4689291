"""How a command is asked over HTTP: its id, its body, whose pages may, and what a browser wants to hear."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import Limits
from triolet.testing import Answer, MemoryServer, serve

from .roads import ROADS, served
from .test_cors import ALLOWED, LISTED, varies
from .warehouse import ANN, Warehouse

PICK = "/orders/A1/pick"


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    "key", ["", '""', "é", '"a', 'a"', '"a"b', "a b", '"a\tb"', "a,b", "?1", '"a\\b"', "x" * 10_000]
)
async def test_what_names_no_command_is_400(key: str, road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, road) as server:
        answer = await server.request("POST", PICK, {"idempotency-key": key}, b"1")
        assert (answer.status, answer.json["error"]) == (400, "id")
    assert shop.done == []


async def test_none_and_two_ids_are_400(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server:
        assert ((answer := await server.post(PICK)).status, answer.json["error"]) == (400, "id")
        end = server.connect()
        head = f"POST {PICK} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n"
        await end.send_all((head + 'idempotency-key: "1"\r\nidempotency-key: "1"\r\n\r\n').encode())
        assert bytes(await end.receive_some()).startswith(b"HTTP/1.1 400 ")
        end.reset()
    assert shop.done == []


@pytest.mark.parametrize(
    ("key", "id"),
    [
        ('"a b"', "a b"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ('"\\"\\\\"', '"\\'),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
async def test_an_id_is_a_string_of_structured_fields_or_one_bare_word(
    key: str, id: str, autojump_clock: MockClock
) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server:
        assert (await server.request("POST", PICK, {"idempotency-key": key})).status == 200
    assert [done[1] for done in shop.done] == [id]


@pytest.mark.parametrize("road", ROADS)
async def test_a_body_is_json_or_none(road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, road) as server:
        bodies = [b"", b"null", b"0", b'"\xc3\xa9"', b' {"a": [1.5, true]} ', deep(32)]
        for number, body in enumerate(bodies):
            assert (await server.post(PICK, body, idempotency_key=str(number))).status == 200
        bad = [b"{", b"\xff", b"a=1&b=2", b'"\xff"', b"NaN", b"1 2", deep(33), deep(100_000), b"[" * 100_000]
        for body in bad:
            answer = await server.post(PICK, body, idempotency_key="bad")
            assert (answer.status, answer.json["error"]) == (400, "json")
    assert [done[2] for done in shop.done] == [None, None, 0, "é", {"a": [1.5, True]}, json.loads(deep(32))]


TWICE = [
    (b'{"a":1,"a":2}', "'a'"),
    (b'{"to":"ann","amount":1,"\\u0061mount":1}', "'amount'"),
    (b'[{"items":[{"id":1,"n":":","id":1}]}]', "'id'"),
]


@pytest.mark.parametrize("road", ROADS)
async def test_a_name_that_stands_twice_is_refused_on_every_transport(road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, road) as server, server.websocket("/live") as client:
        for body, name in TWICE:
            says = f"{name} stands twice in an object of a command's JSON: say it once"
            answer = await server.post(PICK, body, idempotency_key="twice")
            assert (answer.status, answer.json) == (400, {"error": "json", "message": says})
            await client.send(f'{{"type":"command","id":"twice","url":"{PICK}","data":{body.decode()}}}')
            reply = await client.until("reply")
            assert (reply["status"], reply["data"]) == (400, {"error": "json", "message": says})
        for body in (b'{"a":{"a":1},"b":[{"a":1},{"a":1}]}', b'{"a":"\\"a\\":1"}'):
            assert (await server.post(PICK, body, idempotency_key=body.hex())).status == 200
    assert len(shop.done) == 2


@pytest.mark.parametrize("road", ["direct", "asgi"])  # Hypercorn by itself may reset what it has not read
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_its_bound_is_413(chunked: bool, road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse(Limits(message_bytes=1_000))
    async with served(shop.app, road) as server:
        for size, status in ((1_000, 200), (1_001, 413), (20_000, 413)):
            answer = await post_in_pieces(server, b'"' + b"x" * (size - 2) + b'"', chunked)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert len(shop.done) == 1


@pytest.mark.parametrize("road", ["direct", "asgi"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_apps_own_bound_is_413(chunked: bool, road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    shop.app.config["MAX_CONTENT_LENGTH"] = 10
    async with served(shop.app, road) as server:
        for size, status in ((10, 200), (11, 413)):
            answer = await post_in_pieces(server, b'"' + b"x" * (size - 2) + b'"', chunked)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert len(shop.done) == 1


async def post_in_pieces(server: MemoryServer, body: bytes, chunked: bool) -> bytes:
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {len(body)}"
    end = server.connect()
    try:
        await end.send_all(f'POST {PICK} HTTP/1.1\r\nhost: test\r\nidempotency-key: "1"\r\n{framing}\r\n\r\n'.encode())
        for first in range(0, len(body), 700):
            piece = body[first : first + 700]
            await end.send_all(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await end.send_all(b"0\r\n\r\n")
        return bytes(await end.receive_some())
    finally:
        end.reset()


@pytest.mark.parametrize("road", ROADS)
async def test_a_body_that_does_not_come_is_408_and_one_whose_client_goes_is_no_command(
    road: str, autojump_clock: MockClock
) -> None:
    shop = Warehouse()
    shop.app.config["BODY_TIMEOUT"] = 5
    async with served(shop.app, road) as server:
        head = f'POST {PICK} HTTP/1.1\r\nhost: test\r\nidempotency-key: "1"\r\ncontent-length: 5\r\n\r\n"a'
        end = server.connect()
        await end.send_all(head.encode())
        assert bytes(await end.receive_some()).startswith(b"HTTP/1.1 408 ")
        end.reset()
        end = server.connect()
        await end.send_all(head.encode())
        await trio.sleep(1)
        end.reset()
        await trio.sleep(10)
    assert shop.done == []


@pytest.mark.parametrize("road", ["direct", "asgi"])
async def test_a_body_that_came_while_the_process_stood_still_came_in_time(
    road: str, autojump_clock: MockClock
) -> None:
    shop, body = Warehouse(), b'"' + b"x" * 200_000 + b'"'  # more than is read at once
    shop.app.config["BODY_TIMEOUT"] = 5
    async with served(shop.app, road) as server:
        end = server.connect(kernel_bytes=1 << 20)
        head = f'POST {PICK} HTTP/1.1\r\nhost: test\r\nidempotency-key: "1"\r\ncontent-length: {len(body)}\r\n\r\n'
        await end.send_all(head.encode() + body[:1])
        await trio.testing.wait_all_tasks_blocked()
        assert end.connection.client.send(body[1:]) == len(body) - 1
        autojump_clock.jump(6)
        assert bytes(await end.receive_some()).startswith(b"HTTP/1.1 200 ")
        end.reset()
    assert len(shop.done) == 1


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("rights", [{"cookie": "session=abc"}, ANN])
async def test_a_page_of_another_site_commands_nothing_with_its_visitors_rights(
    rights: dict[str, str], road: str, autojump_clock: MockClock
) -> None:
    shop, asked = Warehouse(), []
    shop.app.before_request(lambda: asked.append(1))
    async with served(shop.app, road) as server:
        headers = {"origin": "https://evil.example", "idempotency-key": "1", "content-type": "text/plain", **rights}
        answer = await server.request("POST", PICK, headers, b"1")
        assert (answer.status, answer.json["error"]) == (403, "origin")
        assert "access-control-allow-origin" not in answer.headers
        assert (shop.done, asked) == ([], [])
        own = await server.request("POST", PICK, {**headers, "origin": "http://test"}, b"1")
        assert own.status == 200


@pytest.mark.parametrize("road", ROADS)
async def test_a_page_of_a_listed_origin_may_and_can_read_what_it_is_answered(
    road: str, autojump_clock: MockClock
) -> None:
    shop = Warehouse(origins=[LISTED])
    async with served(shop.app, road) as server:
        asked = {"origin": LISTED, "access-control-request-method": "POST", "access-control-request-headers": "x-tab"}
        allowed = await server.request("OPTIONS", PICK, asked)
        assert (allowed.status, allowed.headers["access-control-allow-methods"]) == (204, "POST")
        names = {name.strip().lower() for name in allowed.headers["access-control-allow-headers"].split(",")}
        assert names >= {"content-type", "idempotency-key", "authorization", "x-tab"}
        for key, status in [("1", 200), ("1", 200), ("", 400)]:
            answer = await server.request(
                "POST", PICK, {"origin": LISTED, "cookie": "a=b", "idempotency-key": key}, b"1"
            )
            assert answer.status == status
            check_readable(answer)
    assert len(shop.done) == 1


def check_readable(answer: Answer) -> None:
    assert ALLOWED.items() <= answer.headers.items()
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"idempotency-replayed", "retry-after"}
    assert "origin" in varies(answer)


@pytest.mark.parametrize("asked", [{"origin": "https://evil.example"}, {}])
@pytest.mark.parametrize("url", [PICK, "/page", "/orders/A1/events"])
async def test_no_other_page_and_no_other_url_is_allowed_a_post(
    url: str, asked: dict[str, str], autojump_clock: MockClock
) -> None:
    shop = Warehouse(origins=[LISTED])
    async with serve(shop.app) as server:
        if url != PICK:
            asked = {"origin": LISTED}
        answer = await server.request("OPTIONS", url, {**asked, "access-control-request-method": "POST"})
        assert "access-control-allow-methods" not in answer.headers


@pytest.mark.parametrize("road", ROADS)
async def test_a_command_is_asked_with_post_only(road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, road) as server:
        for method in ("GET", "PUT", "DELETE"):
            answer = await server.request(method, PICK, {"idempotency-key": "1"})
            assert (answer.status, "POST" in answer.headers["allow"]) == (405, True)
        assert (await server.upgrade(PICK)).status in (403, 404, 405)
    assert shop.done == []


async def test_a_path_that_is_no_text_is_400(autojump_clock: MockClock) -> None:
    async with serve(Warehouse().app) as server:
        answer = await server.post("/orders/%ff/pick", idempotency_key="1")
        assert (answer.status, answer.json["error"]) == (400, "path")


async def test_an_app_that_is_not_served_answers_503(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    sent: list[Any] = []
    asked = False

    async def receive() -> Any:
        nonlocal asked
        if asked:
            await trio.sleep_forever()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": PICK, "raw_path": None,
        "query_string": b"", "headers": [(b"host", b"test"), (b"idempotency-key", b"1")], "extensions": {},
    }  # fmt: skip
    with trio.fail_after(5):
        await shop.app(scope, receive, send)  # type: ignore[arg-type]  # Hypercorn types them
    assert sent[0]["status"] == 503
    assert shop.done == []
