"""Several workers: none who connects is reset, whatever becomes of them, and the supervisor says what it cannot do."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from .clients import Client, CurlStream, LongPoll, Websockets
from .needs import needs
from .server import PATIENCE, START_SECONDS, Server, serving, wait_for
from .workers import ASK, Workers, answer, asking, workers


def cut_at_the_end(stack: ExitStack, clients: Sequence[Client]) -> None:
    for client in clients:
        stack.callback(client.cut)


def test_a_rolling_restart_loses_no_connection(tmp_path: Path) -> None:
    with workers(tmp_path) as server, asking(server.address) as outcomes:
        for _ in range(2):
            server.restart()
            outcomes["ok"] = 0
            wait_for(lambda: outcomes["ok"] > 50, "more answers")
    assert set(outcomes) == {"ok"}
    assert not server.crashes()


def test_new_workers_that_cannot_start_leave_the_old_ones(tmp_path: Path) -> None:
    with workers(tmp_path) as server:
        before = server.pids
        (tmp_path / "broken").touch()
        server.signal(signal.SIGHUP)
        wait_for(lambda: "the OLD ones serve on" in server.log, "the complaint")
        assert "this version cannot start" in server.log
        assert server.pids == before
        (tmp_path / "broken").unlink()
        server.restart()


def test_a_worker_that_is_killed_is_replaced_and_its_queue_is_served(tmp_path: Path) -> None:
    with workers(tmp_path) as server, ExitStack() as stack:
        victim = sorted(server.pids)[0]
        os.kill(victim, signal.SIGSTOP)
        clients = [stack.enter_context(socket.create_connection(server.address, PATIENCE)) for _ in range(100)]
        for client in clients:
            client.sendall(ASK)
        os.kill(victim, signal.SIGKILL)
        assert {answer(client) for client in clients} == {"ok"}
        wait_for(
            lambda: len(server.pids) == 2 and victim not in server.pids and server.whole(),
            "another worker",
            START_SECONDS,
        )
        assert server.metrics()["triolet_worker_restarts_total"] == 1


def test_a_worker_that_is_killed_is_replaced_although_what_it_has_forked_lives_on(tmp_path: Path) -> None:
    (tmp_path / "forks").touch()
    with workers(tmp_path) as server:
        try:
            victim = server.kill_one()
            wait_for(
                lambda: victim not in server.pids and len(server.pids) == 2 and server.whole(),
                "another worker",
                START_SECONDS,
            )
            assert server.metrics()["triolet_worker_restarts_total"] == 1
        finally:
            (tmp_path / "forks").unlink()


def test_a_server_that_stops_answers_those_who_wait_in_its_queue(tmp_path: Path) -> None:
    with serving(tmp_path, "workers_app:app") as server, ExitStack() as stack:
        os.kill(server.pid, signal.SIGSTOP)
        clients = [stack.enter_context(socket.create_connection(server.address, PATIENCE)) for _ in range(100)]
        for client in clients:
            client.sendall(ASK)
        os.kill(server.pid, signal.SIGTERM)
        os.kill(server.pid, signal.SIGCONT)
        assert {answer(client) for client in clients} == {"ok"}
        assert server.wait() == 0


def test_a_worker_that_is_told_to_end_is_replaced_while_it_drains(tmp_path: Path) -> None:
    with workers(tmp_path, grace=20) as server, ExitStack() as stack:
        clients = [CurlStream(f"{server.url}/c/x/events") for _ in range(6)]
        cut_at_the_end(stack, clients)
        for client in clients:
            client.hears("live")
        victim = sorted(server.pids)[0]
        os.kill(victim, signal.SIGTERM)
        wait_for(lambda: victim not in server.pids and len(server.pids) == 2, "another worker", START_SECONDS)
        wait_for(lambda: all(bool(client.of("bye")) or not client.ended for client in clients), "a bye to who was left")
        assert {client.of("bye")[0]["code"] for client in clients if client.of("bye")} <= {1012}


@needs("curl")
def test_all_clients_are_told_when_to_come_back(tmp_path: Path) -> None:
    with workers(tmp_path, grace=20) as server, ExitStack() as stack:
        url = f"{server.url}/c/x/events"
        streams: list[Client] = [kind(url) for kind in (CurlStream, Websockets) for _ in range(8)]
        cut_at_the_end(stack, streams)
        for client in streams:
            client.hears("live")
        poll = stack.enter_context(socket.create_connection(server.address, PATIENCE))
        poll.sendall(b"GET /c/x/events?wait=25 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow = [stack.enter_context(socket.create_connection(server.address, PATIENCE)) for _ in range(8)]
        for asked in slow:
            asked.sendall(b"GET /slow/2.0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: server.operator("/health/ready")[0] == 200, "readiness")
        wait_for(lambda: server.metrics()['triolet_followers{worker="0"}'] >= 0, "followers")
        server.signal(signal.SIGTERM)
        wait_for(lambda: server.operator("/health/ready")[0] == 503, "no readiness")
        assert server.operator("/health/live")[0] == 200
        byes = [client.hears("bye")[0] for client in streams]
        assert {bye["code"] for bye in byes} == {1012}
        assert len({bye["retry"] for bye in byes}) > len(byes) / 2
        assert max(bye["retry"] for bye in byes) <= 5_000
        poll.settimeout(PATIENCE)
        body = b""
        while not (found := re.search(rb'"retry":(\d+)', body)):
            data = poll.recv(4_096)
            assert data, body
            body += data
        assert 0 <= int(found[1]) <= 5_000
        assert {answer(asked) for asked in slow} == {"ok"}
        assert server.wait() == 0


def test_workers_that_cannot_start_end_it_all(tmp_path: Path) -> None:
    (tmp_path / "unlucky").touch()
    server = Workers(tmp_path)
    with pytest.raises(AssertionError, match="ended by itself"):
        server.start()
    assert server.wait() == 1
    assert server.log.count("triolet: the app did not start") == 1, "the first worker tells it, and no other is tried"
    assert server.log.splitlines()[-1] == "triolet: the app did not start: no such table: orders"
    assert not re.search(r"triolet\.(supervisor|server) ", server.log), "and the supervisor has nothing to add"


def test_a_log_in_memory_is_not_for_several_workers(tmp_path: Path) -> None:
    server = Workers(tmp_path, log="memory:")
    with pytest.raises(AssertionError, match="ended by itself"):
        server.start()
    assert server.wait() == 1
    assert 'use log="sqlite:///' in server.log


def test_one_worker_may_have_its_log_in_memory_and_be_replaced(tmp_path: Path) -> None:
    with workers(tmp_path, 1, log="memory:") as server:
        before = set(server.pids)
        server.restart()
        assert len(server.pids) == 1
        assert not before & set(server.pids)


@contextmanager
def starting(directory: Path, arguments: list[str]) -> Iterator[Server]:
    """A server whose app takes a minute to start."""
    (directory / "slow").write_text("60")
    server = Server(directory, "workers_app:app", log="sqlite:///events.db", arguments=arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "_is_open", lambda: True)
        server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["alone", "two workers"])
def test_sigterm_while_the_app_starts_is_obeyed(tmp_path: Path, arguments: list[str]) -> None:
    with starting(tmp_path, arguments) as server:
        wait_for(lambda: (tmp_path / "events.db").exists(), "the app to start", START_SECONDS)
        assert server.terminate() == 0
        assert "Traceback" not in server.log


def test_a_port_that_others_share_is_not_taken_for_free(tmp_path: Path) -> None:
    with workers(tmp_path) as server:
        bind = ["--bind", f"127.0.0.1:{server.port}"]
        command = [*server._command[:3], *bind, "--workers", "2"]
        second = subprocess.run(
            command, cwd=tmp_path, env=server._environment, capture_output=True, timeout=START_SECONDS
        )
        assert second.returncode == 1
        assert b"Address already in use" in second.stderr


def test_workers_whose_supervisor_is_killed_drain_and_end(tmp_path: Path) -> None:
    server = Workers(tmp_path)
    server.start()
    pids = server.pids
    client = Websockets(f"{server.url}/c/x/events")
    client.hears("live")
    server.kill()
    assert client.hears("bye")[0]["code"] == 1012
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of the workers")
    client.cut()


def test_metrics_are_those_of_all_workers(tmp_path: Path) -> None:
    with workers(tmp_path) as server, ExitStack() as stack:
        clients = [LongPoll(f"{server.url}/c/x/events") for _ in range(2)]
        cut_at_the_end(stack, clients)
        for client in clients:
            client.hears("live")
        seen = server.metrics()
        assert {f'triolet_followers{{worker="{number}"}}' for number in (0, 1)} <= seen.keys()
        assert (seen["triolet_workers"], seen["triolet_workers_serving"]) == (2, 2)


def test_a_second_sigterm_means_now_for_all_workers(tmp_path: Path) -> None:
    with workers(tmp_path, grace=60) as server, socket.create_connection(server.address, PATIENCE) as client:
        client.sendall(b"GET /slow/50.0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: server.operator("/health/ready")[0] == 200, "readiness")
        server.signal(signal.SIGTERM)
        wait_for(lambda: server.log.count("draining") == 2, "the drain")
        server.signal(signal.SIGTERM)
        assert server.process is not None
        assert server.process.wait(PATIENCE) == 0
