"""``@live.command``: a POST view that takes effect once, over HTTP and on a WebSocket, on every road."""

from __future__ import annotations

from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest
import trio
from quart import Blueprint
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.paths.memory import served as served_by_path
from triolet import Command, ConfigError, Connection, EventLog, Limits, Triolet
from triolet.errors import innermost
from triolet.testing import Client, MemoryServer, serve

from .roads import ROADS, served
from .warehouse import ANN, BOB, CARRIERS, Warehouse

EVENTS, PICK = "/orders/A1/events", "/orders/A1/pick"


@pytest.mark.parametrize("road", [*ROADS, "tls", "http2", "http2 middleware"])
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_it_is_done_answered_and_heard_of(carrier: str, road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    reached = served(shop.app, road) if road in ROADS else served_by_path(shop.app, road)
    async with reached as server, server.client(carrier, EVENTS, headers=ANN) as client:
        reply = await client.command(PICK, {"bin": 7}, "id 1")
        assert reply == {"type": "reply", "id": "id 1", "status": 200, "data": {"picked": "A1", "times": 1}}
        assert (await client.until("event"))["data"] == {"state": "picked"}
        again = await client.command(PICK, {"bin": 7}, "id 1")
        assert again == {**reply, "repeated": True}
        await client.nothing_for(5)
    assert shop.done == [("A1", "id 1", {"bin": 7}, "ann")]


@pytest.mark.parametrize("log", ["memory:", "sqlite"])
async def test_its_events_may_fold_as_those_of_an_app(log: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    shop = Warehouse()

    @shop.live.command("/orders/<order_id>/count")
    async def count(order_id: str, command: Command) -> dict[str, int]:
        for _ in range(3):
            await command.publish(f"orders/{order_id}", 2, name="count", key="boxes", fold="sum")
        return {"counted": 6}

    async with serve(shop.app, log=log if log == "memory:" else f"sqlite:///{tmp_path}/log.db") as server:
        async with server.websocket("/live") as asking:
            await asking.command("/orders/A1/count")
        async with server.sse(f"{EVENTS}?fold=1", after=0) as page:
            await page.expect(event="count", data=6, key="boxes", fold="sum", folded=3)


@pytest.mark.parametrize("road", ROADS)
async def test_what_was_asked_over_http_is_repeated_on_a_websocket(road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, road) as server:
        for path in (PICK, f"{PICK}?a=%20b", "/orders/%C3%A9%20A/pick"):
            first = await server.post(path, b'{"b": 1, "a": [2]}', idempotency_key='"a\\"b"', **ANN)
            assert (first.status, first.headers.get("idempotency-replayed")) == (200, None)
            async with server.websocket("/live", headers=ANN) as client:
                reply = await client.command(path, {"a": [2], "b": 1}, 'a"b')
            assert reply["data"] == first.json
            assert reply["repeated"]
            again = await server.post(path, b'{"a":[2],"b":1}', idempotency_key='"a\\"b"', **ANN)
            assert again.body == first.body
            assert again.headers["content-type"] == first.headers["content-type"]
            assert again.headers["idempotency-replayed"] == "true"
    assert len(shop.done) == 3


@pytest.mark.parametrize("carrier", ["websocket", "sse"])
async def test_two_identities_do_not_see_each_others_answers(carrier: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, "direct") as server:
        times = []
        for headers in (ANN, BOB, {}):
            async with server.client(carrier, EVENTS, headers=headers) as client:
                times.append((await client.command(PICK, None, "1"))["data"]["times"])
        async with server.client(carrier, EVENTS, headers=ANN) as client:
            assert (await client.command(PICK, None, "1"))["data"]["times"] == 1
            assert (await client.command("/orders/A2/pick", None, "1"))["data"]["times"] == 4
    assert times == [1, 2, 3]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    "url", ["/page", "/orders/A1/other", EVENTS, "/nowhere", "orders", "//%ff", PICK + "/", "/live"]
)
async def test_a_url_of_another_view_is_answered_404_and_that_is_not_asked(
    url: str, road: str, autojump_clock: MockClock
) -> None:
    shop = Warehouse()
    async with served(shop.app, road) as server, server.websocket("/live") as client:
        reply = await client.command(url, 1, "1")
        assert (reply["status"], reply["data"]["error"]) == (404, "command")
    assert shop.done == []


@pytest.mark.parametrize("id", ["", "é", "a\nb", "\x7f"])
async def test_an_id_that_no_header_can_have_is_answered_400(id: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, "direct") as server, server.websocket("/live") as client:
        await client.say(type="command", id=id, url=PICK)
        assert (await client.expect("reply", id=id, status=400))["data"]["error"] == "id"
    assert shop.done == []


@pytest.mark.parametrize("said", [{"id": "x" * 10_000, "url": PICK}, {"id": "1", "url": "/" + "x" * 3_000}])
async def test_what_cannot_be_an_id_or_url_ends_the_websocket(said: dict[str, str], autojump_clock: MockClock) -> None:
    async with served(Warehouse().app, "direct") as server, server.websocket("/live") as client:
        await client.say(type="command", **said)
        assert (await client.ended())[0] == 1008


async def test_a_raw_socket_has_no_commands(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, "direct") as server, server.websocket("/raw") as client:
        await client.say(type="command", id="1", url=PICK)
        assert await client.next() is not None  # the app's own echo of it
    assert shop.done == []


async def test_a_handlers_socket_takes_messages_and_commands(autojump_clock: MockClock) -> None:
    shop = Warehouse()

    @shop.live.socket("/talk")
    async def talk(conn: Connection) -> None:
        async for message in conn:
            await conn.send(message)

    async with served(shop.app, "direct") as server, server.websocket("/talk") as client:
        assert (await client.command(PICK))["status"] == 200
        await client.say(type="message", data=1)
        await client.expect("message", data=1)


@pytest.mark.parametrize("road", ROADS)
async def test_a_websocket_has_so_many_commands_at_once_and_the_next_is_told_when_to_ask(
    road: str, autojump_clock: MockClock
) -> None:
    shop = Warehouse(Limits(commands=2))
    async with served(shop.app, road) as server, server.websocket("/live") as client:
        for number in "123":
            await client.say(type="command", id=number, url=f"{PICK}?seconds=5")
        refused = await client.expect("reply", id="3", status=429, within=1)
        assert (refused["data"]["error"], refused["retry"]) == ("commands", 1000)
        replies = [await client.expect("reply", status=200) for _ in range(2)]
        assert {reply["id"] for reply in replies} == {"1", "2"}
        assert (await client.command(PICK, None, "3"))["status"] == 200


async def test_a_client_that_asks_and_does_not_read_is_given_up(autojump_clock: MockClock) -> None:
    shop = Warehouse(Limits(follows=4, commands=1, stall_seconds=5))
    async with served(shop.app, "direct") as server, server.websocket("/live", kernel_bytes=2_000) as client:
        client.stream.connection.stall()
        for number in range(100):
            with trio.move_on_after(1):
                await client.say(type="command", id=str(number), url=f"{PICK}?padding={'x' * 500}")
        await trio.sleep(20)
        client.stream.connection.flow()
        await client.ended()
        assert server.connections == 0


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("carrier", ["websocket", "sse"])
async def test_its_clients_going_does_not_stop_it(carrier: str, road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, road) as server, server.client("sse", EVENTS) as other:
        await other.until("live")
        async with server.client(carrier, EVENTS, headers=ANN) as client:
            with trio.move_on_after(2):
                await client.command(f"{PICK}?seconds=10", None, "1")
        await other.nothing_for(5)
        await other.expect("event", data={"state": "picked"})
        async with server.client(carrier, EVENTS, headers=ANN) as client:
            assert (await client.command(f"{PICK}?seconds=10", None, "1"))["repeated"]
    assert shop.closed == ["A1", "A1"]


async def gone_after(checkpoints: int, client: Client, server: MemoryServer) -> dict[str, Any] | None:
    """Ask once, and lose the network so many turns later. Return the reply that came before that."""
    replies: list[dict[str, Any] | None] = []

    async def ask() -> None:
        replies.append(await client.ask_command("1", PICK, {"bin": 7}))
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        for _ in range(checkpoints):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    client.cut()
    await wait_all_tasks_blocked()
    return replies[0] if replies else None


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("carrier", ["websocket", "sse"])
async def test_a_client_that_is_gone_at_any_moment_and_asks_again_finds_it_done_once(
    carrier: str, road: str, autojump_clock: MockClock
) -> None:
    begun = set()
    for checkpoints in range(200):
        shop = Warehouse(turns=3)
        async with served(shop.app, road) as server:
            async with server.client(carrier, EVENTS, headers=ANN) as client:
                first = await gone_after(checkpoints, client, server)
            begun.add(len(shop.done))
            async with server.client(carrier, EVENTS, headers=ANN, after="0") as client:
                reply = await client.command(PICK, {"bin": 7}, "1")
                assert reply["data"] == {"picked": "A1", "times": 1}
                await client.until("event")
                await client.nothing_for(5)
        assert len(shop.done) == 1
        if first is not None:
            assert first["data"] == reply["data"]
            break
    assert begun == {0, 1}
    assert first is not None, "it was answered at last"


async def test_what_had_not_begun_when_its_client_went_does_not_begin(autojump_clock: MockClock) -> None:
    shop = Warehouse()

    @shop.app.before_request
    async def wait() -> None:
        await trio.sleep(5)

    async with served(shop.app, "direct") as server, server.client("sse", EVENTS) as client:
        with trio.move_on_after(2):
            await client.command(PICK)
        await trio.sleep(10)
    assert shop.done == []


async def test_the_process_runs_so_many_and_answers_503_beyond(autojump_clock: MockClock) -> None:
    shop = Warehouse(Limits(commands_running=2))
    async with served(shop.app, "direct") as server, trio.open_nursery() as nursery:
        for number in "12":
            nursery.start_soon(partial(server.post, f"{PICK}?seconds=5", idempotency_key=number))
        await trio.sleep(1)
        busy = await server.post(PICK, idempotency_key="3")
        assert (busy.status, busy.json["error"], busy.headers["retry-after"]) == (503, "busy", "1")
    assert len(shop.done) == 2


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("same", [True, False], ids=["one id", "many ids"])
async def test_no_subject_takes_the_places_of_all(same: bool, road: str, autojump_clock: MockClock) -> None:
    shop = Warehouse(Limits(commands_running=10, commands_each=4))
    statuses: list[int] = []

    async def eve(server: MemoryServer, number: int) -> None:
        key = "1" if same else str(number)
        headers = {"authorization": "Bearer eve", "idempotency-key": key}
        answer = await server.request("POST", f"{PICK}?seconds=5", headers)
        statuses.append(answer.status)
        if answer.status == 429:
            assert (answer.json["error"], answer.headers["retry-after"]) == ("commands", "1")

    async with served(shop.app, road) as server:
        async with trio.open_nursery() as nursery:
            for number in range(9):
                nursery.start_soon(eve, server, number)
            await trio.sleep(1)
            assert (await server.request("POST", PICK, {**ANN, "idempotency-key": "a"})).status == 200
            async with server.websocket("/live", headers={"authorization": "Bearer eve"}) as socket:
                await socket.say(type="command", id="another", url=PICK)
                assert (await socket.until("reply"))["status"] == 429
        assert sorted(statuses) == [200] * 4 + [429] * 5
        assert (
            await server.request("POST", PICK, {"authorization": "Bearer eve", "idempotency-key": "z"})
        ).status == 200


async def test_the_bytes_of_a_body_that_does_not_end_are_counted_and_given_back(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, "direct") as server:
        before = server.worker.budget.held
        ends = [server.connect() for _ in range(10)]
        for end in ends:
            head = f"POST {PICK} HTTP/1.1\r\nHost: test\r\nIdempotency-Key: 1\r\nContent-Length: 900000\r\n\r\n"
            await end.send_all(head.encode() + b"1" * 800_000)
        await trio.sleep(1)
        assert server.worker.budget.held - before >= 10 * 800_000
        for end in ends:
            end.reset()
        await trio.sleep(1)
        assert server.worker.budget.held == before
    assert shop.done == []


async def test_the_bytes_of_what_runs_are_counted(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with served(shop.app, "direct") as server, server.websocket(EVENTS) as client:
        await client.until("live")
        before = server.worker.budget.held
        await client.say(type="command", id="1", url=f"{PICK}?seconds=5", data="x" * 100_000)
        await trio.sleep(1)
        client.cut()
        await trio.sleep(1)
        assert 100_000 <= server.worker.budget.held - before < 200_000
        await trio.sleep(5)
        assert server.worker.budget.held < before + 100, "but for the event, in its window"


class WithoutAnswers(EventLog):
    """A log of one's own from before there were commands."""

    open = append = read = head = tail = None  # type: ignore[assignment]  # not used


async def test_an_app_with_commands_and_a_log_without_answers_does_not_start() -> None:
    with pytest.raises(ExceptionGroup) as failed:
        async with served(Warehouse(log=WithoutAnswers()).app, "direct"):
            pass
    error = innermost(failed.value)
    assert isinstance(error, ConfigError)
    assert "this app has commands, and its log (WithoutAnswers) keeps no answers" in str(error)


def test_what_no_rule_of_a_command_can_have_is_said_when_it_is_registered() -> None:
    live, view = Triolet(QuartTrio("shop")), Warehouse().pick
    with pytest.raises(ConfigError, match="a command is asked with POST"):
        live.command("/a", methods=["GET"])(view)
    for rule in ("/<command>", "/a/<path:command>"):
        with pytest.raises(ConfigError, match="a value called command"):
            live.command(rule)(view)


def test_a_view_that_takes_no_command_is_said_when_it_is_registered() -> None:
    live = Triolet(QuartTrio("shop"))

    async def pick(order_id: str) -> Any:
        """Would fail with each request."""

    @wraps(pick)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        """Takes it, and gives another view what that takes."""

    with pytest.raises(ConfigError, match="the view 'pick' of a command is given it by name"):
        live.command("/orders/<order_id>/pick")(pick)
    live.command("/orders/<order_id>/pick")(wrapped)


async def test_it_is_counted_by_what_came_of_it(autojump_clock: MockClock) -> None:
    shop = Warehouse(Limits(command_run_seconds=10))
    async with served(shop.app, "direct") as server:
        for path, id in [(PICK, "1"), (PICK, "1"), ("/orders/secret/pick", "2"), ("/orders/broken/pick", "3")]:
            await server.post(path, idempotency_key=id)
        await server.post(PICK, b"1", idempotency_key="1")
        await server.post(f"{PICK}?seconds=60", idempotency_key="4")
        counts = shop.live.statistics().counts
        told = shop.live.service.exposition()[1].decode()
    assert counts.commands == {
        "done": 1, "repeated": 1, "refused": 1, "failed": 1, "mismatch": 1, "timeout": 1, "conflict": 0
    }  # fmt: skip
    assert counts.command_seconds.count == 6
    assert counts.command_seconds.sum == pytest.approx(10)
    assert 'triolet_commands_total{outcome="repeated"} 1.0' in told


async def test_a_view_stands_at_several_rules_and_in_a_blueprint(autojump_clock: MockClock) -> None:
    app = QuartTrio("shop")
    live = Triolet(app)
    parts = Blueprint("parts", __name__, url_prefix="/parts")

    @live.command("/<name>/a")
    @live.command("/<name>/b")
    @live.command("/c/<name>", blueprint=parts)
    async def do(name: str, command: Command) -> Any:
        return {"name": name, "at": command.id}

    app.register_blueprint(parts)
    async with served(app, "direct") as server:
        for path in ("/x/a", "/x/b", "/parts/c/x"):
            assert (await server.post(path, idempotency_key="1")).json == {"name": "x", "at": "1"}
            assert (await server.get(path)).status == 405
