"""Plain streams whose events look as the app's function says: HTML, as it is swapped into a page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.paths.memory import served
from triolet import ChannelNameError, ConfigError, Cursor, Draft, Event, Limits, Reducer, Triolet
from triolet.log import MemoryLog
from triolet.testing.server import MemoryServer, serve
from triolet.testing.strict import PlainReader
from triolet.wire.codec import SSE, SSE_CHUNKED, Rendered

from .test_plain import ask, body

NOTES = "notes"
WAYS = ("http1", "tls", "http2", "middleware", "http2 middleware")


def make_app(render: Callable[[Event], Any], limits: Limits | None = None, **options: Any) -> tuple[QuartTrio, Triolet]:
    app = QuartTrio("rendered")
    live = Triolet(app, log=MemoryLog(epoch="e"), limits=limits)

    @live.channel("/notes", format="plain", render=render, **options)
    async def notes() -> str:
        return NOTES

    return app, live


def as_item(event: Event) -> str:
    return f"<li>\n{event.data}</li>"


async def test_an_event_is_what_the_function_makes_of_it_line_by_line(autojump_clock: MockClock) -> None:
    app, live = make_app(as_item)
    async with serve(app) as server:
        stream = await ask(server, "/notes")
        await trio.testing.wait_all_tasks_blocked()
        await live.publish(NOTES, 1)
        await live.publish(NOTES, 2, name="note")
        said = await body(stream, b"2</li>\n\n")
        assert said.endswith("id: e.1\ndata: <li>\ndata: 1</li>\n\nid: e.2\nevent: note\ndata: <li>\ndata: 2</li>\n\n")


async def fragments(server: MemoryServer, path: str, count: int) -> list[str]:
    async with server.events(path) as page:
        with trio.fail_after(60):
            blocks = [await page.block() for _ in range(count)]
    return [block["data"] for block in blocks if block is not None]


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_so_on_every_way_to_the_client_and_called_once_for_all(way: str, autojump_clock: MockClock) -> None:
    asked: list[str] = []

    def render(event: Event) -> str:
        asked.append(str(event.cursor))
        return as_item(event)

    app, live = make_app(render)
    async with served(app, way) as server:
        heard: list[list[str]] = []

        async def listen() -> None:
            heard.append(await fragments(server, "/notes?after=0", 2))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(listen)
            await trio.sleep(5)
            assert server.followers == 3
            await live.publish_many(NOTES, [1, 2])
        assert heard == [["<li>\n1</li>", "<li>\n2</li>"]] * 3
        assert asked == ["e.1", "e.2"]


@pytest.mark.parametrize("transport", ["websocket", "sse", "long poll", "short poll"])
async def test_on_all_other_transports_it_is_its_json(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_app(as_item)
    async with serve(app) as server:
        path = "/notes?format=triolet" if transport == "sse" else "/notes"
        async with server.client(transport, path, after=0) as client:
            await live.publish(NOTES, {"a": 1})
            await client.expect(data={"a": 1})


def _raises(error: type[BaseException]) -> Callable[[Event], str]:
    def render(event: Event) -> str:
        if event.data == 1:
            raise error("secret")
        return as_item(event)

    return render


OMITTED: dict[str, tuple[Callable[[Event], Any], str | None]] = {
    "none": (lambda event: None if event.data == 1 else as_item(event), None),
    "an error": (_raises(ValueError), "ValueError"),
    "an error that is no Exception": (_raises(BaseException), "ForeignError"),
    "no text": (lambda event: 7 if event.data == 1 else as_item(event), "TypeError"),
    "no UTF-8": (lambda event: "\ud800" if event.data == 1 else as_item(event), "UnicodeEncodeError"),
    "too much": (lambda event: "x" * (101 if event.data == 1 else 100), "101 bytes"),
}


@pytest.mark.parametrize("kind", OMITTED)
async def test_an_event_of_which_it_makes_none_is_left_out_and_the_stream_goes_on(
    kind: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    render, said = OMITTED[kind]
    app, live = make_app(render, Limits(event_bytes=100))
    with caplog.at_level(logging.ERROR, "triolet"):
        async with serve(app) as server:
            await live.publish(NOTES, 1)
            stream = await ask(server, "/notes?after=0")
            await trio.testing.wait_all_tasks_blocked()
            await live.publish(NOTES, 2)
            told = await body(stream, b"id: e.2\n")
    assert ': triolet.omitted {"id":"e.1"}\n' in told
    assert "id: e.1\n" not in told
    found = [record.getMessage() for record in caplog.records if "render=" in record.getMessage()]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
    assert "secret" not in caplog.text


async def test_the_end_of_a_channel_is_said_as_ever(autojump_clock: MockClock) -> None:
    app, live = make_app(as_item, done=True)
    async with serve(app) as server:
        await live.publish(NOTES, 1)
        await live.end(NOTES)
        told = await body(await ask(server, "/notes?after=0"))
    assert "data: <li>\ndata: 1</li>\n\n: triolet.end " in told
    assert told.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("render", [7, "text", fragments])
def test_what_is_no_function_of_an_event_is_refused_at_once(render: Any) -> None:
    with pytest.raises(ConfigError, match="render= is an ordinary function"):
        make_app(render)


def test_a_view_at_two_rules_with_one_function_is_one_view() -> None:
    app, live = make_app(as_item)

    @live.channel("/one", render=as_item)
    @live.channel("/two", render=as_item)
    async def both() -> str:
        return NOTES

    assert {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint == "both"} == {"/one", "/two"}


@given(st.lists(st.text(st.sampled_from("ab:\r\n\0\u0085\u2028 "), max_size=12), max_size=6), st.integers(1, 9))
def test_whatever_it_makes_is_data_and_no_field(texts: list[str], size: int) -> None:
    codec = Rendered.by(lambda event: event.data.encode()).of(SSE)
    stream = b""
    for offset, text in enumerate(texts, 1):
        draft = Draft.of(text)
        stream += codec.event(Event(Cursor("e", offset), NOTES, draft.name, draft.json, None, 1.5))
    reader = PlainReader()
    blocks = [block for at in range(0, len(stream), size) for block in reader.feed(stream[at : at + size])]
    lines = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    assert blocks == [{"id": f"e.{offset}", "data": text} for offset, text in enumerate(lines, 1)]


def test_a_route_has_a_codec_of_its_own_for_each_kind_of_body() -> None:
    rendered = Rendered.by(lambda event: b"x")
    assert rendered.of(SSE) is rendered.of(SSE)
    assert rendered.of(SSE_CHUNKED).join([b"ab"]) == b"2\r\nab\r\n"


async def test_a_page_that_the_server_renders_has_the_state_and_goes_on_behind_it(autojump_clock: MockClock) -> None:
    count = Reducer(lambda state, event: state + event.data, initial=0, name="count", channels="notes")
    app, live = make_app(as_item, snapshot=count)
    async with serve(app) as server:
        assert await live.state(NOTES, count) == (0, Cursor("e", 0))
        await live.publish_many(NOTES, [1, 2])
        state, cursor = await live.state(NOTES, count)
        await live.publish(NOTES, 4)
        assert (state, str(cursor)) == (3, "e.2")
        assert await fragments(server, f"/notes?after={cursor}", 1) == ["<li>\n4</li>"]
        with pytest.raises(ChannelNameError):
            await live.state("", count)
        for other in (4, None, as_item):
            with pytest.raises(ConfigError, match="takes a channel and a Reducer, which makes its state, not "):
                await live.state(NOTES, other)  # type: ignore[arg-type]  # that is the mistake
