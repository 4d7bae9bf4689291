"""Other people's readers read a plain stream to its end, over a restart of the server on the way: each takes the events
in its own shape, and nothing else."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Final

import httpx
import pytest
from httpx_sse import EventSource
from sseclient import SSEClient

from .needs import needs, program
from .server import HERE, Server, wait_for

AG_UI: Final = [
    {"type": "RUN_STARTED", "threadId": "t1", "runId": "r1"},
    {"type": "TEXT_MESSAGE_START", "messageId": "m1", "role": "assistant"},
    *({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": f"{n} "} for n in range(20)),
    {"type": "TEXT_MESSAGE_END", "messageId": "m1"},
    {"type": "RUN_FINISHED", "threadId": "t1", "runId": "r1"},
]
"""A run, in the shape that AG-UI's and TanStack AI's clients take."""

AI_SDK: Final = [
    {"type": "start", "messageId": "m1"},
    {"type": "text-start", "id": "p1"},
    *({"type": "text-delta", "id": "p1", "delta": f"{n} "} for n in range(20)),
    {"type": "text-end", "id": "p1"},
    {"type": "finish"},
]
"""An answer, in the shape that the AI SDK takes."""

OPENAI: Final = [
    {
        "id": "a1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": f"{n} "}, "finish_reason": None}],
    }
    for n in range(20)
]
"""An answer, in the shape that OpenAI's clients take."""

TEXT: Final = "".join(f"{n} " for n in range(20))
"""What the answers say."""

ANYTHING: Final = [{"n": n, "text": "data: {}\n\n: é 🦦"} for n in range(20)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("plain"), "plain_app:app")
    server.start()
    yield server
    assert server.terminate() == 0


class Answer:
    """An answer that is being published, and whoever reads it."""

    def __init__(self, server: Server, name: str, query: str) -> None:
        self.url = f"{server.url}/answers/{name}?after=0{query}"
        self._name = f"{server.url}/answers/{name}"
        self._known: set[int] = set()

    def publish(self, events: list[tuple[str, Any]]) -> list[str]:
        answer = httpx.post(self._name, json=events)
        ids: list[str] = answer.raise_for_status().json()["ids"]
        return ids

    def wait_for_a_reader(self) -> None:
        """Wait until another connection reads it, and is up to date."""
        now = wait_for(lambda: set(httpx.get(f"{self._name}/readers").json()["ids"]) - self._known, "a reader")
        self._known |= now

    def restart(self) -> None:
        httpx.post(f"{self._name}/restart").raise_for_status()

    def end(self) -> None:
        httpx.post(f"{self._name}/end").raise_for_status()


def named(items: list[Any]) -> list[tuple[str, Any]]:
    """Events, of which every other one has a name."""
    return [("state" if number % 2 else "message", item) for number, item in enumerate(items)]


def read(answer: Answer, reader: Callable[[str], Any], items: list[Any]) -> tuple[Any, list[str]]:
    """Publish to a reader: before it comes, while it reads, while it is away, and when it has come back. Return what it
    has read, and the ids of what was published."""
    events = named(items)
    ids = answer.publish(events[:5])
    found: Future[Any] = Future()

    def run() -> None:
        try:
            found.set_result(reader(answer.url))
        except BaseException as error:
            found.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    answer.wait_for_a_reader()
    for event in events[5:10]:
        ids += answer.publish([event])
    answer.restart()
    ids += answer.publish(events[10:15])
    answer.wait_for_a_reader()
    ids += answer.publish(events[15:])
    answer.end()
    read = found.result(30)
    thread.join()
    return read, ids


def by_node(name: str) -> Callable[[str], Any]:
    """A reader of ``read_plain.mjs``."""

    def run(url: str) -> Any:
        script = str(HERE / "js" / "read_plain.mjs")
        done = subprocess.run([program("node"), script, name, url], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2_000:]
        assert done.stderr == b"", done.stderr.decode()[-2_000:]  # some only warn of what they cannot read
        return json.loads(done.stdout)

    return run


def by_httpx_sse(url: str) -> list[Any]:
    return _by_python(url, lambda answer: EventSource(answer).iter_sse())


def by_sseclient(url: str) -> list[Any]:
    return _by_python(url, lambda answer: SSEClient(answer.iter_bytes()).events())


def _by_python(url: str, events: Callable[[httpx.Response], Any]) -> list[Any]:
    heard: list[Any] = []
    for _ in range(2):
        headers = {"accept": "text/event-stream", **({"last-event-id": heard[-1][0]} if heard else {})}
        with httpx.stream("GET", url, headers=headers, timeout=30) as answer:
            heard += [[one.id or heard[-1][0], one.event, one.data] for one in events(answer)]
    return heard


@needs("node", "npm:@tanstack/ai-client", "npm:@ag-ui/client", "npm:ai", "npm:openai")
@pytest.mark.parametrize(
    ("reader", "items", "query", "more"),
    [
        ("tanstack", AG_UI, "", []),
        ("ag-ui", AG_UI, "", [TEXT]),
        ("ai-sdk", AI_SDK, "", [TEXT]),
        ("ai-sdk", AI_SDK, "&done=1", [TEXT]),
        ("openai", OPENAI, "", []),
        ("openai", OPENAI, "&done=1", []),
    ],
)
def test_a_reader_of_models_answers_takes_the_events_and_nothing_else(
    reader: str, items: list[Any], query: str, more: list[Any], server: Server
) -> None:
    found, _ = read(Answer(server, f"{reader}{len(query)}", query), by_node(reader), items)
    assert found == items + more


@pytest.mark.parametrize(
    "reader",
    [
        pytest.param(by_node("eventsource-parser"), marks=needs("node", "npm:eventsource"), id="eventsource-parser"),
        pytest.param(by_node("eventsource"), marks=needs("node", "npm:eventsource"), id="eventsource"),
        pytest.param(by_httpx_sse, id="httpx-sse"),
        pytest.param(by_sseclient, id="sseclient"),
    ],
)
def test_a_parser_of_event_streams_comes_back_and_reads_to_the_end(
    reader: Callable[[str], Any], server: Server, request: pytest.FixtureRequest
) -> None:
    found, ids = read(Answer(server, request.node.callspec.id, "&done=1"), reader, ANYTHING)
    events = [[id, name, data] for id, (name, data) in zip(ids, named(ANYTHING), strict=True)]
    assert [[id, name, json.loads(data)] for id, name, data in found[:-1]] == events
    assert found[-1][1:] == ["message", "[DONE]"]
