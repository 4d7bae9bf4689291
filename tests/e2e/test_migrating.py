"""The other servers' side of the page "Migrate from another server" says what the page says."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.test_docs import load
from triolet import Event, SyncPublisher, Triolet

from .migrating import SAID, STATES, ask, sse_events

FOLDER = Path(__file__).parents[2] / "docs" / "how-to" / "migrating"
ROOT = Path(__file__).parents[2]


def page_of(module: Any) -> list[Any]:
    """What an EventSource of sse-starlette's hears while the order goes on."""

    async def advance() -> None:
        for _, data in STATES:
            await ask(module.app, "POST", f"/orders/A123/{data['state']}")

    return asyncio.run(
        sse_events(module.app, "/orders/A123/events", len(STATES), advance, lambda: bool(module.queues.get("A123")))
    )


def test_sse_starlettes_page_hears_what_the_page_says() -> None:
    assert page_of(load("sse_theirs", "migrating")) == STATES


def test_the_server_of_the_time_between_publishes_to_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = f"sqlite:///{tmp_path}/orders.db"
    monkeypatch.setenv("LIVE_LOG", log)
    module = load("sse_both", "migrating")
    with closing(module.live):
        assert page_of(module) == STATES
    del vars(module)["live"]

    async def published() -> list[Any]:
        async with Triolet(log=log) as live, live.follow("orders/A123", after=0) as events:
            heard: list[Any] = []
            async for item in events:
                if isinstance(item, Event):
                    heard.append((item.name, item.data))
                if len(heard) == len(STATES):
                    break
            return heard

    assert trio.run(published) == STATES


def test_socket_ios_chat_says_what_the_page_says() -> None:
    app = load("socketio_theirs", "migrating").app

    async def chat() -> list[str]:
        url = "/socket.io/?EIO=4&transport=polling"
        sid = json.loads((await ask(app, "GET", url))[1:])["sid"]
        url += f"&sid={sid}"
        await ask(app, "POST", url, b'40{"token":"token-of-ann"}')
        assert (await ask(app, "GET", url)).startswith(b"40")
        await ask(app, "POST", url, b'42["join","lobby"]')
        await ask(app, "POST", url, b'421["say",' + json.dumps({"room": "lobby", "text": SAID["text"]}).encode() + b"]")
        heard: list[str] = []
        while len(heard) < 2:
            heard += (await ask(app, "GET", url)).decode().split("\x1e")
        return heard

    said, answered = sorted(asyncio.run(asyncio.wait_for(chat(), 30)))
    assert json.loads(said.removeprefix("42")) == ["said", SAID]
    assert json.loads(answered.removeprefix("431")) == [{"said": SAID["text"]}]


CHANNELS = """
import asyncio, json, os, types
import django
from django.conf import settings
settings.configure(
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
import jwt
from asgiref.testing import ApplicationCommunicator  # that of Channels wants Daphne
import channels_ours, channels_theirs

async def theirs():
    async def open_page(known):
        user = types.SimpleNamespace(is_authenticated=known)
        scope = {"type": "websocket", "path": "/orders/A123/", "query_string": b"", "headers": [], "user": user}
        made = ApplicationCommunicator(channels_theirs.application, scope)
        await made.send_input({"type": "websocket.connect"})
        return made, await made.receive_output(10)
    _, answer = await open_page(False)
    assert (answer["type"], answer["code"]) == ("websocket.close", 4401)
    page, answer = await open_page(True)
    assert answer["type"] == "websocket.accept"
    await channels_theirs.advance("A123", "paid")
    heard = await page.receive_output(10)
    await page.send_input({"type": "websocket.disconnect", "code": 1000})
    await page.wait(10)
    return json.loads(heard["text"])

assert asyncio.run(theirs()) == {"state": "paid"}
ann = types.SimpleNamespace(user=types.SimpleNamespace(pk=7))
token = json.loads(channels_ours.live_token(ann, "A123").content)["token"]
said = jwt.decode(token, os.environ["LIVE_TOKEN_KEY"], algorithms=["HS256"], audience="live")
assert (said["sub"], said["orders"]) == ("7", ["A123"])
assert json.loads(channels_ours.advance(ann, "A123", "paid").content) == {"state": "paid"}
print("done")
"""


def test_channels_consumer_and_what_takes_its_place_do_what_the_page_says(tmp_path: Path) -> None:
    log = f"sqlite:///{tmp_path}/orders.db"
    path = os.pathsep.join(filter(None, [str(FOLDER), str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "LIVE_LOG": log, "LIVE_TOKEN_KEY": "k" * 32}
    run = subprocess.run(
        [sys.executable, "-c", CHANNELS],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout == "done\n", run.stderr
    with SyncPublisher(log) as publisher:
        assert publisher.publish("orders/A123", 1).cursor.offset == 2, "Django has published one"
