"""What the documentation says is tried out: the tutorial's apps, its transcripts, the messages of the wire.

"Who may follow" and "Commands" have a file of their own, test_docs_identity.py.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from functools import partial
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any

import msgspec
import pytest
import trio
from quart import session
from quart_trio import QuartTrio

from triolet import Triolet, client, policies
from triolet.testing.network import ClientEnd
from triolet.testing.server import EventStream, serve
from triolet.wire import messages

from .pages import kept, text_of

ROOT = Path(__file__).parent.parent


def load(name: str, folder: str = "tutorial") -> ModuleType:
    """A module of the documentation's, anew: as after a restart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(kept(folder))
        patch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)


def blocks(page: str, kind: str) -> list[str]:
    """The contents of a page's code blocks of one kind, without their indentation."""
    text = text_of(page)
    found = re.findall(rf"^\.\. code-block:: {kind}\n\n((?: +.*\n|\n)+)", text, re.MULTILINE)
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE).strip() for block in found]


def same_for_all_runs(text: str) -> str:
    """A transcript without what differs from run to run: the log's epoch and the time."""
    return re.sub(r"(?<![\w-])[\w-]{8}\.(\d+)", r"EPOCH.\1", re.sub(r"time: \d{13}", "time: NOW", text))


async def read_blocks(stream: EventStream, count: int) -> str:
    """The next blocks of a stream, as text."""
    read = [await stream.block() for _ in range(count)]
    return "\n\n".join("\n".join(f"{name}: {value}" for name, value in (block or {}).items()) for block in read)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuartTrio:
    """The tutorial's whole app, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    found: QuartTrio = load("app").app
    return found


async def log_in(server: Any) -> dict[str, str]:
    """What a browser sends along after it was at ``/login/ada``."""
    answer = await server.get("/login/ada")
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


async def test_the_tutorials_first_app_says_what_the_tutorial_shows(autojump_clock: object) -> None:
    listening, published, *_ = blocks("tutorial.rst", "console")[2:]
    (arrived,) = blocks("tutorial.rst", "text")
    async with serve(load("first").app) as server:
        async with server.events("/orders/A123/events") as stream:
            assert same_for_all_runs(await read_blocks(stream, 2)) == same_for_all_runs(listening.partition("\n")[2])
            answer = await server.post("/orders/A123/paid")
            assert same_for_all_runs(answer.body.decode().strip()) == same_for_all_runs(published.partition("\n")[2])
            assert same_for_all_runs(await read_blocks(stream, 1)) == same_for_all_runs(arrived)
        await server.post("/orders/A123/packed")
        await server.post("/orders/A123/shipped")
        back = {"last-event-id": answer.json["id"]}
        async with server.events("/orders/A123/events", headers=back) as stream:
            events = [await stream.event(), await stream.event()]
        assert [event and event["data"] for event in events] == [{"state": "packed"}, {"state": "shipped"}]


async def test_the_tutorials_order_is_shown_to_its_owner_alone(app: QuartTrio, autojump_clock: object) -> None:
    async with serve(app) as server:
        assert (await server.get("/orders/A123/events")).status == 404
        ada = await log_in(server)
        assert (await server.get("/orders/A123/events", **ada)).status == 200
        assert (await server.get("/orders/A124/events", **ada)).status == 404
        assert (await server.get("/orders/A999/events", **ada)).status == 404
        assert b"Your order" in (await server.get("/orders/A123", **ada)).body


async def test_the_tutorials_warehouse_packs_an_order_once(app: QuartTrio, autojump_clock: object) -> None:
    async with serve(app) as server:
        await server.post("/orders/A123/paid")
        async with server.websocket("/warehouse") as socket:
            await socket.say(type="follow", url="/tasks/events", after="0")
            assert (await socket.event())["data"] == {"pick": "A123"}
            replies = [await socket.command("/orders/A123/pick", id=id) for id in ("one", "one", "two")]
            assert [reply["status"] for reply in replies] == [200] * 3
            assert (await socket.command("/orders/A999/pick"))["status"] == 404
        page = (await server.get("/orders/A123/events?after=0", **await log_in(server))).json
        assert [event["data"]["state"] for event in page["events"]] == ["paid", "packed"]


async def test_the_tutorials_warehouse_answers_questions(app: QuartTrio, autojump_clock: object) -> None:
    async with serve(app) as server, server.websocket("/warehouse") as socket:
        await socket.say(type="message", data={"where": "A124"})
        assert (await socket.until("message"))["data"] == {"order": "A124", "where": "shelf 2"}
        await socket.say(type="message", data={"where": 7})
        assert "error" in (await socket.until("message"))["data"]


async def test_the_tutorials_events_are_there_after_a_restart(app: QuartTrio, autojump_clock: object) -> None:
    async with serve(app) as server:
        cursor = (await server.post("/orders/A123/paid")).json["id"]
    async with serve(load("app").app) as server:
        page = (await server.get("/orders/A123/events?after=0", **await log_in(server))).json
    assert [event["id"] for event in page["events"]] == [cursor]


FRONT_PAGES = ["README.md", "docs/index.rst"]


def front_page_app(page: str) -> dict[str, Any]:
    """Run the app that a front page shows, in a folder of the test's; what it has made, by name."""
    namespace: dict[str, Any] = {"__name__": "front_page"}
    exec(shown(page, r"from quart_trio import.*?return \{\"id\".*?\}"), namespace)
    return namespace


def shown(page: str, pattern: str) -> str:
    """What a page shows between the words of a pattern, without its indentation."""
    text = (ROOT / page).read_text(encoding="utf-8")
    code = re.search(rf"^( *)(?:{pattern})$", text, re.MULTILINE | re.DOTALL)
    assert code is not None
    return re.sub(rf"^{code[1]}", "", code[0], flags=re.MULTILINE)


@pytest.mark.parametrize("page", FRONT_PAGES)
async def test_the_app_on_the_front_page_works(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    monkeypatch.chdir(tmp_path)
    async with serve(front_page_app(page)["app"]) as server:
        cursor = (await server.post("/orders/A123/paid")).json["id"]
        found = (await server.get("/orders/A123/events?after=0")).json
    assert [event["id"] for event in found["events"]] == [cursor]


async def test_the_program_on_the_front_page_says_what_happens_whatever_the_network_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    autojump_clock: object,
) -> None:
    monkeypatch.chdir(tmp_path)
    page = "docs/index.rst"
    code = shown(page, r"from triolet\.client import.*?print\([^\n]*\)")
    namespace: dict[str, Any] = {}
    exec(f"async def main():\n{indent(code, '    ')}", namespace)
    async with serve(front_page_app(page)["app"]) as server, trio.open_nursery() as nursery:
        streams: list[ClientEnd] = []

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            streams.append(server.connect())
            return streams[-1]

        monkeypatch.setattr(client, "open_client", partial(client.open_client, dial=dial))
        nursery.start_soon(namespace["main"])
        await trio.sleep(1)
        await server.post("/orders/A123/paid")
        await trio.sleep(1)
        streams[-1].reset()
        await server.post("/orders/A123/packed")
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().out == "paid\npacked\n"


async def test_the_policies_in_the_docs_do_what_the_docs_say(autojump_clock: object) -> None:
    routes, rungs, own, bounds = blocks("slow-clients.rst", "python")
    app = QuartTrio("docs")
    live = run(routes.replace("sqlite:///orders.db", "memory:"), app)["live"]
    async with serve(app) as server:
        for n in range(300):
            await live.publish("prices", n, key=f"share {n % 20}")
        async with server.events("/prices/events?after=0") as stream:
            assert (await stream.own("gap") or {})["missed"] == 280
            assert (await stream.event() or {})["data"] == 280
    patient = run(rungs)["patient"]
    lags = [
        policies.Lag(*numbers)
        for numbers in ((100, 0, 0, 0, 0), (101, 0, 0, 0, 0), (5_001, 0, 0, 0, 0), (1, 0, 61, 0, 0))
    ]
    assert [patient(lag).name for lag in lags] == ["CATCH_UP", "LATEST", "SKIP", "DISCONNECT"]
    assert run(own)["at_most_a_page"](policies.Lag(257, 0, 0, 0, 0)) is policies.Step.SKIP
    assert run(bounds, QuartTrio("bounds"))["live"].limits.stall_seconds == 5


def run(code: str, app: QuartTrio | None = None) -> dict[str, Any]:
    """Run a block of a page; what it has made, by name."""
    namespace: dict[str, Any] = {"__name__": "a_page", "app": app}
    exec(code, namespace)
    return namespace


MESSAGES = [text for page in ("wire.rst", "slow-clients.rst") for text in blocks(page, "json") if '"type"' in text]


@pytest.mark.parametrize("example", MESSAGES)
def test_the_messages_in_the_docs_are_those_on_the_wire(example: str) -> None:
    decoder = json.JSONDecoder()
    while example:
        message, end = decoder.raw_decode(example)
        check_message(message)
        example = example[end:].lstrip()


def check_message(message: dict[str, Any]) -> None:
    kinds = {
        "open": messages.Open,
        "for": messages.Bracket,
        "live": messages.Live,
        "gap": messages.GapMessage,
        "end": messages.End,
        "snapshot": messages.SnapshotMessage,
        "tell": messages.Tell,
        "beat": messages.Beat,
        "lag": messages.LagMessage,
        "bye": messages.Bye,
        "expiring": messages.Expiring,
        "renewed": messages.Renewed,
        "refused": messages.Refused,
        "reply": messages.Reply,
    }
    match message:
        case {"type": "follow" | "unfollow" | "message" | "ack" | "auth" | "command"}:
            messages.parse_client(json.dumps(message), depth=32)
        case {"type": "event"}:
            fields = ["type", "channel", "id", "event", "data", "time"]
            assert list(message) in (fields, [*fields, "key", "fold", "folded"])
        case {"type": kind}:
            again = msgspec.json.encode(msgspec.json.decode(json.dumps(message), type=kinds[kind]))
            assert json.loads(again) == message
        case {"events": [event]}:
            check_message(event)


async def test_the_routes_of_presence_tell_who_is_there(autojump_clock: object) -> None:
    app = QuartTrio("presence")
    app.secret_key = "a test's"
    live = Triolet(app)

    @app.get("/login")
    async def login() -> str:
        session["user"] = "ada"
        return "in"

    (routes,) = blocks("presence.rst", "python")
    exec(routes, {"app": app, "live": live, "session": session})
    async with serve(app) as server, server.events("/orders/A123/presence?after=0") as told:
        cookie = (await server.get("/login")).headers["set-cookie"].partition(";")[0]
        async with server.sse("/orders/A123/events", headers={"cookie": cookie}):
            assert ((await told.event()) or {})["event"] == "join"
            members = (await server.get("/orders/A123/members")).json["members"]
    assert list(members) == ["ada"]
