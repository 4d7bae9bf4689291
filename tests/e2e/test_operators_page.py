"""The operator's page in Chromium, while real clients follow two workers over Redis, and things go wrong.

``TRIOLET_CROWD=5000`` puts so many clients there in place of 200; ``TRIOLET_PICTURES=docs/how-to/operating`` keeps the
pictures.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from .browser import Browser, Page, open_browser
from .looks import DESK, TELEPHONE, look, prepare_to_look
from .needs import needs
from .redis.servers import RedisServer, running
from .server import wait_for
from .workers import Workers

pytestmark = needs("chromium", "redis-server")

ROOT = Path(__file__).parents[2]
CROWD = int(os.environ.get("TRIOLET_CROWD", "200"))
PICTURES = os.environ.get("TRIOLET_PICTURES")
KEY = "k" * 32
PATIENCE = 60
"""Seconds: it is there within two where the machine has nothing else to do; see what is printed."""


class Operated:
    """A server, its log, its clients."""

    def __init__(self, server: Workers, redis: RedisServer, crowd: subprocess.Popen[str]) -> None:
        self.server = server
        self.redis = redis
        self._crowd = crowd
        self.url = f"http://127.0.0.1:{server.operators_port}/"

    def stall(self) -> None:
        """Have one client more come that reads nothing."""
        assert self._crowd.stdin is not None
        self._crowd.stdin.write("stall\n")
        self._crowd.stdin.flush()

    def revoke(self, channel: str) -> int:
        """Send away who follows a channel."""
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.post(f"{self.url}revoke", json={"channel": channel}, headers=headers, timeout=PATIENCE).status_code


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("operated")
    key = folder / "key"
    key.write_text(KEY)
    with running(folder / "redis") as redis:
        server = Workers(folder, log=redis.url, limits={"stall_seconds": 120}, arguments=["--admin-key-file", str(key)])
        server.start()
        try:
            with crowd(server) as clients:
                yield Operated(server, redis, clients)
            assert server.terminate() == 0, server.log[-4000:]
        finally:
            for pid in server.pids if server.alive() else ():
                os.kill(pid, signal.SIGKILL)
            server.kill()


@contextmanager
def crowd(server: Workers) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.e2e.audience", str(server.port), str(CROWD)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as clients:
        try:
            assert clients.stdout is not None
            assert clients.stdout.readline() == "here\n"
            yield clients
        finally:
            clients.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser, operated: Operated) -> Iterator[Page]:
    """The page, as it is left by one test to the next."""
    with browser.page(operated.url, width=DESK[0], height=DESK[1]) as page:
        page.still()
        enter(page, KEY)
        page.wait("document.body.dataset.line === 'live'", seconds=PATIENCE)
        yield page


def enter(page: Page, key: str) -> None:
    page.wait("!document.getElementById('door').hidden")
    page.evaluate(f"document.getElementById('key').value = '{key}', 0")
    page.click("#door button")


def shown(page: Page, condition: str, what: str, picture: str | None = None) -> None:
    """Wait until the page shows something, and say how long that took."""
    begun = time.monotonic()
    page.wait(condition, seconds=PATIENCE)
    sys.stdout.write(f"{what}: shown after {time.monotonic() - begun:.2f} s, with {CROWD} clients\n")
    if picture:
        keep(page, picture)


def keep(page: Page, picture: str) -> None:
    if PICTURES:
        page.screenshot(ROOT / PICTURES / f"operator-{picture}.png", whole=picture not in ("why", "silent"))


def says(selector: str, text: str) -> str:
    return f"document.querySelector({selector!r}).textContent.includes({text!r})"


def test_the_page_asks_for_the_key_and_says_when_it_is_another(browser: Browser, operated: Operated) -> None:
    with browser.page(operated.url) as page:
        enter(page, "x" * 32)
        page.wait(says("#door-no", "This is not the key."))
        enter(page, "no key")
        page.wait(says("#door-no", "without a space"))
        enter(page, KEY)
        page.wait("document.body.dataset.line === 'live'")
        assert page.evaluate("document.getElementById('door').hidden")
        page.wait("document.activeElement.id === 'verdict-title'")
        assert not [one for one in page.complaints if "401" not in one]


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(page: Page) -> None:
    prepare_to_look(page)
    page.wait("document.querySelectorAll('#channels li').length >= 4", seconds=PATIENCE)
    for size in (TELEPHONE, DESK):
        for dark in (True, False):
            look(page, size, dark=dark)


@needs("npm:axe-core")
def test_figures_that_are_not_of_now_are_as_easy_to_read(browser: Browser, operated: Operated) -> None:
    with browser.page(operated.url) as page:
        enter(page, KEY)
        page.wait("document.querySelectorAll('#channels li').length >= 4", seconds=PATIENCE)
        prepare_to_look(page)
        page.offline(True)
        page.wait("document.body.dataset.line === 'lost'", seconds=PATIENCE)
        for dark in (True, False):
            look(page, DESK, dark=dark)


def test_what_users_have_named_is_text_and_all_of_it_is_there(page: Page) -> None:
    page.wait(says("#channels", "c/<img src=x onerror=alert(1)>"))
    assert page.evaluate("document.images.length") == 0
    page.wait(f"document.querySelector('#tiles .value').textContent === '{CROWD + 1:,}'", seconds=PATIENCE)
    page.wait(says("#log-lag", "none"))
    assert page.text("#log-tail").endswith(" of 16,384 events")
    page.wait("document.querySelector('#tiles svg .curve').getAttribute('d').length > 0")
    for at in (1, 2):
        page.wait(f"document.querySelector('#workers li:nth-child({at}) .chip').textContent === 'serves'")


def test_a_page_that_nobody_looks_at_lets_go_of_its_stream(page: Page) -> None:
    streams = "performance.getEntriesByType('resource').filter(({name}) => name.includes('/figures')).length"
    turn = (
        "Object.defineProperty(document, 'visibilityState', {configurable: true, value: '%s'}),"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    ended = page.evaluate(streams)  # those that have ended: the one without a key
    page.evaluate(turn % "hidden")
    page.wait(f"{streams} === {ended + 1}")
    page.evaluate("document.getElementById('line').textContent = 'hidden', 0")
    page.evaluate(turn % "visible")
    page.wait(says("#line", "Live, "))


def test_a_client_that_stalls_is_seen_at_once_and_why_and_by_keyboard(page: Page, operated: Operated) -> None:
    page.evaluate(
        "globalThis.said = [], new MutationObserver(() => said.push(document.getElementById('said').textContent))"
        ".observe(document.getElementById('said'), {childList: true}), 0"
    )
    if PICTURES:
        time.sleep(150)  # so that there is something in the charts
    shown(page, says("#verdict-title", "All clients are fresh"), "all is well", "well")
    operated.stall()
    shown(page, says("#furthest", "takes nothing for"), "one client stalls", "stalled")
    page.evaluate("document.querySelector('#furthest button').focus()")
    press(page, "Enter")
    page.wait(says("#why", "Its kernel took nothing for"))
    assert page.text("#why-verdict") == "stalled"
    keep(page, "why")
    press(page, "Escape")
    page.wait("!document.getElementById('why').open")
    assert page.evaluate("document.activeElement.closest('#furthest') !== null")
    assert operated.revoke("c/slow") == 200
    shown(page, says("#closings", "4403"), "it was sent away")


def test_a_worker_that_is_killed_is_seen_at_once(page: Page, operated: Operated) -> None:
    operated.server.kill_one()
    shown(page, says("#happenings", "has gone."), "a worker was killed", "killed")
    page.wait(says("#serving", "2 of 2"), seconds=PATIENCE)


def test_a_log_that_is_away_is_seen_at_once(page: Page, operated: Operated) -> None:
    operated.redis.stop()
    shown(page, says("#notices", "The log (Redis) is away"), "Redis was killed", "away")
    page.wait("said.some((text) => text.includes('The log (Redis) is away'))")
    operated.redis.start()
    shown(page, says("#log-state", "reached"), "Redis is back")
    page.wait("said.at(-1).includes('Over: The log (Redis) is away')")


def test_a_worker_that_stands_still_is_shown_as_one(page: Page, operated: Operated) -> None:
    wait_for(lambda: len(operated.server.pids) == 2, "both workers")
    victim = sorted(operated.server.pids)[0]
    page.resize(*TELEPHONE, dark=True)
    os.kill(victim, signal.SIGSTOP)
    try:
        shown(page, says("#workers", "no answer for"), "a worker stands still", "silent")
        assert page.evaluate("document.body.dataset.line") == "live"
    finally:
        os.kill(victim, signal.SIGCONT)
    shown(page, f"!{says('#workers', 'no answer for')}", "it answers again")
    assert not [one for one in page.complaints if "401" not in one]


def press(page: Page, key: str) -> None:
    """Press a key of the keyboard."""
    code = {"Enter": 13, "Escape": 27}[key]
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)
