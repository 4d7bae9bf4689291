"""Events that are part of an app's own transactions, with two worker processes, and with kill -9 in between."""

from __future__ import annotations

import http.client
import json
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import apsw

from .clients import CurlStream
from .needs import needs
from .server import PATIENCE, START_SECONDS, wait_for
from .workers import Workers, workers

HEARS = 8
"""Clients: with two workers that share a port, on each of them some."""


def _ask(server: Workers, path: str) -> dict[str, Any] | None:
    """Post, and return the answer; None where the worker was killed before it answered."""
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    try:
        connection.request("POST", path)
        answer = connection.getresponse()
        assert answer.status == 200
        return dict(json.loads(answer.read()))
    except (ConnectionError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _rows(path: Path) -> list[str]:
    with closing(apsw.Connection(str(path))) as db:
        return [number for (number,) in db.execute("SELECT number FROM orders ORDER BY rowid")]


def _followers(server: Workers) -> list[float]:
    metrics = server.metrics()
    return [metrics.get(f'triolet_followers{{worker="{number}"}}', 0) for number in range(server.number)]


@needs("curl")
def test_committed_events_are_heard_on_all_workers_and_others_never_were(tmp_path: Path) -> None:
    with workers(tmp_path, app="within_app:app") as server, ExitStack() as stack:
        clients: list[CurlStream] = []
        while len(clients) < HEARS or not all(_followers(server)):
            clients.append(CurlStream(f"{server.url}/c/orders/events"))
            stack.callback(clients[-1].cut)
            clients[-1].hears("live")
            assert len(clients) < 10 * HEARS, "one worker gets all"
        served = set()
        for number in range(12):
            answer = _ask(server, f"/order/{number}?ending={'rollback' if number % 3 == 0 else 'commit'}")
            assert answer is not None
            served.add(answer["pid"])
        kept = [str(number) for number in range(12) if number % 3]
        for client in clients:
            client.hears("event", len(kept))
            assert client.data == kept
            assert [int(event["id"].split(".")[1]) for event in client.of("event")] == list(range(1, len(kept) + 1))
        assert _rows(tmp_path / "events.db") == kept
        assert served <= server.pids


@needs("curl")
def test_what_was_not_committed_when_its_process_was_killed_never_was(tmp_path: Path) -> None:
    with workers(tmp_path, app="within_app:app") as server, ExitStack() as stack:
        assert _ask(server, "/order/first?ending=commit")
        for turn, ending in enumerate(("killed", "commit&kill=1") * 2):
            before = server.pids
            assert _ask(server, f"/order/{turn}?ending={ending}") is None
            wait_for(lambda: server.pids != before and server.whole(), "another worker", START_SECONDS)  # noqa: B023 - within the turn
            assert _ask(server, f"/order/after-{turn}?ending=commit")
        kept = ["first", "after-0", "1", "after-1", "after-2", "3", "after-3"]
        assert _rows(tmp_path / "events.db") == kept
        client = CurlStream(f"{server.url}/c/orders/events", after="0")
        stack.callback(client.cut)
        client.hears("event", len(kept))
        assert client.data == kept
        assert [int(event["id"].split(".")[1]) for event in client.of("event")] == list(range(1, len(kept) + 1))
        assert not client.of("gap")
