"""What "A server without an app" says is tried out in memory: its files, its JSON, and the list of all keys."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import jwt
import pytest
from trio.testing import MockClock

from tests.standalone.made import Backend, made, post
from triolet import ConfigError, Draft
from triolet.clock import wall_time
from triolet.standalone import settings
from triolet.standalone.app import load_file
from triolet.testing import TRANSPORTS, MemoryServer

from .pages import kept, text_of
from .test_docs import ROOT, blocks

PAGE = text_of("standalone.rst")
MERCURE_KEY = "!ChangeThisMercureHubJWTSecretKey!"
CENTRIFUGO_KEY = "bbe7d157-a253-4094-9759-06a8236543f9"
EXAMPLE = ROOT / "examples" / "standalone" / "channels.toml"


def served(folder: Path, file: Path, backend: Backend | None = None) -> AbstractAsyncContextManager[MemoryServer]:
    """A file as it stands, but with its log in memory."""
    text = file.read_text(encoding="utf-8").replace("sqlite:///events.db", "memory:")
    return made(folder, text.replace("127.0.0.1:9000/live/may", "backend.example/may"), backend)


def signed(key: str, subject: str, **claims: Any) -> dict[str, str]:
    """What the page's sign.py makes."""
    return {"authorization": f"Bearer {jwt.encode({'sub': subject, 'exp': wall_time() + 600, **claims}, key)}"}


async def test_mercures_getting_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("MERCURE_JWT_KEY", MERCURE_KEY)
    claims = {"mercure": {"publish": ["books/*", "private/*"], "subscribe": ["private/*"]}}
    publisher = signed(MERCURE_KEY, "publisher", **claims)
    async with served(tmp_path, kept("standalone") / "mercure.toml") as server:
        async with server.sse("/hub", follow=["/books/1", "/users/dunglas"]) as page:
            await page.until("live")
            answer = await post(server, "/books/1", {"foo": "updated value"}, **publisher)
            assert answer.json == {"published": "books/1"}
            await page.expect(data={"foo": "updated value"})
            assert (await post(server, "/users/dunglas", 1, id="two", **publisher)).status == 403
        endless = {"authorization": f"Bearer {jwt.encode({'sub': 'x', **claims}, MERCURE_KEY)}"}
        assert (await server.get("/private/a/b", **endless)).status == 200
        assert (await server.get("/private/a/b")).status == 401


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_centrifugos_quickstart(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("TOKEN_KEY", CENTRIFUGO_KEY)
    user = signed(CENTRIFUGO_KEY, "123722")
    async with served(tmp_path, kept("standalone") / "centrifugo.toml") as server:
        assert (await server.get("/channels/channel")).status == 401
        async with server.client(transport, "/channels/channel", headers=user) as page:
            await page.until("open")
            assert (await post(server, "/channels/channel", {"value": 1}, **user)).status == 405
            (body,) = re.findall(r"--data '(.*?)' http://localhost:9100", PAGE)
            said = json.loads(body)
            assert server.hub is not None
            await server.app.extensions["triolet"].hub.publish(said["channel"], [Draft.of(said["data"])])
            await page.expect(data={"value": 2}, channel="channel")


async def test_the_callbacks_json_is_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("TOKEN_KEY", CENTRIFUGO_KEY)
    asked, answered = (json.loads(block) for block in blocks("standalone.rst", "json"))
    backend = Backend()
    backend.says = answered
    async with served(tmp_path, EXAMPLE, backend) as server, server.sse("/rooms/packing/talk?after=0") as client:
        assert (await client.until("open"))["channel"] == answered["channel"]
        assert {**backend.last, "remote": asked["remote"]} == asked
        (there,) = (await server.get("/rooms/packing/presence?snapshot=1")).json["snapshot"]["data"]
        assert (there["member"], there["info"]) == (answered["subject"], answered["data"])
    rows = re.findall(r"^``(\w+)`` {2}", section("Callbacks"), re.MULTILINE)
    assert rows == list(answered), "the table has the answer's keys"


def section(title: str) -> str:
    """A section of the page."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^[^\n]+\n---+\n|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_every_key_of_the_file_is_on_the_page_and_no_other() -> None:
    tables = re.split(r"^``\[+(\w+)\]+``[:,]", section("The whole file"), flags=re.MULTILINE)
    told = {
        name: set(re.findall(r"^``(\w+)`` {2}", text, re.MULTILINE))
        for name, text in zip(["file", *tables[1::2]], tables[::2], strict=True)
    }
    assert told["file"] == set(settings._FILE) - {"jwt", "callback", "channels", "limits"}
    assert "``[limits]``" in tables[0]
    assert told["jwt"] == set(settings._JWT)
    assert told["callback"] == {"headers", "url"}
    assert told["channels"] == set(settings._CHANNEL)


def test_a_mistake_is_said_as_the_page_says(tmp_path: Path) -> None:
    (said,) = re.findall(r"triolet: (channels.toml, line 4: .*), …$", PAGE, re.MULTILINE)
    file = tmp_path / "channels.toml"
    file.write_text('[[channels]]\nurl = "/a"\nfollow = "anyone"\nfolow = "anyone"\n')
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}, "):
        load_file(str(file))


@pytest.mark.parametrize("file", [*(kept("standalone")).glob("*.toml"), EXAMPLE], ids=lambda file: file.name)
def test_each_file_names_each_key_once_and_all_it_needs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = set(re.findall(r'"env:(\w+)"', file.read_text(encoding="utf-8")))
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="the environment has no"):
        load_file(str(file))
    for name in names:
        monkeypatch.setenv(name, "k" * 32)
    assert len(tomllib.loads(file.read_text(encoding="utf-8"))["channels"]) == len(
        [rule for rule in load_file(str(file)).url_map.iter_rules() if rule.endpoint.startswith("follow-")]
    )
