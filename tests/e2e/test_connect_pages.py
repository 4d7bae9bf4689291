"""``connect()`` in a real browser: one socket for all, tabs that share it, reloads, and pages that freeze and wake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .browser import Browser, Page, open_browser
from .needs import needs
from .server import Server, serving

pytestmark = [needs("chromium"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("connect"), limits={"beat_seconds": 1}) as server:
        yield server
        assert not server.crashes()


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel that no other test uses."""
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def join(page: Page, channel: str, follows: tuple[Any, ...] = ("0",), **options: Any) -> None:
    """Connect, follow the channel from each of the cursors (None: from now on), and note what comes in ``heard``."""
    page.evaluate(
        f"""(async () => {{
            const {{connect}} = await import("/triolet/triolet.js");
            globalThis.client = connect("/", {json.dumps(options)});
            globalThis.heard = [];
            globalThis.follows = {json.dumps(follows)}.map((after, index) => {{
                heard.push([]);
                const follow = client.follow("c/{channel}/events", {{after: after ?? undefined}});
                follow.on("event", (event) => heard[index].push(event.data));
                follow.on("gap", (gap) => heard[index].push(gap.reason));
                follow.on("fault", (fault) => heard[index].push(fault.kind));
                return follow;
            }});
            await client.ready({{timeout: 20_000}});
        }})()"""
    )


@pytest.mark.parametrize("options", [{"socket": "/talk"}, {}, {"transports": ["sse"]}, {"transports": ["long-poll"]}])
def test_follows_of_one_channel_each_get_everything(
    browser: Browser, server: Server, channel: str, options: dict[str, Any]
) -> None:
    ids = server.publish_many(channel, [1, 2, 3])
    with browser.page(f"{server.url}/") as page:
        join(page, channel, ("0", ids[1], None, -2), **options)
        server.publish(channel, 4)
        page.wait("heard.every((one) => one.includes(4))")
        assert page.evaluate("heard") == [[1, 2, 3, 4], [3, 4], [4], [2, 3, 4]]
        page.evaluate("follows[0].close()")
        server.publish(channel, 5)
        page.wait("heard[1].includes(5) && heard[2].includes(5)")
        assert page.evaluate("[heard[0], follows.map((one) => one.state)]") == [
            [1, 2, 3, 4],
            ["gone", "live", "live", "live"],
        ]
        page.evaluate("client.close()")
        assert not [one for one in page.complaints if "favicon" not in one]


def test_tabs_share_one_connection_and_the_next_one_takes_it_over(
    browser: Browser, server: Server, channel: str
) -> None:
    with browser.page(f"{server.url}/") as second:
        with browser.page(f"{server.url}/") as first:
            for page in (first, second):
                join(page, channel, socket="/talk", share=channel)
            assert [page.evaluate("client.isLeader") for page in (first, second)] == [True, False]
            server.publish(channel, 1)
            for page in (first, second):
                page.wait("heard[0].includes(1)")
            asked = "performance.getEntriesByType('resource').some(({name}) => name.includes('/events'))"
            assert not second.evaluate(asked)
        server.publish(channel, 2)
        second.wait("client.isLeader && heard[0].includes(2)")
        assert second.evaluate("heard[0]") == [1, 2]


@pytest.mark.parametrize("store", ["session", "indexeddb"])
@pytest.mark.parametrize("commit", ["before", "after"])
def test_a_reload_loses_and_repeats_nothing(
    browser: Browser, server: Server, channel: str, store: str, commit: str
) -> None:
    with browser.page(f"{server.url}/") as page:
        join(page, channel, (None,), store=store, commit=commit)
        server.publish(channel, 1)
        page.wait("heard[0].includes(1)")
        page.visit(f"{server.url}/hits/1")
        server.publish(channel, 2)
        page.visit(f"{server.url}/")
        join(page, channel, (None,), store=store, commit=commit)
        server.publish(channel, 3)
        page.wait("heard[0].includes(3)")
        assert page.evaluate("heard[0]") == [2, 3]


@pytest.mark.parametrize("options", [{"socket": "/talk"}, {"transports": ["sse"]}])
def test_a_frozen_page_lets_go_and_is_there_when_it_wakes(
    browser: Browser, server: Server, channel: str, options: dict[str, Any]
) -> None:
    with browser.page(f"{server.url}/") as page:
        join(page, channel, **options)
        page.evaluate("globalThis.states = [], follows[0].on('state', (state) => states.push(state)), 0")
        page.call("Page.setWebLifecycleState", state="frozen")
        server.publish(channel, 1)
        page.call("Page.setWebLifecycleState", state="active")
        page.wait("heard[0].includes(1)", seconds=5)
        page.wait("client.state === 'live'")
        assert page.evaluate("heard[0]") == [1]
        states = page.evaluate("states")
        assert (states[0], states[-1]) == ("connecting", "live")


def test_a_network_that_is_away_is_come_back_from_at_once_and_commands_wait_for_it(
    browser: Browser, server: Server, channel: str
) -> None:
    with browser.page(f"{server.url}/") as page:
        join(page, channel, transports=["sse"])
        page.offline(True)
        page.evaluate(f"globalThis.sent = client.send('/c/{channel}', {{data: 7, dedupe: 'once'}}), 0")
        page.wait("client.unanswered === 1")
        page.offline(False)
        page.wait("heard[0].includes(7)")
        assert page.evaluate("sent.then(({status}) => status)") == 200
        page.complaints.clear()  # of the browser, about the network
