"""A server that is made of a file, over TLS and behind nginx and haproxy: what goes through its own doors.

What the doors share with every app is held in :mod:`.test_real_paths`; here one server is behind both proxies, another
one speaks TLS, and one callback is asked by both.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, cast

import pytest
import trio

from tests.e2e.certificate import make_certificate
from tests.e2e.many.fronts import front
from tests.e2e.needs import needs
from tests.e2e.paths.servers import behind_nginx
from tests.e2e.ports import free_port
from tests.e2e.raw import trusting
from tests.e2e.server import PATIENCE, serving, wait_for
from triolet.client import ClientError, Event, open_client

FILE = """
log = "memory:"
socket = "/live"

[callback]
url = "http://127.0.0.1:{port}/may"

[[channels]]
url = "/rooms/<room>/talk"
channel = "rooms/{{room}}"
follow = "callback"
publish = "callback"
"""
WAYS = ("websocket", "sse", "long-poll", "poll", "shared")
PATHS = [
    pytest.param(path, marks=needs(needed))
    for path, needed in (("tls", "openssl"), ("nginx", "nginx"), ("haproxy", "haproxy"))
]
ANOTHER = "127.0.0.2"
"""An address of a client's that is none of the proxies'."""


class Callback(ThreadingHTTPServer):
    """The app that is asked who may: whoever has the cookie of ann."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.open: set[Any] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, and count the connection as long as it is open."""
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close it."""
        super().shutdown_request(request)
        self.open.discard(request)


class Handler(BaseHTTPRequestHandler):
    """One question."""

    def do_POST(self) -> None:
        """Answer, and keep what was asked."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        cast(Callback, self.server).asked.append(({name.lower(): text for name, text in self.headers.items()}, asked))
        body = json.dumps({"allow": "user=ann" in self.headers.get("cookie", "")}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Doors(NamedTuple):
    """What stands: where clients come to on each path, and who is asked."""

    bases: dict[str, str]
    callback: Callback


@contextmanager
def called() -> Iterator[Callback]:
    with Callback() as callback:
        threading.Thread(target=callback.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield callback
        finally:
            callback.shutdown()


@pytest.fixture(scope="module")
def doors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    items: list[Any] = [item for item in request.session.items if item.path == request.path]
    wanted = {item.callspec.params["path"] for item in items}
    folder, bases = tmp_path_factory.mktemp("doors"), {}
    with ExitStack() as stack:
        callback = stack.enter_context(called())
        file = folder / "channels.toml"
        file.write_text(FILE.format(port=callback.server_port))
        believes = ["--forwarded-allow-ips", "127.0.0.1"]
        if "tls" in wanted:
            tls = stack.enter_context(serving(folder, str(file), arguments=[*make_certificate(folder), *believes]))
            bases["tls"] = f"https://127.0.0.1:{tls.port}"
        if wanted & {"nginx", "haproxy"}:
            arguments = [*believes, "--admin", str(port := free_port())]
            plain: Any = stack.enter_context(serving(folder, str(file), arguments=arguments))
            plain.operators_port = port  # where haproxy asks whether it is ready
            if "nginx" in wanted:
                bases["nginx"] = "http://{}:{}".format(*stack.enter_context(behind_nginx(plain, folder)))
            if "haproxy" in wanted:
                at = stack.enter_context(front("haproxy", [plain, plain], folder))
                bases["haproxy"] = "http://{}:{}".format(*at)
        yield Doors(bases, callback)


@pytest.fixture(autouse=True)
def _all_were_answered(doors: Doors) -> Iterator[None]:
    yield
    wait_for(lambda: not doors.callback.open, "the callback to have closed its connections")


async def talk(base: str, way: str, url: str) -> list[Any]:
    """Publish by the door, twice under one id, and come back; return what was heard."""
    shared = way == "shared"
    how: dict[str, Any] = {"transports": ["sse" if shared else way], "socket": "/live" if shared else None}
    tls = trusting() if base.startswith("https") else None
    heard: list[Any] = []
    with trio.fail_after(PATIENCE):
        async with open_client(base, headers={"cookie": "user=ann"}, tls=tls, **how) as live:
            async with live.follow(url, after="0") as events:
                first = [await live.send(url, {"text": "hello"}, id="one") for _ in range(2)]
                assert [(one.status, one.repeated) for one in first] == [(200, False), (200, True)]
                assert first[0].data == {"published": "rooms/" + url.split("/")[2]}
                async for item in events:
                    if isinstance(item, Event):
                        heard.append(item.data)
                        break
                place = str(events.cursor)
            await live.send(url, {"text": "while nobody listens"})
            async with live.follow(url, after=place) as events:
                async for item in events:
                    assert isinstance(item, Event)
                    return [*heard, item.data]
    return heard


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_published_by_its_door_is_heard_and_gone_on_from(path: str, way: str, doors: Doors) -> None:
    url = f"/rooms/{path}-{way}/talk"
    heard = trio.run(talk, doors.bases[path], way, url)
    assert heard == [{"text": "hello"}, {"text": "while nobody listens"}]
    asked = [question["action"] for _, question in doors.callback.asked if question["url"].partition("?")[0] == url]
    assert asked.count("publish") == 2, "a repeat is answered without it"


@pytest.mark.parametrize("path", PATHS)
def test_its_callback_is_asked_with_the_clients_headers_and_address(path: str, doors: Doors) -> None:
    base, url = doors.bases[path], f"/rooms/{path}-headers/talk?after=0"
    host, _, port = base.partition("//")[2].partition(":")
    kind: Any = http.client.HTTPConnection
    more: dict[str, Any] = {"source_address": (ANOTHER, 0), "timeout": PATIENCE}
    if base.startswith("https"):
        kind, more["context"] = http.client.HTTPSConnection, trusting()
    told = {"Cookie": "user=bob", "User-Agent": "a test", "X-Secret": "x", "X-Forwarded-For": "10.9.9.9"}
    with closing(kind(host, int(port), **more)) as connection:
        connection.request("GET", url, headers={**told, "Authorization": "Bearer of-nobody"})
        assert connection.getresponse().status == 403
    ((headers, question),) = [one for one in doors.callback.asked if one[1]["url"] == url]
    assert (question["remote"], question["values"]) == (ANOTHER, {"room": f"{path}-headers"})
    assert {name: headers.get(name) for name in ("cookie", "user-agent", "authorization", "x-secret")} == {
        "cookie": "user=bob",
        "user-agent": "a test",
        "authorization": "Bearer of-nobody",
        "x-secret": None,
    }
    assert not {name for name in headers if name.startswith("x-forwarded")}


@pytest.mark.parametrize("path", PATHS)
def test_who_may_not_is_told_so_on_every_way(path: str, doors: Doors) -> None:
    async def ask(way: str) -> str:
        tls = trusting() if path == "tls" else None
        try:
            async with (
                open_client(doors.bases[path], headers={"cookie": "user=eve"}, transports=[way], tls=tls) as live,
                live.follow(f"/rooms/{path}-refused/talk") as events,
            ):
                async for _ in events:
                    pass
        except ClientError as refused:
            return refused.kind
        raise AssertionError(f"{way}: eve was let in")

    async def ask_all() -> None:
        with trio.fail_after(PATIENCE):
            for way in WAYS[:-1]:
                assert await ask(way) == "refused", way

    trio.run(ask_all)
