"""Kill -9 of a process that publishes: what was acknowledged is in the file, whatever it was doing."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import trio

from triolet.app.open_log import open_log
from triolet.event import Cursor, Event
from triolet.log import Kept

PUBLISHER = """
import os, sys, trio
from triolet.event import Draft
from triolet.app.open_log import open_log

async def publish(log, number):
    turn = 0
    while True:
        turn += 1
        value = f"{sys.argv[2]}-{number}-{turn}"
        drafts = [Draft.of({"value": value, "of": [part, number % 3 + 1]}) for part in range(number % 3 + 1)]
        events = await log.append("orders/" + str(number % 4), drafts)
        for event in events:
            os.write(1, f"{event.channel} {event.cursor} {value}\\n".encode())

async def main():
    async with open_log(sys.argv[1]).open() as log, trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(publish, log, number)

trio.run(main)
"""
"""Sixteen tasks that append one to three events at a time to four channels, and write down each that is
acknowledged."""

ENOUGH = 2_000


async def _publish_and_be_killed(url: str, life: int, program: str = PUBLISHER) -> list[list[str]]:
    """Return what it said: of the publisher channel, cursor and value of what was acknowledged."""
    command = [sys.executable, "-c", program, url, str(life)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    output = process.stdout
    assert output is not None
    said = b""
    try:
        while said.count(b"\n") < ENOUGH:
            received = await output.receive_some()
            assert received, "the publisher ended by itself"
            said += received
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
    async for received in output:
        said += received
    await output.aclose()
    assert process.returncode == -signal.SIGKILL
    return [line.split() for line in said.decode().split("\n")[:-1]]


async def _everything(url: str) -> dict[str, list[Event]]:
    async with open_log(url).open() as log:
        read = partial(log.read, after=Cursor("", 0), limit=1 << 30, max_bytes=1 << 40)
        return {f"orders/{number}": list((await read(f"orders/{number}")).events) for number in range(4)}


@pytest.mark.parametrize("synchronous", ["normal", "full"])
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, synchronous: str) -> None:
    url = f"sqlite:///{tmp_path / 'orders.db'}?synchronous={synchronous}"
    acknowledged: list[list[str]] = []
    for life in range(3):
        acknowledged += await _publish_and_be_killed(url, life)
        kept = await _everything(url)
        found = {(channel, str(e.cursor), e.data["value"]) for channel, events in kept.items() for e in events}
        lost = [line for line in acknowledged if tuple(line) not in found]
        assert lost == []
        for events in kept.values():
            assert [event.offset for event in events] == list(range(1, len(events) + 1))
            parts = Counter((event.data["value"], event.data["of"][1]) for event in events)
            assert all(count == whole for (_, whole), count in parts.items()), "an append was stored in part"
    assert len({event.cursor.epoch for events in kept.values() for event in events}) == 1


COMMANDER = """
import hashlib, os, sys, trio
from triolet.event import Draft
from triolet.app.open_log import open_log
from triolet.log import Kept

async def command(log, number):
    holder, turn = os.urandom(12), 0
    while True:
        turn += 1
        name = f"{sys.argv[2]}-{number}-{turn}"
        key = hashlib.sha256(name.encode()).digest()
        assert await log.claim(key, key, holder, 60) is None
        os.write(1, f"claimed {name}\\n".encode())
        writes = [(f"done/{number % 4}", [Draft.of(name)]), ("all", [Draft.of(name), Draft.of(name)])]
        done = await log.commit(key, holder, name.encode(), 3600, writes)
        assert not isinstance(done, Kept)
        os.write(1, f"committed {name}\\n".encode())

async def main():
    async with open_log(sys.argv[1]).open() as log, trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(command, log, number)

trio.run(main)
"""
"""Sixteen tasks that claim and commit, and write down what was claimed, and what is acknowledged."""


@pytest.mark.parametrize("synchronous", ["normal", "full"])
async def test_of_a_commit_nothing_or_all_survives_kill_9(tmp_path: Path, synchronous: str) -> None:
    url = f"sqlite:///{tmp_path / 'orders.db'}?synchronous={synchronous}"
    said: list[list[str]] = []
    for life in range(3):
        said += await _publish_and_be_killed(url, life, COMMANDER)
    claimed = {name for what, name in said if what == "claimed"}
    committed = {name for what, name in said if what == "committed"}
    assert len(committed) > ENOUGH
    async with open_log(url).open() as log:
        read = partial(log.read, after=Cursor("", 0), limit=1 << 30, max_bytes=1 << 40)
        pages = [await read(f"done/{number}") for number in range(4)]
        done = Counter(event.data for page in pages for event in page.events)
        twice = Counter(event.data for event in (await read("all")).events)
        for name in claimed:
            key = hashlib.sha256(name.encode()).digest()
            kept = await log.claim(key, key, b"after", 60)
            assert kept is not None, "a claim that was acknowledged is lost"
            stored = kept == Kept(key, name.encode())
            assert stored or (kept == Kept(key, None) and name not in committed)
            assert (done[name], twice[name]) == ((1, 2) if stored else (0, 0))
    assert set(done) <= claimed
