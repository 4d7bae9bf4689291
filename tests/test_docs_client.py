"""What the page "The Python client" shows is tried out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet.testing import serve

from .test_docs import load
from .test_docs_identity import KEY, token


async def test_the_program_of_the_page_picks_what_is_paid_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_TOKEN_KEY", KEY)
    app, program = load("app", "identity"), load("pick", "client")
    options: dict[str, Any] = {"token": lambda: token("ann")}
    async with serve(app.app, log="memory:") as server:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return server.connect()

        async def run() -> list[str]:
            with trio.move_on_after(20):
                await program.main(dial=dial, **options)
            return capsys.readouterr().out.splitlines()

        assert await run() == ["up to date"]
        await app.live.publish("orders/A1", {"state": "paid"}, name="order-status")
        told = await run()
        assert "orders/A1 picked: 200" in told
        assert told[-1].startswith("orders/A1 {") or told[-1] == "up to date"
        assert not any("picked: 200" in line for line in await run()), "its store knows that this is done"
