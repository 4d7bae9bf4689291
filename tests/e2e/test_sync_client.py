"""The client for programs without Trio: threads, signals, forks, and the app's handler at the other end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from triolet import ConfigError
from triolet.client import ClientError, Event, FileStore, Live, Message, sync_client

from .server import Server, serving, wait_for

INTERRUPTED = """
import sys
from triolet.client import Event, sync_client

with sync_client(sys.argv[1]) as live, live.follow("/c/interrupted/events") as events:
    try:
        for item in events:
            print(item, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    for item in events:
        print(item.data, flush=True)
        break
with sync_client(sys.argv[1]) as live:
    for item in live.follow("/c/interrupted/events"):
        print("waits", flush=True)
"""

FORKED = """
import os, sys
from triolet.client import sync_client

with sync_client(sys.argv[1]) as live:
    child = os.fork()
    if not child:
        try:
            live.send("/nothing")
        except RuntimeError as error:
            print(error, flush=True)
        raise SystemExit(0)
    os.waitpid(child, 0)
    print(live.send("/nothing").status, flush=True)
"""

TRIO = """
import sys
import trio
from triolet.client import open_client

async def main():
    async with open_client(sys.argv[1], transports=[sys.argv[2]]) as live:
        async with live.follow("/c/trio/events") as events:
            async for item in events:
                print(item, flush=True)

trio.run(main)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as served:
        yield served


def run(program: str, server: Server, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, server.url, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_program_without_trio_talks_with_the_apps_handler(server: Server) -> None:
    with sync_client(server.url, socket="/talk") as live, live.messages() as messages:
        messages.ready()
        live.tell({"a": 1})
        assert next(iter(messages)) == Message({"echo": {"a": 1}})
        assert messages.state == "live"
    with sync_client(server.url) as live, pytest.raises(ConfigError, match="socket="):
        live.messages()


def test_what_waits_is_interrupted_and_loses_nothing(server: Server) -> None:
    program = run(INTERRUPTED, server)
    assert program.stdout is not None
    assert program.stdout.readline().startswith("Live(")
    program.send_signal(signal.SIGINT)
    assert program.stdout.readline() == "interrupted\n"
    server.publish("interrupted", 1)
    assert program.stdout.readline() == "1\n"
    assert program.stdout.readline() == "waits\n"
    program.send_signal(signal.SIGINT)
    out, err = program.communicate()
    assert out == ""
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "Group" not in err


def interrupt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes when the client's thread has done what it was called for, and before the program has the result."""
    run_there = trio.from_thread.run

    def interrupted(*called: Any, **options: Any) -> Any:
        monkeypatch.setattr(trio.from_thread, "run", run_there)
        run_there(*called, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(trio.from_thread, "run", interrupted)


def test_an_event_that_was_taken_when_the_program_was_interrupted_is_given_next(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = tmp_path / "cursors"
    with (
        sync_client(server.url, store=FileStore(kept)) as live,
        live.follow("/c/taken/events", name="taken", auto_commit=False) as events,
    ):
        items = iter(events)
        assert isinstance(next(items), Live)
        for number in range(3):
            server.publish("taken", number)
        first = next(items)
        assert isinstance(first, Event)
        events.commit()
        interrupt_once(monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            next(items)
        events.commit()
        place = f"{first.cursor} {first.channel}"
        assert (events.cursor, json.loads(kept.read_text())) == (first.cursor, {"taken": place})
        assert [item.data for _, item in zip(range(2), events, strict=False) if isinstance(item, Event)] == [1, 2]


def test_a_message_that_was_taken_when_the_program_was_interrupted_is_given_next(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sync_client(server.url, socket="/talk") as live, live.messages() as messages:
        messages.ready()
        for number in range(2):
            live.tell(number)
        interrupt_once(monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            next(iter(messages))
        said = iter(messages)
        assert [next(said), next(said)] == [Message({"echo": 0}), Message({"echo": 1})]


@pytest.mark.parametrize("transport", ["websocket", "sse", "long-poll"])
def test_a_program_of_trios_is_interrupted_without_a_group(transport: str, server: Server) -> None:
    program = run(TRIO, server, transport)
    assert program.stdout is not None
    assert program.stdout.readline().startswith("Live(")
    program.send_signal(signal.SIGINT)
    out, err = program.communicate()
    assert out == ""
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "Group" not in err


def test_a_forked_process_is_told_that_the_client_is_its_parents(server: Server) -> None:
    out, err = run(FORKED, server).communicate()
    assert err == ""
    first, second = out.splitlines()
    assert "after the fork" in first
    assert second == "404"


def test_threads_follow_at_once_and_end_when_the_client_is_closed(server: Server) -> None:
    heard: list[Any] = []
    ended: list[BaseException | None] = []

    def follow(live: Any) -> None:
        try:
            for item in live.follow("/c/threads/events"):
                heard.append(item)
        except BaseException as error:
            ended.append(error)
        else:
            ended.append(None)

    with sync_client(server.url) as live:
        threads = [threading.Thread(target=follow, args=(live,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_for(lambda: sum(isinstance(item, Live) for item in heard) == 3, "all up to date")
        server.publish("threads", 1)
        wait_for(lambda: sum(isinstance(item, Event) for item in heard) == 3, "all have heard")
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(ended) == 3
    assert all(error is None or isinstance(error, RuntimeError) for error in ended), ended


def test_the_clients_own_thread_is_no_place_for_its_calls(server: Server) -> None:
    said: list[Any] = []

    def token() -> str | None:
        try:
            live.send("/c/x")
        except RuntimeError as error:
            said.append(str(error))
        return None

    with sync_client(server.url, token=token) as live, live.follow("/c/own/events") as events:
        assert isinstance(next(iter(events)), Live)
    assert said
    with pytest.raises(ClientError), sync_client(server.url) as live:
        next(iter(live.follow("/c/forbidden/events")))
