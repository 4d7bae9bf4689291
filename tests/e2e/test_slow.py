"""Slow clients on real sockets: what they cost the server, and that they cost the others nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from .crowd import KINDS, Crowd, Member
from .raw import PING, TEXT, frame
from .server import Server, serving, wait_for

ROOT = Path(__file__).parents[2]
APP = "tests.e2e.slow_app:app"
EVENTS = "/c/news/events"
KERNEL_BYTES = 160 << 10
"""What the kernel may hold for one client that takes nothing, of what the server has sent."""


def slow_server(directory: Path, grace: float = 5, **limits: float) -> AbstractContextManager[Server]:
    return serving(directory, APP, arguments=["--app-dir", str(ROOT)], limits=limits, grace=grace)


def publish(server: Server, count: int, size: int, batch: int = 1, pause: float = 0, keys: int = 0) -> None:
    """Have the server publish by itself; it answers at once."""
    plan = {"count": count, "bytes": size, "batch": batch, "pause": pause, "keys": keys}
    server.request("POST", "/c/news/publish", plan)


def state(server: Server) -> dict[str, Any]:
    return dict(server.request("GET", "/state"))


def holds(server: Server) -> tuple[int, int]:
    """Its tasks and descriptors."""
    return server.tasks(), server.descriptors()


def nothing_is_left(server: Server, before: tuple[int, int]) -> None:
    """Wait until there are no more tasks and descriptors than before."""
    wait_for(
        lambda: all(now <= then for now, then in zip(holds(server), before, strict=True)), "what it held to be gone"
    )


def send_queues(server: Server) -> list[int]:
    """What the kernel holds of what each of the server's connections was sent, in bytes (proc(5): tx_queue)."""
    sizes = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, status, queues, *_ = line.split()
        if int(local.partition(":")[2], 16) == server.port and status == "01":
            sizes.append(int(queues.partition(":")[0], 16))
    return sizes


def heard_all(members: Sequence[Member], last: int) -> bool:
    return all(member.last >= last for member in members)


def nothing_is_lost(members: Sequence[Member], last: int) -> None:
    """Each has heard every event up to the last, once, in order, and no gap."""
    for member in members:
        numbers = [event["data"]["n"] for event in member.events]
        assert numbers == list(range(last + 1 - len(numbers), last + 1)), (member.kind, numbers[:3], numbers[-3:])
        assert not member.of("gap")
        assert not member.ended


def worst_latency(crowd: Crowd, members: Sequence[Member]) -> float:
    """Publish 30 events in a third of a second, and say how long the slowest delivery took, in seconds."""
    first = members[0].last + 1
    publish(crowd.server, 30, 2_000, pause=0.01)
    crowd.run(lambda: heard_all(members, first + 29), f"event {first + 29} everywhere")
    latencies = [
        float(at - message["data"]["at"])
        for member in members
        for at, message in member.heard
        if message["type"] == "event" and message["data"]["n"] >= first
    ]
    return max(latencies)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_fast_clients_wait_no_longer_beside_one_that_reads_1_kb_a_second(kind: str, tmp_path: Path) -> None:
    """In turn without it and with it, so that what else the machine does falls on both. It is live when the events
    begin, and its kernel is full after a third of them."""
    with slow_server(tmp_path, stall_seconds=60) as server, Crowd(server) as crowd:
        fast = crowd.join(10, EVENTS)
        alone, beside = [], []
        for _ in range(5):
            alone.append(worst_latency(crowd, fast))
            (slow,) = crowd.join(1, EVENTS, [kind], small=True)
            crowd.slow_down([slow], 1_000)
            beside.append(worst_latency(crowd, fast))
            assert state(server)["pending"]
            assert not slow.ended
            crowd.drop(slow)
            wait_for(lambda: state(server)["connections"] == len(fast), "its end")
        assert median(beside) < median(alone) + 0.1, (alone, beside)
        nothing_is_lost(fast, 2 * 5 * 30)


def test_500_stalled_among_1000_are_gone_in_time_and_the_others_lose_nothing(tmp_path: Path) -> None:
    """How long each had taken nothing is measured by the server's own clock; when the machine let it wait for a core
    meanwhile, that is not its fault. Who reads a byte a second is no better off: its kernel tells ours of room only
    when there is some worth telling of (RFC 9293 section 3.8.6.2.2)."""
    with slow_server(tmp_path, stall_seconds=3) as server, Crowd(server) as crowd:
        fast = crowd.join(500, EVENTS)
        half = holds(server)
        stalled = crowd.join(500, EVENTS, small=True)
        memory = server.memory()
        waited = server.waited_for_a_core()
        crowd.slow_down(stalled[::2], 0)
        crowd.slow_down(stalled[1::2], 1)
        publish(server, 16, 20_000, pause=0.05)
        crowd.run(lambda: heard_all(fast, 16), "what was published")
        seen = state(server)  # where the machine is busy the first are gone already
        assert len(seen["pending"]) + len(seen["gone_after"]) == len(stalled)
        assert max(send_queues(server)) < KERNEL_BYTES
        crowd.run(lambda: state(server)["connections"] == len(fast), "the end of the stalled")
        after = state(server)
        assert len(after["gone_after"]) == len(stalled)
        assert min(after["gone_after"]) > 2.9
        assert max(after["gone_after"]) < 3 + 1 + server.waited_for_a_core() - waited, sorted(after["gone_after"])[-20:]
        assert (after["followers"], after["live"], after["pending"]) == (500, 500, [])
        nothing_is_left(server, half)
        assert server.memory() < memory + (30 << 20)
        publish(server, 10, 2_000)
        crowd.run(lambda: heard_all(fast, 26), "what was published later")
        nothing_is_lost(fast, 26)
        assert not server.crashes()


def test_the_server_ends_within_its_grace_though_500_of_1000_are_stalled(tmp_path: Path) -> None:
    with slow_server(tmp_path, grace=10, stall_seconds=60) as server, Crowd(server) as crowd:
        fast = crowd.join(500, EVENTS)
        stalled = crowd.join(500, EVENTS, small=True)
        crowd.slow_down(stalled, 0)
        publish(server, 16, 20_000)
        crowd.run(lambda: heard_all(fast, 16), "what was published")
        assert len(state(server)["pending"]) == len(stalled)
        assert server.process is not None
        server.process.terminate()
        crowd.run(lambda: not server.alive(), "the end of the server")
        assert server.process.returncode == 0, "it was there longer than its grace"
        crowd.run(lambda: all(member.ended for member in fast), "the end of the connections")
        byes = [member.of("bye") for member in fast]
        assert {(bye["code"], bye["reason"]) for (bye,) in byes} == {(1012, "restarting")}
        assert len({bye["retry"] for (bye,) in byes}) > 250, "they all come back in the same moment"
        assert not server.crashes()


def test_clients_at_a_byte_a_second_are_kept_at_a_constant_cost_or_closed_as_their_policy_says(tmp_path: Path) -> None:
    limits = {"stall_seconds": 60, "policy_seconds": 0.5, "goodbye_seconds": 0.5, "keep_bytes": 4 << 20}
    with slow_server(tmp_path, **limits) as server, Crowd(server) as crowd:
        fast = crowd.join(10, EVENTS)
        slow = crowd.join(60, EVENTS, small=True)
        crowd.slow_down(slow, 1)
        publish(server, 50, 20_000, pause=0.001)
        crowd.run(lambda: heard_all(fast, 50), "what was published")
        before = state(server)
        assert len(before["pending"]) == len(slow)
        impatient = crowd.join(60, "/impatient/news/events", small=True)
        crowd.slow_down(impatient, 1)
        for last in range(100, 1_051, 50):  # so that these fall behind by no more than is kept, however busy this is
            publish(server, 50, 20_000, batch=2, pause=0.001)
            crowd.run(partial(heard_all, fast, last), "twenty times as much", 30)
        crowd.run(lambda: state(server)["connections"] == 70, "the end of the impatient")
        after = state(server)
        assert len(after["pending"]) == len(slow)
        assert after["held"] < before["held"] + (4 << 20)
        assert max(send_queues(server)) < KERNEL_BYTES
        crowd.slow_down(slow, None)
        crowd.run(lambda: heard_all(slow, 1_050), "the present, late", 30)
        nothing_is_lost(fast, 1_050)
        assert {gap["reason"] for member in slow for gap in member.of("gap")} == {"expired"}
        assert not any(member.ended for member in slow)


def test_who_sends_and_never_reads_is_gone_in_time(tmp_path: Path) -> None:
    limits = {"stall_seconds": 2, "goodbye_seconds": 1, "silence_seconds": 20}
    with slow_server(tmp_path, **limits) as server, Crowd(server) as crowd:
        publish(server, 100, 20_000, batch=100)
        fast = crowd.join(10, EVENTS, after=0)
        before = holds(server)
        said = (
            frame(PING, b"x" * 125),
            text({"type": "message", "data": "x" * 20_000}),
            text({"type": "follow", "url": EVENTS, "after": "0"}),
        )
        deaf = crowd.join(90, EVENTS, ["follow"], small=True, pace=0)
        for _ in range(100):
            for number, member in enumerate(deaf):
                member.send(said[number % 3])
            crowd.turn()
        assert max(send_queues(server)) < KERNEL_BYTES
        assert server.memory() < 200 << 20
        crowd.run(lambda: state(server)["connections"] == len(fast), "the end of who reads nothing", 60)
        publish(server, 10, 2_000)
        crowd.run(lambda: heard_all(fast, 110), "what was published later")
        nothing_is_lost(fast, 110)
        nothing_is_left(server, before)
        assert not server.crashes()


@pytest.mark.parametrize("how", ["finish", "reset", "vanish"])
def test_who_goes_in_the_middle_of_a_frame_leaves_nothing(how: str, tmp_path: Path) -> None:
    whole = text({"type": "message", "data": "x" * 20_000})
    limits = {"message_seconds": 2, "goodbye_seconds": 1}
    with slow_server(tmp_path, **limits) as server, Crowd(server) as crowd:
        fast = crowd.join(10, EVENTS)
        before = holds(server)
        leaving = crowd.join(60, EVENTS, ["follow"])
        for number, member in enumerate(leaving):
            member.mute = True
            member.send(whole[: (1, 3, 7, 10_000)[number % 4]])
        publish(server, 10, 2_000, pause=0.01)
        for member in leaving:
            if how == "finish":
                member.socket.shutdown(socket.SHUT_WR)
            elif how == "reset":
                crowd.drop(member)
        crowd.run(lambda: state(server)["connections"] == len(fast), "their end")
        crowd.run(lambda: heard_all(fast, 10), "what was published")
        nothing_is_lost(fast, 10)
        nothing_is_left(server, before)
        if how == "vanish":
            crowd.run(lambda: all(member.ended for member in leaving), "their own end")
            assert {member.code for member in leaving} == {1008}
        assert not server.crashes()


def text(message: object) -> bytes:
    """A client's message as a frame."""
    return frame(TEXT, json.dumps(message).encode())
