"""``SyncPublisher``: threads, forks, ends, interruptions, and logs that are away; with the real logs."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from tests.e2e.clients import Websockets
from tests.e2e.needs import needs
from tests.e2e.redis.servers import RedisServer
from tests.e2e.server import PATIENCE, Server, wait_for
from triolet import (
    ChannelEnded,
    ChannelNameError,
    ConfigError,
    DataError,
    Draft,
    Limits,
    LogAway,
    LogError,
    LogUncertain,
    NotServingError,
    SyncPublisher,
)
from triolet.log import MemoryLog
from triolet.sqlite.log import SqliteLog

FORKS = """
import os, sys, threading, time
from triolet import SyncPublisher

everywhere = [SyncPublisher(url) for url in sys.argv[1:]]
over = threading.Event()

def publish(data):
    return [live.publish("forks", data).offset for live in everywhere]

def go_on():
    while not over.is_set():
        meanwhile.append(publish("meanwhile"))
        time.sleep(0.01)

meanwhile = [publish("before")]
threads = [threading.Thread(target=go_on) for _ in range(2)]
for thread in threads:
    thread.start()
for number in range(2):
    child = os.fork()
    if not child:
        publish("child")
        grandchild = os.fork()
        publish("grandchild" if not grandchild else "child again")
        if grandchild:
            assert os.waitpid(grandchild, 0)[1] == 0
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    publish("parent")
over.set()
for thread in threads:
    thread.join()
print(len(meanwhile), *publish("last"), flush=True)
"""

INTERRUPTED = """
import sys
from triolet import SyncPublisher

live = SyncPublisher(sys.argv[1], timeout=60)
live.publish("interrupted", 0)
print("open", flush=True)
sys.stdin.readline()
try:
    print("published", flush=True)
    live.publish("interrupted", 1, dedupe="1")
except KeyboardInterrupt:
    print("interrupted", flush=True)
sys.stdin.readline()
print(live.publish("interrupted", 1, dedupe="1").data, live.publish("interrupted", 2).offset, flush=True)
sys.stdin.readline()
live.publish("interrupted", 3)
"""


@pytest.fixture
def live(by_sqlite: Server) -> Iterator[SyncPublisher]:
    """A publisher to the file that is served, closed behind the test."""
    with SyncPublisher(f"sqlite:///{by_sqlite.directory}/events.db") as publisher:
        yield publisher


@pytest.fixture
def follow(by_sqlite: Server) -> Iterator[Callable[[str], Websockets]]:
    """Follows an order on the server."""
    clients: list[Websockets] = []

    def follow(order: str) -> Websockets:
        clients.append(Websockets(f"{by_sqlite.url}/orders/{order}/events"))
        clients[-1].hears("live")
        return clients[-1]

    yield follow
    for client in clients:
        client.cut()


# --- what is published is heard


def test_what_threads_publish_is_heard_in_the_order_of_its_offsets(
    live: SyncPublisher, follow: Callable[[str], Websockets]
) -> None:
    client = follow("threads")
    offsets: list[int] = []

    def publish(name: str) -> None:
        offsets.extend(live.publish("orders/threads", f"{name}{number}").offset for number in range(10))

    threads = [threading.Thread(target=publish, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = live.publish_many("orders/threads", [1, Draft.of(2, name="two", key="k")])
    assert sorted(offsets) == list(range(1, 41))
    assert [event.offset for event in events] == [41, 42]
    heard = client.hears("event", 42)
    assert [int(event["id"].partition(".")[2]) for event in heard] == list(range(1, 43))
    assert [text for text in client.data[:40] if text[0] == "a"] == [f"a{number}" for number in range(10)]
    assert (heard[-1]["event"], heard[-1]["key"]) == ("two", "k")


def test_an_end_and_a_deletion_are_heard(live: SyncPublisher, follow: Callable[[str], Websockets]) -> None:
    client = follow("ends")
    first = live.publish("orders/ends", 1, dedupe="1")
    assert live.publish("orders/ends", "again", dedupe="1") == first
    end = live.end("orders/ends", {"outcome": "done"})
    assert live.end("orders/ends") == end
    client.hears("end")
    with pytest.raises(ChannelEnded):
        live.publish("orders/ends", 2)
    assert live.delete("orders/ends").is_tombstone
    assert live.publish("orders/ends", 3).offset == 4


def test_events_within_a_transaction_are_heard_once_it_is_committed(
    by_sqlite: Server, live: SyncPublisher, follow: Callable[[str], Websockets]
) -> None:
    client = follow("within")
    with closing(apsw.Connection(str(by_sqlite.directory / "events.db"))) as db:
        for number, ending in enumerate(["ROLLBACK", "COMMIT", "ROLLBACK", "COMMIT"]):
            db.execute("BEGIN IMMEDIATE")
            live.publish("orders/within", number, within=db)
            db.execute(ending)
        with pytest.raises(ConfigError, match="in no transaction that writes"):
            live.publish("orders/within", "none", within=db)
    with closing(sqlite3.connect(":memory:")) as other, pytest.raises(ConfigError, match=r"is an apsw\.Connection"):
        live.publish("orders/within", "none", within=other)
    client.hears("event", 2)
    assert client.data == [1, 3]


def test_a_publisher_that_is_not_open_joins_no_transaction(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    live = SyncPublisher(f"sqlite:///{path}")
    live.publish("c", 1)
    live.close()
    with SyncPublisher(f"sqlite:///{path}") as opened, closing(apsw.Connection(str(path))) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigError, match=r"call publisher\.open\(\) before BEGIN IMMEDIATE"):
            SyncPublisher(f"sqlite:///{path}").publish("c", 2, within=db)
        assert opened.publish("c", 2, within=db).offset == 2
        db.execute("COMMIT")


# --- where it is called


def test_it_works_where_asyncio_runs_and_says_so_where_trio_does(live: SyncPublisher) -> None:
    async def in_a_notebook() -> int:
        return live.publish("loops", 1).offset

    async def in_a_task() -> None:
        live.publish("loops", 2)

    async def in_its_thread() -> int:
        return (await trio.to_thread.run_sync(live.publish, "loops", 3)).offset

    assert asyncio.run(in_a_notebook()) == 1
    with pytest.raises(RuntimeError, match=r"await live\.publish there"):
        trio.run(in_a_task)
    assert trio.run(in_its_thread) == 2


# --- what cannot be


@pytest.mark.parametrize(
    ("log", "options", "says"),
    [
        ("memory:", {}, "known to its own process only"),
        (MemoryLog(), {}, "known to its own process only"),
        ("mysql://there", {}, "names no log"),
        (None, {}, "is a URL"),
        ("sqlite:///events.db", {"timeout": 0}, "number of seconds above 0"),
        ("sqlite:///events.db", {"timeout": "10"}, "number of seconds above 0"),
        ("sqlite:///events.db", {"limits": {"keep_events": 5}}, "limits= is a Limits"),
    ],
)
def test_settings_that_cannot_work_are_said_at_once(log: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        SyncPublisher(log, **options)


@pytest.mark.parametrize(
    ("channel", "data", "options", "error"),
    [
        ("", 1, {}, ChannelNameError),
        ("triolet.now", 1, {}, ChannelNameError),
        ("c", object(), {}, DataError),
        ("c", "x" * 100, {}, DataError),
        ("c", 1, {"name": "triolet.bye"}, DataError),
        ("c", 1, {"fold": "concat"}, DataError),
    ],
)
def test_what_cannot_be_published_is_refused_as_by_live_publish(
    channel: str, data: Any, options: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    live = SyncPublisher(f"sqlite:///{tmp_path}/events.db", limits=Limits(event_bytes=50))
    with pytest.raises(error):
        live.publish(channel, data, **options)
    assert not list(tmp_path.iterdir()), "nothing was opened for it"


def test_a_log_that_cannot_be_opened_is_tried_again_by_the_next_call(tmp_path: Path) -> None:
    live = SyncPublisher(f"sqlite:///{tmp_path}/later/events.db")
    with pytest.raises(LogError, match="make the folder"):
        live.publish("c", 1)
    (tmp_path / "later").mkdir()
    assert live.publish("c", 1).offset == 1
    live.close()
    live.close()
    for call in (live.open, lambda: live.publish("c", 2), lambda: live.delete("c")):
        with pytest.raises(NotServingError, match="is closed"):
            call()


class Slow(SqliteLog):
    """A log that is slow where it is told to be."""

    def __init__(self, path: Path, **seconds: float) -> None:
        super().__init__(path)
        self.seconds = seconds

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqliteLog]:
        await trio.sleep(self.seconds.get("open", 0))
        async with super().open() as log:
            try:
                yield log
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.seconds.get("close", 0))

    async def append(self, channel: str, drafts: Any) -> list[Any]:
        await trio.sleep(self.seconds.get("append", 0))
        return await super().append(channel, drafts)


@pytest.mark.parametrize(
    ("slow", "error", "says"), [("open", LogAway, "nothing was stored"), ("append", LogUncertain, "may be stored")]
)
def test_a_call_that_takes_too_long_says_whether_it_may_be_stored(
    slow: str, error: type[LogError], says: str, tmp_path: Path
) -> None:
    log = Slow(tmp_path / "events.db", **{slow: 3_600})
    live = SyncPublisher(log)
    if slow != "open":
        live.open()
    live.timeout = 0.05
    with pytest.raises(error, match=says):
        live.publish("c", 1, dedupe="1")
    live.timeout = PATIENCE
    live.close()
    with SyncPublisher(f"sqlite:///{tmp_path}/events.db") as again:
        assert again.publish("c", 1, dedupe="1").offset == 1


# --- how it ends


def test_a_publisher_that_nobody_has_any_more_ends_its_thread(tmp_path: Path) -> None:
    def threads() -> list[str]:
        gc.collect()
        return [thread.name for thread in threading.enumerate() if thread.name == "triolet.publisher"]

    before = len(threads())
    held = SyncPublisher(f"sqlite:///{tmp_path}/events.db")
    held.publish("c", 0)
    assert len(threads()) == before + 1, "one that somebody has keeps its thread"
    del held
    for number in range(3):
        SyncPublisher(f"sqlite:///{tmp_path}/events.db").publish("c", number)
    wait_for(lambda: len(threads()) == before, "no thread is left")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it has a thread, and that is what is tested
def test_a_log_that_was_not_closed_before_the_fork_is_refused_in_the_child(tmp_path: Path) -> None:
    live = SyncPublisher(Slow(tmp_path / "events.db", close=1))
    live.publish("c", 1)
    live.timeout = 0.5
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        try:
            live.publish("c", 2)
        except NotServingError as error:
            os.write(writes, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writes)
    with open(reads) as said:
        assert "could not be closed before this process was forked" in said.read()
    live.timeout = PATIENCE
    assert live.publish("c", 2).offset == 2, "it is closed by now, and opened again"
    live.close()


def run(program: str, *urls: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *urls]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@needs("redis-server", "redis-cli")
def test_parents_children_and_threads_publish_through_forks(redis: RedisServer, tmp_path: Path) -> None:
    process = run(FORKS, f"sqlite:///{tmp_path}/events.db", redis.url)
    try:
        said, complaints = process.communicate()
    finally:
        process.kill()
    assert (process.returncode, complaints) == (0, "")
    meanwhile, *last = map(int, said.split())
    assert last == [meanwhile + 2 * 4 + 1] * 2, "each is there once, and no offset is missing"


@needs("redis-server", "redis-cli")
def test_ctrl_c_ends_a_wait_and_a_process_ends_although_redis_hangs(redis: RedisServer) -> None:
    process = run(INTERRUPTED, redis.url)
    assert process.stdin is not None
    assert process.stdout is not None

    def goes_on(says: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"{says}\n"

    try:
        assert process.stdout.readline() == "open\n"
        redis.freeze()
        goes_on("published")
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        redis.thaw()
        goes_on("1 3")
        redis.freeze()
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate()
        assert complaints.rstrip().endswith("KeyboardInterrupt")
    finally:
        redis.thaw()
        process.kill()
        process.communicate()


@needs("redis-server", "redis-cli")
def test_redis_that_hangs_is_a_bounded_wait_and_its_repeat_is_safe(redis: RedisServer) -> None:
    with SyncPublisher(redis.url) as live:
        live.publish("hangs", 0)
        live.timeout = 0.3
        redis.freeze()
        try:
            with pytest.raises(LogUncertain, match="may be stored"):
                live.publish("hangs", 1, dedupe="1")
            other = SyncPublisher(redis.url, timeout=0.3)
            with pytest.raises(LogAway, match="nothing was stored"):
                other.publish("hangs", 1)
        finally:
            redis.thaw()
        live.timeout = other.timeout = PATIENCE
        assert live.publish("hangs", 1, dedupe="1").offset == 2
        other.close()
        with pytest.raises(ConfigError, match="is for a log in SQLite"):
            live.publish("hangs", 2, within=object())
