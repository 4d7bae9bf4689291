"""The jobs' own tests: run them in this folder with ``pytest``. A try takes a second of their clock, and no process."""

import csv
from collections.abc import Callable
from typing import Any

import app as jobs
import pytest
import trio
from app import AIRPORTS, app
from hubs import read_places, search
from trio.testing import MockClock

from triolet.testing import TRANSPORTS, Answer, MemoryServer, serve

JOB = "/jobs/1f0c7d1e-6b7a-4d53-9d0e-4a7c51d0a001"
TOWNS = b"name,latitude,longitude\n" + b"".join(b"Town %d,%d,%d\n" % (at, 40 + at % 2, at // 2) for at in range(40))
QUICK = {"hubs": 3, "tries": 2, "alone": 0}
LONG = {"hubs": 3, "tries": 100, "alone": 0}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(function: Callable[..., Any], *args: Any) -> Any:
        await trio.sleep(1)
        return function(*args)

    monkeypatch.setattr(jobs, "in_worker", call)
    monkeypatch.setattr(jobs, "AIRPORTS", TOWNS)


async def put(server: MemoryServer, body: bytes, asked: str = "hubs=3&tries=2&alone=1&name=towns.csv") -> Answer:
    return await server.request("PUT", f"{JOB}?{asked}", body=body)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_job_is_begun_once_however_often_it_is_sent_and_tells_how_far_it_is(
    transport: str, autojump_clock: MockClock
) -> None:
    async with serve(app, log="memory:") as server, server.client(transport, "/jobs/events", after=0) as page:
        first, second = [(await page.command("/jobs", QUICK, id="8e03978e"))["data"] for _ in range(2)]
        assert first == second
        assert (await page.expect(event="job"))["data"] == {**QUICK, **first, "name": "US airports"}
        async with server.client(transport, f"/jobs/{first['job']}/events?fold=1", after=0) as card:
            assert (await card.until("end"))["data"] == {"outcome": "done"}
            said = [message for message in card.heard if message["type"] == "event"]
        assert [one["data"]["count"] for one in said if one["event"] == "places"] == [40]
        assert said[-1]["data"]["done"] == 1
        assert sum(count for _, _, count, _ in said[-1]["data"]["hubs"]) == 40
        await page.nothing_for(60)


async def test_a_job_that_nobody_looks_at_is_stopped_and_one_that_may_goes_on(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/live") as page:
        begun = [(await page.command("/jobs", {**LONG, "alone": alone}))["data"]["job"] for alone in (0, 1)]
        async with server.sse(f"/jobs/{begun[0]}/events") as card:
            await trio.sleep(60)
            await card.pick(lambda said: "working" in str(said.get("data")), "a try")
        await trio.sleep(60)
        for job, end in zip(begun, ({"outcome": "stopped", "reason": "unwatched"}, {"outcome": "done"}), strict=True):
            async with server.sse(f"/jobs/{job}/events?fold=1", after=0) as card:
                assert (await card.until("end"))["data"] == end


async def test_two_jobs_work_and_the_third_waits_until_one_of_them_is_stopped(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.websocket("/live") as page:
        begun = [(await page.command("/jobs", {**LONG, "alone": 1}))["data"]["job"] for _ in range(3)]
        async with server.sse(f"/jobs/{begun[2]}/events") as third:
            await third.nothing_for(30)
            await page.command(f"/jobs/{begun[0]}/stop")
            await third.expect(event="places")
        for job in begun:
            await page.command(f"/jobs/{job}/stop")


async def test_a_file_is_told_of_part_by_part_and_is_the_same_job_when_it_is_sent_again(
    autojump_clock: MockClock,
) -> None:
    async with serve(app, log="memory:") as server, server.sse(f"{JOB}/events") as card:
        statuses = [(await put(server, TOWNS)).status for _ in range(2)]
        await card.expect(event="progress", data={"state": "receiving", "done": 1.0})
        assert (await card.until("end"))["data"] == {"outcome": "done"}
        statuses.append((await put(server, TOWNS)).status)
        assert statuses == [200, 503, 200]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"town\nParis\n", "its first line has to name"),
        (b"latitude,longitude\n1,2\n", "Sample larger than population"),
        (b"latitude,longitude\n1,x\n" * 9, "could not convert"),
        (b"latitude,longitude\n1\n", "could not convert"),
        (b"latitude,longitude\nnan,2\n", "nowhere on Earth"),
        (b"latitude,longitude\n1,181\n", "nowhere on Earth"),
        (b"\xff\xfe", "decode"),
    ],
)
async def test_what_is_wrong_with_a_file_is_said(body: bytes, why: str, autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(f"{JOB}/events") as card:
        await put(server, body)
        end = await card.until("end")
        assert end["data"]["outcome"] == "failed"
        assert why in end["data"]["reason"]


async def test_a_file_that_breaks_off_fails_its_job(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(f"{JOB}/events") as card:
        sender = server.connect()
        head = f"PUT {JOB}?hubs=3&tries=2&alone=1 HTTP/1.1\r\nHost: a\r\nContent-Length: {len(TOWNS)}\r\n\r\n"
        await sender.send_all(head.encode() + TOWNS[:100])
        await card.expect(event="progress", data={"state": "receiving", "done": 100 / len(TOWNS)})
        sender.reset()
        end = await card.until("end")
        assert end["data"] == {"outcome": "failed", "reason": "the file has broken off"}


@pytest.mark.parametrize(
    ("asked", "size"),
    [("hubs=1&tries=2", 9), ("hubs=3&tries=101", 9), ("", 9), ("hubs=3&tries=1", 0), ("hubs=3&tries=1", (4 << 20) + 1)],
)
async def test_what_is_no_job_is_refused(asked: str, size: int, autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse("/jobs/events", after=0) as page:
        assert (await put(server, b"x" * size, asked)).status == 400
        assert (await page.command("/jobs", {"hubs": "3"}))["status"] == 400
        await page.nothing_for(60)


def test_hubs_are_found_amid_their_places() -> None:
    corners = [
        (x + dx, y + dy, f"{x:g} {y:g}") for x in (0.0, 100.0) for y in (0.0, 100.0) for dx in (-1, 1) for dy in (-1, 1)
    ]
    far, hubs = min(search(corners, 4, seed) for seed in range(20))
    assert far == pytest.approx(2**0.5)
    assert sorted(hubs) == [(0, 0, 4, "0 0"), (0, 100, 4, "0 100"), (100, 0, 4, "100 0"), (100, 100, 4, "100 100")]


def test_the_airports_are_those_of_the_48_states() -> None:
    rows = list(csv.DictReader(AIRPORTS.decode().splitlines()))
    assert len(read_places(AIRPORTS)) == len(rows) > 3_000
    assert {row["state"] for row in rows} & {"AK", "HI"} == set()
