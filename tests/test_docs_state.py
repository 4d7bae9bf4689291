"""What "State and stream without a seam" says is tried out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from trio.testing import MockClock

from triolet.testing.server import MemoryServer, serve

from .test_docs import load


@asynccontextmanager
async def served() -> AsyncIterator[MemoryServer]:
    page = load("carts", "state")
    with closing(page.database):
        async with serve(page.app) as server:
            yield server


@pytest.mark.parametrize("way", ["websocket", "sse", "long poll", "short poll"])
async def test_the_carts_page_has_the_state_and_what_comes_after_it(autojump_clock: MockClock, way: str) -> None:
    async with served() as server:
        for item in ("apples", "pears", "apples"):
            await server.request("POST", f"/carts/7/{item}")
        async with server.client(way, "/carts/7/events?snapshot=1") as page:
            state: Any = (await page.expect("snapshot"))["data"]
            assert state == {"apples": 2, "pears": 1}
            await server.request("POST", "/carts/7/pears")
            assert (await page.expect("event"))["data"] == {"item": "pears", "count": 1}


@pytest.mark.parametrize("way", ["websocket", "sse", "long poll", "short poll"])
async def test_so_has_the_page_of_what_stands_in_a_database(autojump_clock: MockClock, way: str) -> None:
    async with served() as server:
        await server.request("POST", "/stock/apples/7")
        async with server.client(way, "/stock/events?snapshot=1") as page:
            assert (await page.expect("snapshot"))["data"] == {"apples": 7}
            await server.request("POST", "/stock/apples/6")
            assert (await page.expect("event"))["data"] == {"item": "apples", "count": 6}
