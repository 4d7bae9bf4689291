"""The tutorial's pages in a browser, with its app on a real server, that is killed and started again."""

from __future__ import annotations

import shutil
from pathlib import Path

from .browser import Page, open_browser
from .needs import needs
from .server import Server, serving

pytestmark = needs("chromium")

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial"


def states(page: Page) -> list[str]:
    """What the order's page shows of its history."""
    lines = page.evaluate("Array.from(document.querySelectorAll('li'), line => line.innerText)")
    return [line.split(" ")[0] for line in lines]


def shows(page: Page, state: str) -> None:
    page.wait(f"document.querySelector('#history').innerText.includes('{state}')")


def log_in(page: Page, server: Server) -> None:
    page.evaluate("await fetch('/login/ada')")
    page.visit(f"{server.url}/orders/A123")
    page.wait("document.querySelector('#state').innerText === 'live'")


def test_the_tutorials_pages_show_it_and_come_back_after_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(TUTORIAL, folder)
    with (
        serving(folder, "app:app") as server,
        open_browser() as browser,
        browser.page(f"{server.url}/static/warehouse.html") as warehouse,
        browser.page(f"{server.url}/static/warehouse.html") as order,
    ):
        log_in(order, server)
        server.request("POST", "/orders/A123/paid")
        shows(order, "paid")
        warehouse.click("#tasks button")
        warehouse.wait("document.querySelector('#answer').innerText === 'A123 is packed'")
        shows(order, "packed")
        complaints = order.complaints + warehouse.complaints
        assert not [complaint for complaint in complaints if "favicon" not in complaint]
        server.kill()
        order.wait("document.querySelector('#state').innerText !== 'live'")
        server.start()
        server.request("POST", "/orders/A123/shipped")
        shows(order, "shipped")
        assert states(order) == ["paid", "packed", "shipped"]
