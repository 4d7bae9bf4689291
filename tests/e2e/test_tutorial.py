"""The tutorial as it stands, step by step: its commands in a shell, its pages in a browser, its programs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pages import kept
from tests.test_docs import blocks

from .browser import Page, open_browser
from .needs import needs
from .server import START_SECONDS, Server, serving, wait_for

TUTORIAL = kept("tutorial")
EPOCH = "rqvwGEJM"
"""The epoch that the page shows; each log has its own."""


def asked_with_curl(server: Server, epoch: str = EPOCH) -> list[str]:
    """The page's curl commands, in order, for this server and its log."""
    text = "\n".join(blocks("tutorial.rst", "console")).replace("\\\n", "")
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ curl")]
    return [line.replace("http://127.0.0.1:8000", server.url).replace(EPOCH, epoch) for line in lines]


def run(command: str) -> str:
    """Run a command to its end, and return what it said."""
    arguments = shlex.split(command, comments=True)
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


class Process:
    """A process that goes on, and what it has said until now."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self._said = said

    @property
    def text(self) -> str:
        return self._said.read_text(encoding="utf-8")

    def says(self, text: str) -> None:
        """Wait until it has said this."""
        wait_for(lambda: text in self.text, f"{text!r}; it said {self.text!r}", START_SECONDS)


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[Process]:
    """Run a command for the time of a block."""
    said = folder / "said.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield Process(process, said)
    finally:
        process.kill()
        process.wait()


@needs("curl")
def test_the_curl_commands_show_what_the_tutorial_says(tmp_path: Path) -> None:
    shutil.copy(TUTORIAL / "first.py", tmp_path / "app.py")
    with serving(tmp_path, "app:app") as server:
        epoch = server.request("GET", "/orders/A123/events")["cursor"].split(".")[0]
        listen, paid, packed, shipped, back, poll, long_poll, _ = asked_with_curl(server, epoch)
        with running(shlex.split(listen), tmp_path) as heard:
            heard.says("event: triolet.live")
            assert run(paid).strip() == f'{{"id":"{epoch}.1"}}'
            heard.says('event: order-status\ndata: {"state":"paid"}')
        run(packed)
        run(shipped)
        with running(shlex.split(back), tmp_path) as heard:
            heard.says("event: triolet.live")
            states = [line for line in heard.text.splitlines() if line.startswith('data: {"state"')]
            assert states == ['data: {"state":"packed"}', 'data: {"state":"shipped"}']
        assert '"state":"shipped"' in run(poll)
        with running(shlex.split(long_poll, comments=True), tmp_path) as heard:
            server.request("POST", "/orders/A123/delivered")
            heard.says('"state":"delivered"')


def states(page: Page) -> list[str]:
    """What the order's page shows of its history."""
    lines = page.evaluate("Array.from(document.querySelectorAll('li'), line => line.innerText)")
    return [line.split(" ")[0] for line in lines]


def shows(page: Page, state: str) -> None:
    page.wait(f"document.querySelector('#history').innerText.includes('{state}')")


def answers(page: Page, text: str) -> None:
    page.wait(f"document.querySelector('#answer').innerText === '{text}'")


def press(page: Page, text: str) -> None:
    """Press the first button that says this, once it is there."""
    button = f"Array.from(document.querySelectorAll('button')).find((one) => one.textContent === '{text}')"
    page.wait(button)
    page.evaluate(f"{button}.click()")


def log_in(page: Page, server: Server) -> None:
    page.evaluate("await fetch('/login/ada')")
    page.visit(f"{server.url}/orders/A123")
    page.wait("document.querySelector('#state').innerText === 'live'")


@needs("chromium")
def test_the_pages_show_it_ask_once_and_come_back_after_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(TUTORIAL, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (
        serving(folder, "app:app") as server,
        open_browser() as browser,
        browser.page(f"{server.url}/static/warehouse.html") as warehouse,
        browser.page(f"{server.url}/static/warehouse.html") as order,
    ):
        log_in(order, server)
        server.request("POST", "/orders/A123/paid")
        shows(order, "paid")
        press(warehouse, "Where is it?")
        answers(warehouse, "A123 is on shelf 7")
        complaints = order.complaints + warehouse.complaints
        assert not [complaint for complaint in complaints if "favicon" not in complaint]
        server.kill()
        order.wait("document.querySelector('#state').innerText !== 'live'")
        press(warehouse, "Picked")
        press(warehouse, "Picked")
        server.start()
        answers(warehouse, "A123 is packed")
        shows(order, "packed")
        subprocess.run([sys.executable, "deliver.py"], cwd=folder, check=True)
        shows(order, "delivered")
        assert states(order) == ["paid", "packed", "delivered"]


def test_the_program_follows_the_order_and_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(TUTORIAL, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with serving(folder, "app:app") as server:
        program = [sys.executable, "order.py", server.url]
        server.request("POST", "/orders/A123/paid")
        with running(program, folder) as first:
            first.says("A123 is paid\n")
            server.request("POST", "/orders/A123/packed")
            first.says("A123 is packed\n")
            server.kill()
            server.start()
            server.request("POST", "/orders/A123/shipped")
            first.says("A123 is shipped\n")
            wait_for(lambda: is_kept(folder), "the cursor of what it has done")
        server.request("POST", "/orders/A123/delivered")
        with running(program, folder) as second:
            second.says("A123 is delivered\n")
            assert second.text == "A123 is delivered\n"


def is_kept(folder: Path) -> bool:
    """Whether its store says that it is done with all three."""
    store = folder / "order.json"
    return store.exists() and re.search(r"\.3\b", store.read_text(encoding="utf-8")) is not None
