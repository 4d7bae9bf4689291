"""The other servers' side of the page "Migrate from another server" says what the page says."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio

from tests.test_docs import blocks, load
from triolet import Event, SyncPublisher, Triolet

from .browser import Browser, Page, open_browser
from .migrating import SAID, STATES, ask, sse_events
from .needs import needs
from .ports import free_port
from .server import serving
from .test_tutorial import running

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
        check=False,
    )
    assert run.stdout == "done\n", run.stderr
    with SyncPublisher(log) as publisher:
        assert publisher.publish("orders/A123", 1).cursor.offset == 2, "Django has published one"


UNCHANGED, _, CHAT, _, ORDERS = blocks("migrating.rst", "javascript")
"""What pages have. The two between are of Socket.IO's client and of Centrifugo's, and take their servers."""

SHOW = """
globalThis.shown = [];
const show = (...what) => shown.push(what);
const [showTyping, reload] = [show, () => show("reload")];
"""
"""What is there beside the code: the page's own functions."""

OPENED = """
class EventSource extends globalThis.EventSource {
  constructor(url) {
    super(url);
    this.addEventListener("open", () => (globalThis.opened = true));
  }
}
"""

CLIENT = f'import {{ connect }} from "/triolet/triolet.js";\n{SHOW}'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def shows(page: Page, *expected: Any) -> None:
    """Wait until as much was shown, in whatever order, and see that it is this."""
    page.wait(f"globalThis.shown?.length >= {len(expected)}")
    assert sorted(map(json.dumps, page.evaluate("shown"))) == sorted(map(json.dumps, expected))
    assert not [complaint for complaint in page.complaints if "404" not in complaint], "there is no page at /"


@needs("chromium")
def test_the_page_of_sse_starlettes_stays_as_it_is(browser: Browser, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    port = free_port()
    theirs = [sys.executable, "-m", "hypercorn", "sse_theirs:app", "--workers", "0", "--bind", f"127.0.0.1:{port}"]
    with running(theirs, tmp_path) as old, serving(tmp_path, "sse_ours:app") as server:
        old.says("Running on")
        for url in (f"http://127.0.0.1:{port}", server.url):
            with browser.page(url) as page:
                page.run(f"{SHOW}\n{OPENED}\n{UNCHANGED}")
                page.wait("globalThis.opened")
                page.evaluate("fetch('/orders/A123/paid', {method: 'POST'}).then(() => 0)")
                shows(page, [{"state": "paid"}])


@needs("chromium")
def test_the_chats_new_page_does_what_the_old_one_did(browser: Browser, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    with serving(tmp_path, "socketio_ours:app") as server, browser.page(server.url) as page:
        page.run(f"{CLIENT}\nconst token = 'token-of-ann', text = 'Is there tea?';\n{CHAT}\nshow(data);")
        shows(page, ["ann", "Is there tea?"], ["ann"], [{"said": "Is there tea?"}])


@needs("chromium")
def test_the_page_of_centrifugos_shows_what_is_published(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "k" * 32
    monkeypatch.setenv("LIVE_TOKEN_KEY", key)
    file = (FOLDER / "channels_ours.toml").read_text(encoding="utf-8")
    (tmp_path / "channels.toml").write_text(f'socket = "/live"\n{file}', encoding="utf-8")
    claims = {"sub": "7", "aud": "live", "orders": ["A123"], "exp": time.time() + 900}
    with serving(tmp_path, "channels.toml") as server, browser.page(server.url) as page:
        code = ORDERS.replace("https://live.example", server.url)
        token = f"const getToken = async () => '{jwt.encode(claims, key)}';"
        page.run(f"{CLIENT}\n{token}\n{code}\nawait live.ready();\nshow('live');")
        shows(page, ["live"])
        with SyncPublisher(f"sqlite:///{tmp_path}/orders.db") as publisher:
            publisher.publish("orders/A123", {"state": "paid"})
        shows(page, ["live"], [{"state": "paid"}])
