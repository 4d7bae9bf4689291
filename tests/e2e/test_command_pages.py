"""Commands of a page in a real browser: over its WebSocket and by POST, and while the server dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Browser, Page, open_browser
from .needs import needs
from .server import Server

pytestmark = needs("chromium")

every_way = pytest.mark.parametrize("way", ["socket", "websocket", "sse"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, "identity_page.command_app:app", log="sqlite:///tasks.db")
    server.start()
    try:
        yield server
        assert not server.crashes()
    finally:
        server.kill()


@pytest.fixture
def page(browser: Browser, server: Server, way: str) -> Iterator[Page]:
    """A page whose handle is live."""
    made = (
        'new Socket("/desk", options)'
        if way == "socket"
        else f'follow("/tasks/events", {{...options, transport: "{way}"}})'
    )
    with browser.page(f"{server.url}/") as page:
        page.evaluate(
            f"""(async () => {{
                const {{Socket, follow}} = await import("/triolet/triolet.js");
                globalThis.answered = [];
                const options = {{token: "ann", onState: (state) => (globalThis.state = state)}};
                globalThis.handle = {made};
            }})()"""
        )
        page.wait("globalThis.state === 'live'")
        yield page


def tasks(server: Server) -> list[int]:
    """What the log has of the tasks that were done."""
    found: list[int] = []
    after = "0"
    while True:
        answer = server.request("GET", f"/tasks/events?after={after}")
        found += [event["data"] for event in answer["events"]]
        if answer["live"]:
            return found
        after = answer["cursor"]


@every_way
def test_a_command_is_answered_and_takes_effect_once(page: Page, server: Server) -> None:
    asked = 'handle.command("/tasks/7/done", {shelf: 3}, {id: "seven"})'
    reply = {"status": 200, "data": {"done": 7, "said": {"shelf": 3}}}
    assert page.evaluate(asked) == {**reply, "repeated": False}
    assert page.evaluate(asked) == {**reply, "repeated": True}
    assert page.evaluate('handle.command("/tasks/7/done", {shelf: 4}, {id: "seven"})')["status"] == 422
    assert page.evaluate('handle.command("/tasks/404/done", null)')["status"] == 404
    assert tasks(server) == [7]


@every_way
def test_commands_that_a_killed_server_did_not_answer_are_answered_by_the_next(page: Page, server: Server) -> None:
    page.evaluate(
        """globalThis.all = Promise.all(Array.from({length: 100}, async (_, number) => {
            const reply = await handle.command(`/tasks/${number}/done`, {number}, {timeout: 120_000});
            answered.push(number);
            return [reply.status, reply.data.done];
        })), true"""
    )
    page.wait("answered.length >= 20")
    server.kill()
    server.start()
    assert page.evaluate("all") == [[200, number] for number in range(100)]
    assert sorted(tasks(server)) == list(range(100))


# --- while there is no network


EVERY = 20
"""Ten that are on their way when the network goes, and ten that are sent while it is away."""

CONNECT = """(async () => {
    const {connect} = await import("/triolet/triolet.js");
    globalThis.client = connect("/", {token: "ann", ...OPTIONS});
    globalThis.heard = [];
    client.follow("tasks/events", {after: "0"}).on("event", ({data}) => heard.push(data));
    await client.ready();
    const send = (number) => client.send(`tasks/${number}/done`, {number});
    globalThis.ask = (first) => Array.from({length: 10}, (_, index) => send(first + index));
})()"""


@pytest.mark.parametrize(
    ("options", "is_killed"), [({}, False), ({"socket": "/desk"}, True), ({"transports": ["sse"]}, True)]
)
def test_commands_that_a_page_sends_without_a_network_happen_once_each(
    browser: Browser, server: Server, options: dict[str, object], is_killed: bool
) -> None:
    with browser.page(f"{server.url}/") as page:
        page.evaluate(CONNECT.replace("OPTIONS", json.dumps(options)))
        page.evaluate("(globalThis.asked = ask(0), 0)")
        page.offline(True)
        if is_killed:
            server.kill()
        page.evaluate("(asked.push(...ask(10)), 0)")
        page.wait("client.unanswered >= 10")
        if is_killed:
            server.start()
        assert not set(tasks(server)) & set(range(10, EVERY))
        page.offline(False)
        replies = page.evaluate("Promise.all(asked)")
        assert [(reply["status"], reply["data"]["done"]) for reply in replies] == [(200, n) for n in range(EVERY)]
        assert sorted(tasks(server)) == list(range(EVERY))
        page.wait(f"heard.length >= {EVERY}")
        assert page.evaluate("heard") == tasks(server)
