"""What stands before an app sees all that comes and all that is answered, however it was put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from quart import Quart, request
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import Command, Triolet
from triolet.testing.server import serve

from .roads import ask

TRANSPORTS = ["websocket", "sse", "poll", "long poll"]


async def guard(below: Any, scope: Any, receive: Any, send: Any) -> None:
    """Lets nobody in without a key, and says in each answer that it was here."""

    async def send_marked(message: Any) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message = {**message, "headers": [*(message.get("headers") or []), (b"x-guarded", b"yes")]}
        await send(message)

    if scope["type"] == "lifespan" or any(name == b"x-key" for name, _ in scope["headers"]):
        await below(scope, receive, send_marked)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
    else:
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def with_channel(app: QuartTrio) -> QuartTrio:
    live = Triolet(app)

    @live.channel("/tea")
    async def tea() -> str:
        return "tea"

    @live.command("/brew")
    async def brew(command: Command) -> str:
        return str(await request.get_data(as_text=True))

    return app


def by_call() -> Any:
    class Guarded(QuartTrio):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await guard(super().__call__, scope, receive, send)

    return with_channel(Guarded("app"))


def by_asgi_app() -> Any:
    class Guarded(QuartTrio):
        async def asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
            await guard(super().asgi_app, scope, receive, send)

    return with_channel(Guarded("app"))


def around() -> Any:
    app = with_channel(QuartTrio("app"))

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await guard(app, scope, receive, send)

    return middleware


def around_and_alike() -> Any:
    class Alike:
        """Middleware that gives itself out for the app."""

        def __init__(self, app: Any) -> None:
            self._app = app

        def __getattr__(self, name: str) -> Any:
            return getattr(self._app, name)

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await guard(self._app, scope, receive, send)

    return Alike(with_channel(QuartTrio("app")))


@contextmanager
def a_librarys() -> Iterator[None]:
    """As libraries do that watch requests: they put their own in the place of Quart's, for all apps."""
    quarts = Quart.__call__

    async def watched(self: Any, scope: Any, receive: Any, send: Any) -> None:
        async def below(*arguments: Any) -> None:
            await quarts(self, *arguments)

        await guard(below, scope, receive, send)

    Quart.__call__ = watched  # type: ignore[method-assign]  # as they do
    try:
        yield
    finally:
        Quart.__call__ = quarts  # type: ignore[method-assign]  # as it was


async def is_seen_by_the_guard(app: Any, transport: str) -> None:
    async with serve(app) as server:
        assert (await ask(server, transport, "/tea")).status == 403
        answer = await ask(server, transport, "/tea", {"x-key": "1"})
        assert answer.status in (101, 200)
        assert answer.headers["x-guarded"] == "yes"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("make", [by_call, by_asgi_app, around, around_and_alike])
async def test_a_guard_is_asked(make: Callable[[], Any], transport: str, autojump_clock: MockClock) -> None:
    await is_seen_by_the_guard(make(), transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_a_library_puts_in_the_place_of_quarts_is_called(transport: str, autojump_clock: MockClock) -> None:
    with a_librarys():
        await is_seen_by_the_guard(with_channel(QuartTrio("app")), transport)


async def test_an_event_stream_goes_through_what_stands_around_the_app(autojump_clock: MockClock) -> None:
    app, bodies = with_channel(QuartTrio("app")), b""

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        async def send_seen(message: Any) -> None:
            nonlocal bodies
            bodies += message.get("body", b"")
            await send(message)

        await app(scope, receive, send_seen)

    async with serve(middleware) as server, server.events("/tea") as stream:
        assert stream.status == 200
        await wait_all_tasks_blocked()
        assert b"event: triolet.open\n" in bodies


async def test_middleware_that_gives_a_body_again_and_again_holds_nobody_up(autojump_clock: MockClock) -> None:
    app = with_channel(QuartTrio("app"))
    below = app.asgi_app

    @app.post("/echo")
    async def echo() -> str:
        return str(await request.get_data(as_text=True))

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            body = (await receive())["body"]

            async def receive() -> Any:
                return {"type": "http.request", "body": body, "more_body": False}

        await below(scope, receive, send)

    app.asgi_app = middleware  # type: ignore[method-assign]  # how ASGI middleware is put in
    async with serve(app) as server:
        assert (await server.request("POST", "/echo", body=b"said")).body == b"said"
        headers = {"idempotency-key": "1" * 22, "content-type": "application/json"}
        assert (await server.request("POST", "/brew", headers, b"[1]")).body == b"[1]"
        for transport in ("sse", "poll", "long poll"):
            assert (await ask(server, transport, "/tea")).status == 200
