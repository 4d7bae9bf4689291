"""``connect()`` in Chromium and in Firefox: whatever its options, and without a word of configuration behind every kind
of proxy. It finds its way, and nothing is lost or comes twice, also where a server is killed or a path is cut.

The pages for the paths are all there at the same time, so that they wait for the slow proxies together. A test tells
what became of its own. After how many ms a page was live it logs (``-rP --log-level=INFO``); that is judged elsewhere,
on the client's own clock: ``script/paths.test.mjs``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple

import pytest

from tests.e2e.browser import PageError, Tab, open_browser
from tests.e2e.needs import needs
from tests.e2e.server import Server, serving

from .firefox import open_firefox
from .joining import channel_of, join
from .proxies import CUTTING, PATHS, Proxies, proxies

pytestmark = needs("nginx", "haproxy")

LOGGER = logging.getLogger(__name__)

BROWSERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {"chromium": open_browser, "firefox-esr": open_firefox}

JOIN = """(async () => {
    Object.assign(globalThis, {heard: [], states: [], wrongs: [], ended: null, liveAfter: null, chosen: null});
    addEventListener("unhandledrejection", ({reason}) => wrongs.push(`unhandled: ${reason}`));
    addEventListener("error", ({message}) => wrongs.push(message));
    const {connect} = await import("/triolet/triolet.js");
    const begun = performance.now();
    globalThis.client = connect("/");
    const follow = client.follow("c/CHANNEL/events", {after: "0"});
    follow.on("event", ({data}) => heard.push(data));
    follow.on("gap", ({reason}) => heard.push(reason));
    follow.on("fault", ({kind}) => wrongs.push(kind));
    follow.on("gone", ({reason}) => (ended = reason));
    follow.on("state", (state) => {
        states.push(state);
        if (state === "live" && liveAfter === null) {
            liveAfter = Math.round(performance.now() - begun);
            chosen = client.transport;
        }
    });
})()"""

BROWSERS_OWN = (
    "WebSocket connection to",
    "Failed to load resource",
    "Access to fetch at",
    "Firefox can’t establish a connection",
    "The connection to ws://",
    "Cross-Origin Request Blocked",
)
"""How the browsers' consoles tell what the network did. No page can keep them from that."""


QUIET = {"beat_seconds": 60, "silence_seconds": 150}
"""So that what cuts after 10 s does cut: a look for a beat or a ping may be half of ``beat_seconds`` after another."""


class Found(NamedTuple):
    """What became of a page."""

    live_ms: int
    transport: str
    heard: list[Any]
    wrongs: list[str]
    ended: str | None


class Held:
    """A page on a path, and what it is to hear."""

    def __init__(self, name: str, channel: str, server: Server, tab: Tab) -> None:
        self.name = name
        self._channel = channel
        self._server = server
        self._tab = tab
        self._last = PATHS[name].before
        self.error: PageError | None = None
        server.publish_many(channel, self.due)
        self.ask(JOIN.replace("CHANNEL", channel))
        self.wait_for("liveAfter !== null")

    def ask(self, expression: str) -> None:
        """Evaluate it, unless something has failed before."""
        self._attempt(self._tab.evaluate, expression)

    def wait_for(self, condition: str) -> None:
        """Wait until it holds, unless something has failed before."""
        self._attempt(self._tab.wait, condition)

    def _attempt(self, call: Callable[[str], object], expression: str) -> None:
        if self.error is None:
            try:
                call(expression)
            except PageError as error:
                known = (
                    "globalThis.states, globalThis.client?.transport, globalThis.heard?.slice(-9), globalThis.wrongs"
                )
                self.error = PageError(f"{error}; {self._tab.evaluate(f'[{known}]')}")

    @property
    def ends(self) -> bool:
        """Whether its session does."""
        return PATHS[self.name].transport is None

    @property
    def due(self) -> list[int]:
        """All that was published: numbers of which no two are alike, and which can hardly be compressed."""
        return [number * 1_103_515_245 % (2**31 - 1) for number in range(1, self._last + 1)]

    def publish(self) -> None:
        """Publish the next number."""
        self._last += 1
        self._server.publish(self._channel, self.due[-1])

    def wait(self) -> None:
        """Wait until it has come, or the session is over."""
        self.wait_for("ended" if self.ends else f"heard.includes({self.due[-1]})")

    def found(self) -> Found:
        """What the page has heard, and what went wrong in it."""
        if self.error is not None:
            raise self.error
        said = self._tab.evaluate("[liveAfter, chosen, heard, wrongs, ended]")
        complaints = [one for one in self._tab.complaints if not one.startswith(BROWSERS_OWN)]
        return Found(said[0], said[1], said[2], said[3] + complaints, said[4])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), log="sqlite:///events.db", limits=QUIET) as server:
        yield server
        assert not server.crashes()


@pytest.fixture(scope="module")
def before(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    with proxies(tmp_path_factory.mktemp("proxies"), server.port) as made:
        yield made


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in BROWSERS])
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    with BROWSERS[request.param]() as browser:
        yield browser


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return channel_of(request)


# --- with options


EVERY_WAY: list[dict[str, Any]] = [
    {"socket": "/talk"},
    *({"transports": [name]} for name in ("websocket", "sse", "long-poll", "poll")),
]


@pytest.mark.parametrize("options", EVERY_WAY)
def test_follows_of_one_channel_each_get_everything(
    browser: Any, server: Server, channel: str, options: dict[str, Any]
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


def test_a_killed_server_costs_no_event_on_any_way(browser: Any, server: Server, channel: str) -> None:
    with ExitStack() as stack:
        pages = [stack.enter_context(browser.page(f"{server.url}/")) for _ in EVERY_WAY]
        for page, options in zip(pages, EVERY_WAY, strict=True):
            join(page, channel, **options)
        server.publish(channel, 1)
        for page in pages:
            page.wait("heard[0].includes(1)")
        server.kill()
        server.start()
        server.publish(channel, 2)
        for page in pages:
            page.wait("heard[0].includes(2)")
        assert [page.evaluate("heard[0]") for page in pages] == [[1, 2]] * len(pages)


def test_tabs_share_one_connection_and_the_next_one_takes_it_over(browser: Any, server: Server, channel: str) -> None:
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


KEPT = {
    "session": "sessionStorage.getItem(`triolet:cursor:${follows[0].url}`)",
    "indexeddb": "(await import('/triolet/indexed.js')).get(`triolet:cursor:${follows[0].url}`)",
}
"""What a store has: a cursor, and of which channel it is."""


@pytest.mark.parametrize("store", ["session", "indexeddb"])
@pytest.mark.parametrize("commit", ["before", "after"])
def test_a_reload_loses_and_repeats_nothing(
    browser: Any, server: Server, channel: str, store: str, commit: str
) -> None:
    with browser.page(f"{server.url}/") as page:
        join(page, channel, (None,), store=store, commit=commit)
        cursor = server.publish(channel, 1)
        page.wait("heard[0].includes(1)")
        page.wait(f"await {KEPT[store]} === '{cursor} c/{channel}'")
        page.visit(f"{server.url}/hits/1")
        server.publish(channel, 2)
        page.visit(f"{server.url}/")
        join(page, channel, (None,), store=store, commit=commit)
        server.publish(channel, 3)
        page.wait("heard[0].includes(3)")
        assert page.evaluate("heard[0]") == [2, 3]


JOIN_MANY = """(async () => {
    Object.assign(globalThis, {heard: {}, states: [], streams: []});
    const {connect} = await import("/triolet/triolet.js");
    const asked = async (url, more) => {
        const stream = {url: String(url), isOpen: true};
        if (String(url).includes("/many?")) streams.push(stream);
        more.signal?.addEventListener("abort", () => (stream.isOpen = false));
        return fetch(url, more);
    };
    globalThis.client = connect("/", {socket: "/many", fetch: asked});
    globalThis.follow = (name) => {
        heard[name] = [];
        const one = client.follow(`c/${name}/events`, {after: "0"});
        one.on("event", ({data}) => heard[name].push(data));
        one.on("gap", ({reason}) => heard[name].push(reason));
        one.on("fault", ({kind}) => heard[name].push(kind));
        one.on("state", (state) => states.push(state));
        return one;
    };
    NAMES.forEach(follow);
    await client.ready({timeout: 20_000});
})()"""


def test_behind_a_proxy_without_upgrades_eight_follows_have_one_connection(
    browser: Any, server: Server, before: Proxies, channel: str
) -> None:
    """Each with one of its own could not be: a browser has six to one server."""
    names = [f"{channel}-{number}" for number in range(9)]
    with browser.page(f"{before.url('passes no upgrade')}/") as page:
        page.evaluate(JOIN_MANY.replace("NAMES", str(names[:8])))
        assert page.evaluate("[client.transport, streams.filter(({isOpen}) => isOpen).length]") == ["sse", 1]
        for name in names:
            server.publish(name, 1)
        page.wait("Object.values(heard).every((one) => one.length === 1)")
        page.evaluate(f"states.length = 0, follow('{names[8]}').ready()")
        for name in names:
            server.publish(name, 2)
        page.wait("Object.values(heard).every((one) => one.length === 2)")
        assert page.evaluate("heard") == {name: [1, 2] for name in names}
        assert page.evaluate("[states, streams.filter(({isOpen}) => isOpen).length]") == [["behind", "live"], 1]
        assert page.evaluate("streams.length") == 2
        page.evaluate("client.close()")


# --- without any, behind proxies


@pytest.fixture(scope="module")
def pages(browser: Any, server: Server, before: Proxies) -> Iterator[dict[str, Held]]:
    """A page for each path, which has seen all there was to see."""
    with ExitStack() as stack:
        held: dict[str, Held] = {}
        for number, name in enumerate(PATHS):
            tab = stack.enter_context(browser.page(f"{before.url(name)}/"))
            tab.evaluate("document.cookie = 'in=yes; path=/'")  # of all ports
            held[name] = Held(name, f"{type(browser).__name__}-{number}", server, tab)
        play(list(held.values()), before)
        yield held


def play(held: list[Held], before: Proxies) -> None:
    """Publish while all is well, while nginx is away, and after haproxy has cut what was silent for too long."""
    staying = [one for one in held if not one.ends]
    for one in held:
        one.publish()
        one.wait_for(f"heard.includes({one.due[-1]})")
    held[0].ask("document.cookie = 'in=; path=/; Max-Age=0'")
    before.cut()
    for one in staying:
        one.publish()
    before.start()
    for one in held:
        one.wait()
    for one in staying:
        if one.name in CUTTING:
            one.wait_for("states.lastIndexOf('connecting') > states.indexOf('live')")
        one.publish()
    for one in staying:
        one.wait()


@pytest.mark.parametrize("name", PATHS)
def test_a_page_finds_its_way_and_keeps_its_place(pages: dict[str, Held], name: str) -> None:
    held = pages[name]
    found = held.found()
    LOGGER.info("%s: %s, live after %d ms", name, found.transport, found.live_ms)
    assert found.heard == held.due
    assert found.wrongs == []
    if held.ends:
        assert found.ended == "login"
    else:
        assert (found.transport, found.ended) == (PATHS[name].transport, None)
