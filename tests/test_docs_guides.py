"""The programs of the how-to pages, in memory: what their consoles do not show."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from triolet.testing import TRANSPORTS, RefusedError, serve

from .e2e.migrating import SAID, STATES
from .pages import kept
from .standalone.made import KEY, bearer, made
from .test_docs import load


async def test_a_task_that_crashes_is_begun_again_and_waits_longer_each_time(autojump_clock: MockClock) -> None:
    forever = load("supervised", "background").forever
    began: list[float] = []

    async def crash() -> None:
        began.append(trio.current_time())
        await trio.sleep(100 if len(began) == 9 else 0)
        raise OSError("the sensor does not answer")

    with trio.move_on_after(300):
        await forever(crash)
    waits = [round(later - earlier) for earlier, later in pairwise(began)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 101, 2, 4, 8]


async def test_a_task_that_crashes_ends_the_server(autojump_clock: MockClock) -> None:
    app = load("crash", "background").app
    async with serve(app) as server:
        await server.ended.wait()
        assert server.worker.failed


async def test_a_server_behind_an_impatient_balancer_is_never_silent_for_long(autojump_clock: MockClock) -> None:
    async with serve(load("app", "cloud").app) as server, server.sse("/orders/A123/events") as page:
        await page.until("live")
        for _ in range(10):
            await page.expect("beat", within=7.1)


async def test_an_event_of_the_outbox_that_is_published_again_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.chdir(tmp_path)
    module = load("outbox_app", "databases")
    remove, tried = module.remove, []

    def remove_at_last(row: object) -> None:
        tried.append(row)
        if len(tried) > 3:  # until then it is as if its process had died before
            remove(row)

    monkeypatch.setattr(module, "remove", remove_at_last)
    try:
        async with serve(module.app, log="memory:") as server:
            await server.post("/orders/A1/paid")
            async with server.sse("/orders/A1/events", after="0") as page:
                await page.expect(data={"state": "paid"})
                await page.nothing_for(2)
                await server.post("/orders/A1/packed")
                await page.expect(data={"state": "packed"})
            assert len(tried) > 3
    finally:
        module.engine.dispose()


# --- the apps that others are migrated to


async def test_the_page_of_sse_starlettes_hears_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.chdir(tmp_path)
    app = load("sse_ours", "migrating").app
    async with serve(app, log="memory:") as server, server.client("plain sse", "/orders/A123/events") as page:
        for name, data in STATES:
            await server.post(f"/orders/A123/{data['state']}")
            await page.expect(event=name, data=data)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_chat_of_socket_io_says_the_same(transport: str, autojump_clock: MockClock) -> None:
    ann = {"authorization": "Bearer token-of-ann"}
    async with serve(load("socketio_ours", "migrating").app, log="memory:") as server:
        with pytest.raises(RefusedError, match="401"):
            await server.client(transport, "/rooms/lobby/events").__aenter__()
        async with server.client(transport, "/rooms/lobby/events", headers=ann) as page:
            reply = await page.command("/rooms/lobby/say", {"text": SAID["text"]})
            assert reply["data"] == {"said": SAID["text"]}
            await page.expect(event="said", data=SAID)
            if transport != "short poll":
                async with server.websocket("/live", headers=ann) as socket:
                    await socket.say(type="message", data={"typing": "lobby"})
                    await page.expect("tell", event="typing", data={"who": "ann"})


async def test_the_orders_of_channels_are_shown_to_whom_a_token_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("LIVE_TOKEN_KEY", KEY)
    text = (kept("migrating") / "channels_ours.toml").read_text(encoding="utf-8")
    async with made(tmp_path, re.sub("sqlite:///orders.db", "memory:", text)) as server:
        answers = [
            (await server.get("/orders/A123/events", **headers)).status
            for headers in ({}, bearer(aud="live", orders=["A9"]), bearer(aud="live", orders=["A123"]))
        ]
    assert answers == [401, 403, 200]
