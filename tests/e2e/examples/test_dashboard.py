"""The dashboard in a browser: charts that have no hole, whatever the network did or the server; and a crowd."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import check_looks
from tests.e2e.needs import EXAMPLES, needs
from tests.e2e.server import Server

from .stage import served

pytestmark = needs("chromium", "front:dashboard")

DRAWN = "Number(document.querySelector('[data-chart=cpu]').dataset.points ?? 0)"
STATE = "document.getElementById('badge').dataset.state"
CROWD = 40
PROGRAM = (sys.executable, str(EXAMPLES / "dashboard" / "crowd.py"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("dashboard")
    with served("dashboard", folder) as server:
        yield server


def stored(server: Server) -> int:
    """How many seconds the log has."""
    return int(server.request("GET", "/machine/events")["cursor"].split(".")[1])


def draws_all(page: Page, server: Server) -> None:
    """Wait until the page has drawn all that the log has by now, and see that nothing was drawn twice."""
    page.wait(f"{DRAWN} >= {stored(server) + 1}")
    drawn = page.evaluate(DRAWN)
    assert drawn <= stored(server)


def test_the_charts_have_every_second_whatever_happens_to_network_and_server(browser: Browser, server: Server) -> None:
    with browser.page(server.url) as page, browser.page(server.url) as other:
        draws_all(page, server)
        page.wait("document.getElementById('viewers').textContent === '2'")
        assert page.complaints == []
        page.offline(True)
        page.wait(f"{STATE} === 'connecting'")
        draws_all(other, server)
        page.offline(False)
        draws_all(page, server)
        server.kill()
        page.wait(f"{STATE} === 'connecting'")
        server.start()
        page.wait(f"{STATE} === 'live'")
        draws_all(page, server)
        draws_all(other, server)


def test_a_crowd_is_counted_and_each_of_it_gets_what_all_get(browser: Browser, server: Server) -> None:
    program = [*PROGRAM, str(CROWD), "6", f"{server.url}/machine/events"]
    with browser.page(server.url) as page, subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as crowd:
        page.wait(f"document.getElementById('viewers').textContent === '{CROWD + 1}'")
        said, _ = crowd.communicate()
    assert crowd.returncode == 0
    assert f"{CROWD} viewers have come" in said
    assert "0 gaps were told" in said
    assert "0 connections were lost" in said


def show(page: Page) -> None:
    """Have the page draw some seconds, and name the processes."""
    page.wait(f"{DRAWN} >= 3 && document.querySelector('#processes meter')")


def pose(page: Page) -> None:
    """For a picture: most of a minute on the charts, and then a crowd, which goes by itself."""
    viewers = "document.getElementById('viewers').textContent"
    page.wait(f"{DRAWN} >= 35 && {viewers} === '1'", seconds=90)
    url = f"{page.evaluate('location.origin')}/machine/events"
    subprocess.Popen([*PROGRAM, "1500", "25", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    page.wait(f"{viewers} === '1,501'", seconds=60)
    page.wait(f"{DRAWN} >= {page.evaluate(DRAWN)} + 10")  # what it costs that they come is not what they cost
    show(page)


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    check_looks(browser, server.url, show)
