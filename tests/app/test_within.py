"""``live.publish(…, within=connection)``: an event is part of a transaction of the app's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest
import trio
from trio.testing import MockClock

from tests.peer import peer
from tests.shop import ORDER, ORDERS, make_shop
from triolet import ChannelNameError, Command, ConfigError, DataError, Draft, Limits, NotServingError, policies
from triolet.event import OWN_PREFIX
from triolet.testing.faults import stalled
from triolet.testing.server import serve


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


@contextmanager
def _transaction(path: Path, ending: str = "COMMIT") -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(str(path))) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE IF NOT EXISTS orders(state TEXT)")
        db.execute("INSERT INTO orders VALUES ('packed')")
        yield db
        db.execute(ending)


async def test_a_client_hears_what_is_committed_and_nothing_of_what_is_rolled_back(
    path: Path, autojump_clock: MockClock
) -> None:
    app, live = make_shop(log=f"sqlite:///{path}")
    async with serve(app) as server, peer(server, ORDERS) as client:
        await client.until("live")
        with _transaction(path, "ROLLBACK") as db:
            never = await live.publish(ORDER, "never", within=db)
        with _transaction(path) as db:
            one = await live.publish(ORDER, "one", name="state", key="k", dedupe="d", within=db)
            two, three = await live.publish_many(ORDER, ["two", Draft.of("three", name="state")], within=db)
            await trio.sleep(0.5)
        heard = [await client.until("event") for _ in range(3)]
        assert [(event["id"], event["data"]) for event in heard] == [
            (str(event.cursor), event.data) for event in (one, two, three)
        ]
        assert never.cursor == one.cursor
        assert await live.publish(ORDER, "again", dedupe="d") == one


async def test_a_log_that_has_no_file_takes_none(path: Path, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app):
        with closing(apsw.Connection(":memory:")) as db, pytest.raises(ConfigError, match="MemoryLog"):
            await live.publish(ORDER, 1, within=db)
        assert (await live.log.head(ORDER)).offset == 0


async def test_what_cannot_be_published_is_refused_and_the_transaction_goes_on(
    path: Path, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(event_bytes=100), log=f"sqlite:///{path}")
    async with serve(app):
        with _transaction(path) as db:
            with pytest.raises(DataError):
                await live.publish(ORDER, "x" * 100, within=db)
            with pytest.raises(DataError):
                await live.publish(ORDER, object(), within=db)
            for name in ("", f"{OWN_PREFIX}x"):
                with pytest.raises(ChannelNameError):
                    await live.publish(name, 1, within=db)
            await live.publish(ORDER, 1, within=db)
        assert (await live.log.head(ORDER)).offset == 1
    with _transaction(path) as db, pytest.raises(NotServingError):
        await live.publish(ORDER, 1, within=db)


async def test_no_slow_client_holds_up_who_holds_the_file(path: Path, autojump_clock: MockClock) -> None:
    limits = Limits(page_events=4, stall_seconds=100, silence_seconds=1e9)
    app, live = make_shop(limits, log=f"sqlite:///{path}", policy=policies.block(events=20, seconds=50))
    async with serve(app) as server, peer(server, ORDERS) as client:
        await client.until("live")
        with stalled(server.network):
            with trio.move_on_after(40) as waiting:
                while True:
                    await live.publish_many(ORDER, ["x" * 10_000] * 10)
            assert waiting.cancelled_caught
            with _transaction(path) as db:
                start = trio.current_time()
                await live.publish(ORDER, "within", within=db)
                assert trio.current_time() == start


async def test_a_command_that_is_repeated_has_its_rows_and_their_event_once(
    path: Path, autojump_clock: MockClock
) -> None:
    app, live = make_shop(log=f"sqlite:///{path}")
    runs: list[str] = []

    @live.command("/pack")
    async def pack(command: Command) -> dict[str, int]:
        with closing(apsw.Connection(str(path))) as db:
            db.execute("CREATE TABLE IF NOT EXISTS packed(id TEXT PRIMARY KEY)")
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT OR IGNORE INTO packed VALUES (?)", (command.id,))
            event = await live.publish(ORDER, "packed", dedupe=command.id, within=db)
            db.execute("COMMIT")
            runs.append(command.id)
            if len(runs) == 1:
                raise RuntimeError("after the commit, and before the answer")
            return {"offset": event.offset, "rows": db.execute("SELECT count(*) FROM packed").get}

    async with serve(app) as server:
        statuses = [(await server.post("/pack", idempotency_key="one")).status for _ in range(2)]
        answer = await server.post("/pack", idempotency_key="one")
        assert (statuses, answer.json, runs) == ([500, 200], {"offset": 1, "rows": 1}, ["one", "one"])
        assert (await live.log.head(ORDER)).offset == 1
