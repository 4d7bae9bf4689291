"""Generated events through our encoder into other people's parsers: all must read exactly what was published, in the
full form and in the plain one."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sseclient import SSEClient

from triolet.errors import DataError
from triolet.event import Cursor, Draft, Event
from triolet.wire.codec import DONE, PLAIN, SSE, SSE_CHUNKED, SSE_PLAIN, SSE_PLAIN_CHUNKED
from triolet.wire.messages import Beat, Bye, GapMessage, Live, Message, Open, encode_message

from .browser import open_browser
from .needs import needs, program
from .server import HERE

Heard = dict[str, str]
"""``{"id", "event", "data"}``, all as the parser gives them: text."""

NASTY = [
    "\r",
    "\n",
    "\r\n",
    "\0",
    "\u2028",
    "\u2029",
    "\x85",
    "\ufeff",
    "🦦",
    "é",
    ":",
    " ",
    "",
    "\t",
    "event:",
    "data: x",
    "\n\n",
]
texts = st.one_of(
    st.text(max_size=20),
    st.lists(st.sampled_from(NASTY), max_size=8).map("".join),
    st.sampled_from(
        ["message", "error", "open", "event:", "data", "id: 7", " leading", "trailing ", "\ufeff", "[DONE]"]
    ),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=6,
)
epochs = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
cursors = st.builds(Cursor, epochs, st.integers(0, 10**18 - 1))
channels = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30)


class Batch:
    """A stream, and what a parser must find in it."""

    def __init__(self, plain: bool) -> None:
        self.plain = plain
        self.codec: Any = PLAIN[SSE] if plain else SSE
        self.stream = b""
        self.expected: list[Heard] = []
        self.refused = 0

    def publish(self, event: Event) -> None:
        self.stream += self.codec.join([self.codec.event(event)])
        self._expect(str(event.cursor), event.name, event.json)

    def say(self, message: Message, tag: str, cursor: str | None) -> None:
        self.stream += self.codec.say(message)
        if not self.plain:
            self._expect(cursor, f"triolet.{tag}", encode_message(message))

    def done(self) -> None:
        self.stream += DONE
        self._expect(None, "message", b"[DONE]")

    def _expect(self, cursor: str | None, name: str, data: bytes) -> None:
        before = self.expected[-1]["id"] if self.expected else ""
        self.expected.append({"id": before if cursor is None else cursor, "event": name, "data": data.decode()})

    @property
    def names(self) -> list[str]:
        return sorted({heard["event"] for heard in self.expected})


@pytest.fixture(scope="module", params=["triolet", "plain"])
def batch(request: pytest.FixtureRequest) -> Batch:
    """Some 600 examples of hypothesis', in one stream, and a word between all of the first events."""
    made = Batch(plain=request.param == "plain")
    events: list[Event] = []
    words: list[tuple[Message, str, str | None]] = []

    @settings(max_examples=400, database=None, suppress_health_check=list(HealthCheck))
    @given(cursors, channels, texts, values)
    def publish(cursor: Cursor, channel: str, name: str, data: Any) -> None:
        try:
            draft = Draft.of(data, name=name)
        except DataError:
            made.refused += 1
            return
        events.append(Event(cursor, channel, draft.name, draft.json, draft.key, 1_700_000_000.5))

    @settings(max_examples=200, database=None, suppress_health_check=list(HealthCheck))
    @given(cursors, channels, st.integers(0, 4), st.sampled_from(["epoch", "future", "expired"]))
    def say(cursor: Cursor, channel: str, kind: int, reason: str) -> None:
        at = str(cursor)
        message: Message = (
            Open(channel, at),
            Live(channel, at),
            GapMessage(channel, "x.1", at, None, reason),
            Beat(7, {channel: at, "another": at}),
            Bye(1012, "restarting", 1),
        )[kind]
        words.append((message, ("open", "live", "gap", "beat", "bye")[kind], at if kind in (0, 2) else None))

    publish()
    say()
    for event, word in zip_longest(events, words):
        if event is not None:
            made.publish(event)
        if word is not None:
            made.say(*word)
    if made.plain:
        made.done()
    return made


@contextmanager
def source_of(batch: Batch) -> Iterator[str]:
    """Serve the stream once, in small pieces, then 204; and a page that has the collecting script."""
    served: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urllib.parse.urlsplit(self.path).path
            if path == "/collect.mjs":
                self._answer(200, "text/javascript", (HERE / "js" / "collect.mjs").read_bytes())
            elif path == "/":
                self._answer(200, "text/html", b"<!doctype html><title>collect</title>")
            elif path in served:
                self._answer(204, "text/plain", b"")
            else:
                served.add(path)
                self._answer(200, "text/event-stream", b"")
                for start in range(0, len(batch.stream), 1_009):
                    self.wfile.write(batch.stream[start : start + 1_009])

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def node(*arguments: str) -> list[Heard]:
    """Run one of our scripts, and return what it heard."""
    done = subprocess.run([program("node"), *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    heard: list[Heard] = json.loads(done.stdout)
    return heard


def same(heard: list[Heard], batch: Batch) -> None:
    for found, expected in zip(heard, batch.expected, strict=False):
        assert found == expected
    assert len(heard) == len(batch.expected)


def with_last_ids(heard: list[Any]) -> list[Heard]:
    """Of a parser that says nothing where the standard says: the last one."""
    for before, after in pairwise(heard):
        after["id"] = after["id"] or before["id"]
    return heard


def test_what_could_forge_a_field_was_refused_and_the_rest_was_taken(batch: Batch) -> None:
    assert batch.refused > 20
    assert len(batch.expected) > (150 if batch.plain else 300)
    assert not any(set(name) & set("\r\n\0") for name in batch.names)
    assert "message" in batch.names


@pytest.mark.parametrize(("whole", "chunked"), [(SSE, SSE_CHUNKED), (SSE_PLAIN, SSE_PLAIN_CHUNKED)])
def test_a_chunk_holds_the_same_bytes(whole: Any, chunked: Any) -> None:
    event = Event(Cursor("e", 1), "c", "é", b'"\xf0\x9f\xa6\xa6"', None, 0.0)
    stream = whole.join([whole.event(event)])
    assert chunked.join([chunked.event(event)]) == b"%x\r\n%b\r\n" % (len(stream), stream)


def test_httpx_sse_reads_what_was_published(batch: Batch) -> None:
    pieces = (batch.stream[start : start + 13] for start in range(0, len(batch.stream), 13))
    answer = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=pieces)
    heard = [{"id": one.id, "event": one.event, "data": one.data} for one in EventSource(answer).iter_sse()]
    same(heard, batch)  # it makes an empty event of a block without data: there is none


def test_sseclient_reads_what_was_published(batch: Batch) -> None:
    pieces: Any = (batch.stream[start : start + 13] for start in range(0, len(batch.stream), 13))
    heard = [{"id": one.id, "event": one.event, "data": one.data} for one in SSEClient(pieces).events()]
    same(with_last_ids(heard), batch)


@needs("node", "npm:eventsource-parser")
def test_eventsource_parser_reads_what_was_published(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "stream").write_bytes(batch.stream)
    same(node(str(HERE / "js" / "parse.mjs"), str(tmp_path / "stream")), batch)


@needs("node", "npm:eventsource")
def test_eventsource_hears_what_was_published(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "names").write_text(json.dumps(batch.names))
    with source_of(batch) as url:
        script = str(HERE / "js" / "collect_node.mjs")
        heard = node(script, f"{url}/stream", str(tmp_path / "names"))
    same(with_last_ids(heard), batch)


@needs("chromium")
def test_chromium_hears_what_was_published(batch: Batch) -> None:
    with source_of(batch) as url, open_browser() as browser, browser.page(url + "/") as page:
        script = f"""(async () => {{
            const {{ collect }} = await import("/collect.mjs");
            return JSON.stringify(await collect(EventSource, "/stream", {json.dumps(batch.names)}));
        }})()"""
        same(json.loads(page.evaluate(script)), batch)
