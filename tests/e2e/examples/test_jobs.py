"""The jobs in a browser, with real worker processes: they work, are stopped with their process, and files are sent."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psutil
import pytest

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import check_looks
from tests.e2e.needs import needs
from tests.e2e.server import Server, wait_for

from .stage import served

pytestmark = needs("chromium")

ENVIRONMENT = {"JOBS_UNWATCHED": "10"}
LONG = {"hubs": 24, "tries": 100, "alone": 0}
TOWNS = "name,latitude,longitude\n" + "".join(f"Town {at},{40 + at % 7},{at // 7}\n" for at in range(140))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for package in ("trio_parallel", "vega_datasets"):
        pytest.importorskip(package, reason="make jobs installs it", exc_type=ImportError)
    with served("jobs", tmp_path_factory.mktemp("jobs"), {"JOBS_UNWATCHED": "1"}) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with browser.page(server.url) as page:
        page.wait("badge.dataset.state === 'live'")
        yield page


def command(server: Server, path: str, data: Any = None, id: str | None = None) -> Any:
    return server.request("POST", path, data, headers={"Idempotency-Key": f'"{id or uuid4()}"'})


def wait_for_state(page: Page, job: str, state: str) -> None:
    page.wait(f"""document.querySelector('[data-job="{job}"]')?.dataset.state === '{state}'""")


def newest(page: Page) -> str:
    return str(page.evaluate("document.querySelector('.job').dataset.job"))


def choose(page: Page, **values: int) -> None:
    for name, value in values.items():
        page.evaluate(f"{name}.value = {value}, {name}.dispatchEvent(new Event('input'))")


def children(server: Server) -> set[int]:
    """The worker processes. (There is one more, which only looks after them.)"""
    found = psutil.Process(server.pid).children()
    return {child.pid for child in found if any("spawn_main" in word for word in child.cmdline())}


def test_a_job_is_done_once_in_another_process_and_two_pages_show_it(
    browser: Browser, server: Server, page: Page
) -> None:
    asked = {"hubs": 12, "tries": 3, "alone": 0}
    with browser.page(server.url) as other:
        first, second = (command(server, "/jobs", asked, "8e03978e")["job"] for _ in range(2))
        assert first == second
        for one in (page, other):
            one.call("Page.bringToFront")  # or its map is drawn when somebody looks
            wait_for_state(one, first, "done")
            assert one.evaluate("document.querySelectorAll('.job').length") == 1
            one.wait("document.querySelectorAll('tbody tr').length === 12")
        assert children(server), "a worker process, which waits for more"
        assert page.text(".far") == other.text(".far") != ""
        assert page.complaints == other.complaints == []


def test_a_job_that_nobody_watches_is_stopped_and_its_process_with_it(server: Server) -> None:
    before = children(server)
    url = f"/jobs/{command(server, '/jobs', LONG)['job']}/events?after=0&fold=1&wait=0"
    said: dict[str, Any] = {}

    def is_over() -> bool:
        said.update(server.request("GET", url))
        return "end" in said

    wait_for(is_over, "its end", 60)
    assert said["end"]["data"] == {"outcome": "stopped", "reason": "unwatched"}
    wait_for(lambda: len(children(server)) < max(1, len(before)), "the process that worked is gone")


def test_a_file_is_sent_part_by_part_and_a_page_that_drops_one_sees_its_map(server: Server, page: Page) -> None:
    job, body = str(uuid4()), TOWNS.encode()
    with socket.create_connection(server.address, 15) as sender:
        url = f"/jobs/{job}?hubs=3&tries=2&alone=1&name=halves.csv"
        head = f"PUT {url} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        sender.sendall(head.encode() + body[: len(body) // 2])
        wait_for_state(page, job, "receiving")
        page.wait("Math.abs(document.querySelector('.job progress').value - 0.5) < 0.01")
        sender.sendall(body[len(body) // 2 :])
        wait_for_state(page, job, "done")
    choose(page, hubs=4, tries=2)
    page.evaluate(
        "(() => { const dropped = new DataTransfer();"
        f" dropped.items.add(new File([{json.dumps(TOWNS)}], 'towns.csv'));"
        " const event = new DragEvent('drop', { dataTransfer: dropped, cancelable: true });"
        " document.getElementById('drop').dispatchEvent(event); })()"
    )
    page.wait("document.querySelector('.job h3').textContent === '4 hubs for towns.csv'")
    wait_for_state(page, newest(page), "done")
    page.wait("document.querySelectorAll('.job:first-child tbody tr').length === 4")
    assert page.complaints == []


def test_a_job_goes_on_through_a_cut_and_is_lost_with_a_killed_server_and_begun_once_more(
    server: Server, page: Page
) -> None:
    choose(page, hubs=24, tries=100)
    page.click("#alone")
    page.click("#airports")
    page.wait("document.querySelector('.job')?.dataset.state === 'working'")
    job = newest(page)
    page.offline(True)
    page.wait("badge.dataset.state === 'connecting'")
    page.offline(False)
    page.wait("badge.dataset.state === 'live'")
    before = page.evaluate("document.querySelector('.job progress').value")
    page.wait(f"document.querySelector('.job progress').value > {before}")
    server.kill()
    page.wait("badge.dataset.state === 'connecting'")
    server.start()
    wait_for_state(page, job, "lost")
    page.click(".job .again")
    page.wait(f"document.querySelector('.job').dataset.job !== '{job}'")
    page.wait("document.querySelector('.job').dataset.state === 'working'")
    page.click(".job .stop")
    wait_for_state(page, newest(page), "stopped")


def show(page: Page, tries: int = 40, far: float = 0.04) -> None:
    """Have the page show a job that is done, and one that is as far as this."""
    page.wait("badge.dataset.state === 'live'")
    for hubs, count, state in ((3, tries, "done"), (24, 100, "working")):
        choose(page, hubs=hubs, tries=count)
        page.click("#airports")
        page.wait(f"document.querySelector('.job h3')?.textContent.startsWith('{hubs} hubs')")
        wait_for_state(page, newest(page), state)
        page.wait(f"document.querySelector('.job progress').value > {far}")
        if state == "done":
            page.evaluate("document.querySelector('details').open = true")
    page.evaluate("document.querySelector('.job').scrollIntoView()")


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    def prepare(page: Page) -> None:
        show(page, 1, 0)
        page.click(".job .stop")

    check_looks(browser, server.url, prepare)
