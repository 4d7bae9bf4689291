"""The assistant in a browser: two pages, one answer. And a model behind a server that speaks OpenAI's API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import check_looks
from tests.e2e.needs import needs
from tests.e2e.server import Server, wait_for

from .stage import served

ENVIRONMENT = {"ASSISTANT_PACE": "40"}
SLOW = {"ASSISTANT_PACE": "1.5"}
in_a_page = needs("chromium", "front:assistant")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("markovify", reason="the parrot is made by markovify", exc_type=ImportError)
    with served("assistant", tmp_path_factory.mktemp("assistant"), SLOW) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with browser.page(server.url) as page:
        yield page


def ask(page: Page, question: str) -> None:
    page.wait("badge.dataset.state === 'live'")
    page.evaluate(f"question.value = {json.dumps(question)}")
    page.click("#send")


def words(page: Page) -> int:
    return len(page.text(".words").split())


def wait_for_words(page: Page, count: int) -> None:
    page.wait(f"document.querySelector('.words')?.textContent.split(/\\s+/).length > {count}")


def stop(page: Page) -> None:
    page.click(".stop")
    page.wait("document.querySelector('.end').dataset.outcome === 'stopped'")


def look(page: Page) -> None:
    """Bring it to the front: a page that nobody sees draws nothing."""
    page.call("Page.bringToFront")


def stored(server: Server, page: Page) -> str:
    """The words that the log has of a page's one answer, as the page would show them."""
    url = page.evaluate("performance.getEntriesByType('navigation')[0].name").partition(server.url)[2]
    turn = server.request("GET", f"{url}/events?after=0")["events"][-1]["data"]
    said = server.request("GET", f"{url}/{turn['answer']}/events?after=0")["events"]
    return "".join(one["data"] for one in said if one["event"] == "words").replace("`", "").strip()


def shown(page: Page) -> str:
    return page.text(".words").strip()


@in_a_page
def test_two_pages_show_one_answer_and_a_reload_brings_back_its_text_as_one_event(
    browser: Browser, server: Server, page: Page
) -> None:
    ask(page, "What does with do?")
    page.wait("document.querySelector('.tool code')?.textContent === 'with'")
    wait_for_words(page, 3)
    with browser.page(page.evaluate("location.href")) as telephone:
        wait_for_words(telephone, 3)
        look(page)
        page.reload()
        wait_for_words(page, 3)
        folds = int(page.text("#folds"))
        assert int(page.text("#folded")) >= 3 * folds > 0
        stop(page)
        for one in (page, telephone):
            look(one)
            one.wait("document.querySelector('.end').dataset.outcome === 'stopped'")
            one.wait(f"document.querySelector('.words').textContent.trim() === {json.dumps(stored(server, page))}")
        telephone.click(".again")
        for one in (telephone, page):
            look(one)
            one.wait("document.querySelector('.answer').classList.contains('writing')")
            assert one.evaluate("document.querySelectorAll('.turn').length") == 1
        stop(page)
        assert telephone.complaints == page.complaints == []


@in_a_page
def test_what_a_lost_network_held_up_comes_and_what_a_killed_server_wrote_is_lost_and_can_be_asked_again(
    server: Server, page: Page
) -> None:
    ask(page, "Sing!")
    wait_for_words(page, 2)
    page.offline(True)
    page.wait("badge.dataset.state === 'connecting'")
    page.offline(False)
    page.wait("badge.dataset.state === 'live'")
    wait_for_words(page, 4)
    server.kill()
    page.wait("badge.dataset.state === 'connecting'")
    server.start()
    page.wait("document.querySelector('.end').dataset.outcome === 'lost'")
    assert shown(page) == stored(server, page)
    page.click(".again")
    page.wait("document.querySelector('.answer').classList.contains('writing')")
    wait_for_words(page, 1)
    stop(page)
    assert shown(page) == stored(server, page)


def show(page: Page, count: int = 30) -> None:
    """Have the page show a tool's card and some words."""
    ask(page, "What does the with statement do?")
    wait_for_words(page, count)
    page.evaluate("document.querySelector('.tool').open = true")


@in_a_page
@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    def prepare(page: Page) -> None:
        show(page, 2)
        stop(page)

    check_looks(browser, server.url, prepare)


# --- a model --------------------------------------------------------------------------------------------------


class Model(ThreadingHTTPServer):
    """A server of OpenAI's API, as far as the assistant asks: it wants something looked up, then says four words, the
    last two when the test says so."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Completions)
        self.asked: list[tuple[str | None, dict[str, Any]]] = []
        self.go = threading.Event()
        self.left = threading.Event()


class Completions(BaseHTTPRequestHandler):
    server: Model

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.headers["authorization"], body))
        assert self.path == "/v1/chat/completions"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self._say({"role": "assistant", "content": ""})
        if body["messages"][-1]["role"] == "user":
            self._say({"content": "Let me look. "})
            call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": ""}}
            self._say({"tool_calls": [{"index": 0, **call}]})
            for part in ('{"top', 'ic": "w', 'ith"}'):
                self._say({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
            self._say({}, "tool_calls")
        else:
            self._say({"content": "It "})
            self._say({"content": "holds "})
            if "Stop" in body["messages"][-3]["content"]:
                assert self.connection.recv(1) == b""  # the client goes
                return self.server.left.set()
            assert self.server.go.wait(60)
            self._say({"content": "a "})
            self._say({"content": "block."})
            self._say({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "small", "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()


@contextmanager
def model() -> Iterator[Model]:
    with Model() as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05))
        thread.start()
        try:
            yield server
        finally:
            server.go.set()
            server.shutdown()
            thread.join()


def test_a_model_is_asked_over_http_with_its_tool_and_what_was_said_before_and_is_left_where_a_reader_stops_it(
    tmp_path: Path,
) -> None:
    pytest.importorskip("openai", reason="the example's client", exc_type=ImportError)
    chat = f"/chats/{uuid4()}"

    def command(server: Server, path: str, data: Any = None) -> Any:
        return server.request("POST", f"{chat}{path}", data, headers={"Idempotency-Key": f'"{uuid4()}"'})

    def told(server: Server, answer: str) -> list[Any]:
        events = server.request("GET", f"{chat}/{answer}/events?after=0&fold=1&wait=0")["events"]
        return [one["data"] for one in events]

    with model() as openai:
        key = {"OPENAI_API_KEY": "sk-test", "OPENAI_MODEL": "small"}
        environment = {**key, "OPENAI_BASE_URL": f"http://127.0.0.1:{openai.server_port}/v1"}
        with served("assistant", tmp_path, environment) as server:
            first = command(server, "/ask", {"turn": "1", "question": "What does with do?"})["answer"]
            wait_for(lambda: told(server, first)[2:] == ["It holds "], "the words up to where the model waits")
            openai.go.set()
            wait_for(lambda: told(server, first)[2:] == ["It holds a block."], "the whole answer")
            assert told(server, first)[0] == "Let me look. "
            assert told(server, first)[1]["topic"] == "with"
            second = command(server, "/ask", {"turn": "2", "question": "Stop there?"})["answer"]
            wait_for(lambda: told(server, second)[2:] == ["It holds "], "the words up to where it is stopped")
            command(server, f"/{second}/stop")
            assert openai.left.wait(15), "the model's server is told that nobody listens any more"
            assert server.crashes() == []
    (secret, asked), (_, after_tool), (_, again), _ = openai.asked
    assert (secret, asked["model"], asked["stream"]) == ("Bearer sk-test", "small", True)
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["look_up"]
    assert asked["messages"] == [{"role": "user", "content": "What does with do?"}]
    assert "context manager" in after_tool["messages"][-1]["content"]
    assert after_tool["messages"][-2]["tool_calls"][0]["function"]["arguments"] == '{"topic": "with"}'
    assert [message["content"] for message in again["messages"]] == [
        *("What does with do?", "Let me look. It holds a block.", "Stop there?")
    ]
