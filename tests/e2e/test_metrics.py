"""``triolet serve --metrics``, scraped by a real HTTP client while real clients follow."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from triolet.bounds import ADMIN_CONNECTIONS

from .ports import free_port
from .server import Server, serving, wait_for

UPGRADE = (
    b"GET /c/drained/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[Server]:
    with serving(tmp_path, arguments=["--metrics", str(port)]) as server:
        yield server
        assert not server.crashes()


def scrape(port: int) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample, by name and label values."""
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_a_running_server_is_scraped(server: Server, port: int) -> None:
    with httpx.stream("GET", f"{server.url}/c/scraped/events", headers={"accept": "text/event-stream"}) as stream:
        lines = stream.iter_lines()
        while next(lines) != "event: triolet.live":
            pass
        server.publish("scraped", {"n": 1})
        while next(lines) != 'data: {"n":1}':
            pass
        found = scrape(port)
        assert found["triolet_connections_open", ("sse",)] == 1
        assert found["triolet_events_published_total", ()] == 1
        assert found["triolet_events_delivered_total", ("live",)] == 1
        assert found["triolet_event_age_written_seconds_count", ()] == 1
        assert 0 <= found["triolet_event_age_written_seconds_sum", ()] < 5
    wait_for(lambda: scrape(port)["triolet_connections_open", ("sse",)] == 0, "the client's connection to be gone")
    found = scrape(port)
    assert found["triolet_connection_duration_seconds_count", ()] == 1
    assert found["triolet_connections_closed_total", ("1006", "gone")] == 1
    assert not [labels for _, labels in found if any("scraped" in label for label in labels)]


def test_clients_are_not_served_on_the_operators_port_nor_operators_on_theirs(server: Server, port: int) -> None:
    assert httpx.get(f"http://127.0.0.1:{port}/c/scraped/events").status_code == 404
    assert httpx.get(f"{server.url}/metrics").status_code == 404
    assert httpx.get(f"http://127.0.0.1:{port}/health/live").text == "live\n"
    assert httpx.get(f"http://127.0.0.1:{port}/health/ready").text == "ready\n"


def test_operators_that_say_nothing_hold_up_neither_scrapes_nor_the_end(server: Server, port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(ADMIN_CONNECTIONS + 8)]
    try:
        assert httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=30).status_code == 200
        more = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        idle += more
        assert server.terminate() == 0
    finally:
        for connection in idle:
            connection.close()


def test_a_server_that_drains_is_not_ready_and_still_scraped(tmp_path: Path, port: int) -> None:
    limits = {"goodbye_seconds": 4}
    with serving(tmp_path, arguments=["--metrics", str(port)], limits=limits, grace=8) as server:
        with socket.create_connection(server.address) as client:
            client.sendall(UPGRADE)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 101")
            os.kill(server.pid, signal.SIGTERM)  # its client is waited for: it answers no close frame
            wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 503, "draining")
            assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
            assert scrape(port)["triolet_draining", ()] == 1
        assert server.wait() == 0
