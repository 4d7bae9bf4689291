"""The docs' apps in Flask, Django, FastAPI and Celery publish, with the real libraries, and a served client hears."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.clients import Websockets
from tests.e2e.needs import needs
from tests.e2e.redis.servers import RedisServer
from tests.e2e.server import PATIENCE, START_SECONDS, Server, wait_for
from tests.pages import kept
from triolet import SyncPublisher

EXAMPLES = kept("publishing")

PROGRAMS = {
    "flask": """
import flask_app
assert flask_app.app.test_client().post("/orders/flask/pay").status_code == 200
""",
    "django": """
import django_app
from django.test import Client
assert Client().post("/orders/django/pay").status_code == 204
""",
    "fastapi": """
import fastapi_app
from starlette.testclient import TestClient
assert TestClient(fastapi_app.app).post("/orders/fastapi/pay").status_code == 200
""",
    "celery": """
import tasks
tasks.app.conf.task_always_eager = True
tasks.pack.delay("celery").get()
""",
}
"""What each does in one and the same process, which has a publisher for each of them in the end."""
PAID = [("order-status", {"state": "paid"})]
PACKED = [("packed", 50), ("packed", 100)]
ASKS = """
import os
from celery import Celery
for _ in range(2):
    Celery(broker=os.environ["BROKER"]).send_task("tasks.pack", ["worker"], task_id="fixed")
"""

pytestmark = needs("redis-server", "redis-cli")


def library(name: str) -> bool:
    """Skip the test, or in CI fail it, where a library is missing."""
    if os.environ.get("CI"):
        __import__(name)
    pytest.importorskip(name, reason=f"{name} is not installed: pip install -e '.[dev]'")
    return True


def environment(redis: RedisServer, folder: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(EXAMPLES), os.environ.get("PYTHONPATH")])),
        "LIVE_LOG": redis.url,
        "BROKER": f"{redis.url[:-1]}1",
        "SHOP_FILE": str(folder / "shop.db"),
    }


def run(program: str, redis: RedisServer, folder: Path) -> None:
    """Run a program to its end, which an open publisher must not keep from coming."""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment(redis, folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


@contextmanager
def following(server: Server, order: str) -> Iterator[Websockets]:
    client = Websockets(f"{server.url}/orders/{order}/events")
    try:
        client.hears("live")
        yield client
    finally:
        client.cut()


def heard(client: Websockets, count: int) -> list[tuple[str, object]]:
    return [(event["event"], event["data"]) for event in client.hears("event", count)]


def test_the_views_and_the_task_of_the_docs_are_heard(by_redis: Server, redis: RedisServer, tmp_path: Path) -> None:
    with ExitStack() as stack:
        clients = {name: stack.enter_context(following(by_redis, name)) for name in PROGRAMS if library(name)}
        run("".join([PROGRAMS[name] for name in clients]), redis, tmp_path)
        for name, client in clients.items():
            expected = PACKED if name == "celery" else PAID
            assert heard(client, len(expected)) == expected, name


def test_a_task_that_celerys_worker_runs_twice_is_heard_once(
    by_redis: Server, redis: RedisServer, tmp_path: Path
) -> None:
    library("celery")
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "tasks", "worker", "-P", "prefork", "-c", "1"]
    quiet = ["-l", "info", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    with following(by_redis, "worker") as client:
        run(ASKS, redis, tmp_path)
        with open(tmp_path / "log", "wb") as log:
            worker = subprocess.Popen(
                [*command, *quiet], cwd=tmp_path, env=environment(redis, tmp_path), stdout=log, stderr=log
            )
        try:
            log_file = tmp_path / "log"
            succeeded = "Task tasks.pack[fixed] succeeded"
            wait_for(lambda: log_file.read_text().count(succeeded) == 2, "both done", START_SECONDS)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(START_SECONDS) == 0
        finally:
            worker.kill()
            worker.wait(PATIENCE)
        with SyncPublisher(redis.url) as publisher:
            publisher.publish("orders/worker", "all is heard")
        assert heard(client, 3) == [*PACKED, ("message", "all is heard")]
