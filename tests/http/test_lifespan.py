"""An app's lifespan, as the worker sees it, and what Hypercorn is told of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import ConfigError, Limits
from triolet.http.app_host import AppHost
from triolet.http.config import http_config
from triolet.http.lifespan import AppLifespan


@asynccontextmanager
async def lived(app: Any, state: dict[str, Any] | None = None) -> AsyncIterator[AppLifespan]:
    """A lifespan of an app that runs."""
    lifespan = AppHost(app, Limits(), "", {} if state is None else state).lifespan()
    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.run)
        yield lifespan
        nursery.cancel_scope.cancel()


def app_that(*answers: str, message: str = "") -> Any:
    """An app that says these in its lifespan, one for each that it is told, and returns."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["seen"] = scope["type"]
        for answer in answers:
            await receive()
            await send({"type": f"lifespan.{answer}", "message": message})

    return app


async def test_an_app_starts_and_is_ended(autojump_clock: MockClock) -> None:
    state: dict[str, Any] = {}
    async with lived(app_that("startup.complete", "shutdown.complete"), state) as lifespan:
        await lifespan.start()
        assert lifespan.supported
        await lifespan.finish()
    assert state == {"seen": "lifespan"}


async def test_an_app_that_cannot_start_says_why(autojump_clock: MockClock) -> None:
    async def start() -> None:
        async with lived(app_that("startup.failed", message="no database")) as lifespan:
            await lifespan.start()
            await trio.sleep(1)

    with pytest.raises(BaseExceptionGroup) as group:
        await start()
    assert group.group_contains(ConfigError, match="no database")


async def test_an_app_that_cannot_end_says_why(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for answer in ("startup.complete", "shutdown.failed"):
            await receive()
            await send({"type": f"lifespan.{answer}", "message": "the queue is away"})

    async def live() -> None:
        async with lived(app) as lifespan:
            await lifespan.start()
            await lifespan.finish()  # and its nursery is cancelled at once

    with pytest.raises(BaseExceptionGroup) as group:
        await live()
    assert group.group_contains(ConfigError, match="did not end: the queue is away")


class Stopped(BaseException):
    """What a library for another loop may raise."""


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("kind", [Stopped, SystemExit, KeyboardInterrupt])
async def test_an_app_that_cannot_start_by_what_is_no_exception_says_so(
    kind: type[BaseException], grouped: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise BaseExceptionGroup("", [kind("no loop")]) if grouped else kind("no loop")

    async def start() -> None:
        async with lived(app) as lifespan:
            await lifespan.start()
            await trio.sleep(1)

    with pytest.raises(BaseExceptionGroup) as group:
        await start()
    assert group.group_contains(
        ConfigError, match=rf"did not start: {kind.__name__}( at test_lifespan.py:\d+)?: no loop"
    )
    assert not caplog.records, "and nobody says that it is served all the same"


async def test_an_app_that_ends_by_itself_is_noticed(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep(5)

    async with lived(app) as lifespan:
        await lifespan.start()
        await lifespan.ended_early()
        assert trio.current_time() == 5


async def test_an_app_that_knows_no_lifespan_does_not_end_early(autojump_clock: MockClock) -> None:
    async with lived(app_that()) as lifespan:
        await lifespan.start()
        assert not lifespan.supported
        with trio.move_on_after(3_600) as hour:
            await lifespan.ended_early()
        assert hour.cancelled_caught
        await lifespan.finish()


def test_hypercorn_is_told_our_limits() -> None:
    config = http_config(Limits(header_bytes=1_000, idle_seconds=3, message_bytes=2_000), "/below")
    assert (config.h11_max_incomplete_size, config.keep_alive_timeout) == (1_000, 3)
    assert (config.websocket_max_message_size, config.root_path) == (2_000, "/below")
    names = [name for name, _ in config.response_headers("h11")]
    assert names == [b"date"], "nothing tells which server this is"
