"""What "A run that outlives its page" says is tried out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from trio.testing import MockClock

from triolet.testing import TRANSPORTS, MemoryServer, serve

from .test_docs import load

EVENTS = "/answers/42/events?fold=1"
WORDS = "You have asked: why not? "


@asynccontextmanager
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryServer]:
    monkeypatch.chdir(tmp_path)
    async with serve(load("answers", "runs").app) as server:
        yield server


async def ask(server: MemoryServer) -> int:
    head = {"content-type": "application/json"}
    return (await server.request("POST", "/answers/42", head, b'{"question": "why not?"}')).status


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_answer_is_there_for_whoever_comes_in_one_piece_and_with_its_end(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with served(tmp_path, monkeypatch) as server:
        async with server.client(transport, EVENTS, after="0") as page:
            assert await ask(server) == 202
            assert await ask(server) == 409
            text = ""
            while text != WORDS:
                text += (await page.expect("event", event="delta"))["data"]
            await page.expect("end", data={"outcome": "done"})
        assert await ask(server) == 409
        async with server.client(transport, EVENTS, after="0") as page:
            assert (await page.expect("event"))["data"] == WORDS
            await page.expect("end", data={"outcome": "done"})


async def test_an_answer_is_stopped_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with served(tmp_path, monkeypatch) as server, server.client("sse", EVENTS, after="0") as page:
        await ask(server)
        await page.expect("event")
        assert (await page.command("/answers/42/stop"))["data"] == {"told": True}
        end = await page.until("end")
        assert end["data"] == {"outcome": "stopped", "reason": "the reader has had enough"}
