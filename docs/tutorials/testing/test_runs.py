"""Answers that come when the test says so."""

from __future__ import annotations

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Triolet
from triolet.testing import TRANSPORTS, Tokens, serve


def make_app() -> tuple[QuartTrio, Triolet]:
    app = QuartTrio(__name__)
    live = Triolet(app)

    @live.channel("/answers/<answer_id>/events")
    async def answer_events(answer_id: str) -> str:
        return f"answers/{answer_id}"

    return app, live


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_that_is_reloaded_has_the_whole_answer(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_app()
    tokens = Tokens()
    async with serve(app) as server:
        run = await live.run("answers/1", tokens, key="text", fold="concat")
        async with server.client(transport, "/answers/1/events", after=0) as page:
            await tokens.give("Hel")
            await page.expect(data="Hel")
        await tokens.give("lo", "!")  # while nobody is there
        await trio.sleep(1)
        async with server.client(transport, "/answers/1/events?fold=1", after=0) as page:
            await page.expect(data="Hello!")
            tokens.fail(ConnectionError("the model has gone"))
            await page.expect("end", data={"outcome": "failed"})
        assert await run.wait() == "failed"
        assert tokens.closed
