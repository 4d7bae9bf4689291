"""What a raw socket sends: text and bytes, and nothing that only could be made bytes of."""

from __future__ import annotations

from typing import Any

import pytest
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.app.roads import ROADS, served
from tests.peer import BINARY, TEXT, peer
from triolet import Connection, DataError, Triolet

OTHERS: list[Any] = [5, True, None, 1.5, [1, 2], {"a": 1}, {1}, object(), "\ud800"]


@pytest.mark.parametrize("road", ROADS)
async def test_what_is_neither_text_nor_bytes_is_refused(road: str, autojump_clock: MockClock) -> None:
    app = QuartTrio("raw")
    live = Triolet(app)

    @live.socket("/raw", raw=True)
    async def raw(conn: Connection) -> None:
        for data in OTHERS:
            with pytest.raises(DataError, match=r"text"):
                await conn.send(data)
        array = bytearray(b"array")
        for data in ("text", b"bytes", memoryview(b"view"), array):
            await conn.send(data)
        array[:] = b"later"
        async for _ in conn:
            pass

    async with served(app, road) as server, peer(server, "/raw") as client:
        said = [await client.frame() for _ in range(4)]
    assert said == [(TEXT, b"text"), (BINARY, b"bytes"), (BINARY, b"view"), (BINARY, b"array")]
