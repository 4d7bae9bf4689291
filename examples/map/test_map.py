"""The map's own tests. Run them in this folder with ``pytest``: planes cross tiles, and nobody waits for them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from app import app, planes, sky
from flights import TILES, tile_of
from trio.testing import MockClock

from triolet.log.memory import MemoryLog
from triolet.testing import TRANSPORTS, WebSocketClient, cut, serve

BUSY = tile_of(41.9, -87.6)
CHICAGO = f"/tiles/{BUSY}/events"


class Page:
    """Follows all tiles on one connection, and knows each plane as the page's script does: the newest word counts."""

    def __init__(self, client: WebSocketClient, sky: dict[str, tuple[int, str]] | None = None) -> None:
        self.client = client
        self.sky = {} if sky is None else sky

    async def follow(self) -> None:
        for tile in TILES:
            await self.client.follow(f"/tiles/{tile}/events?snapshot=1")

    async def hear(self) -> None:
        """Take all that has come."""
        with trio.move_on_after(0.1):
            async for message in self.client:
                self.take(message)

    def take(self, message: dict[str, Any]) -> None:
        tile = (message.get("channel") or "").removeprefix("tiles/")
        match message:
            case {"type": "snapshot", "data": whole} | {"type": "event", "event": "whole", "data": whole}:
                for name, state in whole["planes"].items():
                    self.see(name, tile, state)
                gone = [n for n, (at, over) in self.sky.items() if over == tile and at < whole["at"]]
                for name in set(gone) - set(whole["planes"]):
                    del self.sky[name]
            case {"type": "event", "key": name, "data": state}:
                self.see(name, state.get("tile", tile), state)

    def see(self, name: str, tile: str, state: dict[str, Any]) -> None:
        assert tile_of(state["lat"], state["lon"]) == tile
        if state["at"] >= self.sky.get(name, (0, ""))[0]:
            self.sky[name] = (state["at"], tile)


async def test_no_plane_is_missing_or_double_while_they_cross_tiles(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/live") as client:
        page = Page(client)
        await page.follow()
        await page.hear()
        moved: Counter[str] = Counter()
        for _ in range(5):
            before = {name: tile for name, (_, tile) in page.sky.items()}
            await trio.sleep(1)
            await page.hear()
            assert page.sky.keys() == planes.keys()
            moved.update(name for name, (_, tile) in page.sky.items() if before[name] != tile)
        left = [event["key"] for event in client.events if event["event"] == "left"]
        assert moved == Counter(left) != Counter()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_begins_with_the_planes_that_are_over_a_tile(transport: str, autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        await trio.sleep(3)
        async with server.client(transport, f"{CHICAGO}?snapshot=1") as page:
            begun = await page.until("snapshot")
            over = {tile_of(plane["lat"], plane["lon"]) for plane in begun["data"]["planes"].values()}
            assert over == {BUSY}
            told = await page.until("event")
            assert (told["event"], told["data"]["at"] > begun["data"]["at"]) == ("plane", True)
            assert told["key"] in planes


async def test_who_was_away_is_told_of_each_plane_once_and_how_much_was_left_out(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket(CHICAGO) as page:
        await page.until("event")
        with cut(page):
            await trio.sleep(20)
        await page.reconnect()
        gap = await page.until("gap")
        assert (gap["reason"], gap["missed"] > 40) == ("conflated", True)
        caught_up = len(page.events)
        await page.until("live")
        names = [event["key"] for event in page.events[caught_up:]]
        assert len(names) == len(set(names)) > 0


async def test_a_server_that_was_killed_tells_each_tile_anew(autojump_clock: MockClock) -> None:
    log = MemoryLog(app.extensions["triolet"].limits)
    known: dict[str, tuple[int, str]] = {}
    cursor: object = 0
    for _ in range(2):
        async with serve(app, log=log) as server, server.websocket(CHICAGO, after=cursor) as client:
            page = Page(client, known)
            await trio.sleep(5)
            await page.hear()
            assert "whole" in [event["event"] for event in client.events]
            assert {name for name, (_, tile) in known.items() if tile == BUSY} == set(sky[BUSY])
            cursor = client.cursor
        await trio.sleep(20)
