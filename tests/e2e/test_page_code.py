"""The code for browsers that the pages show runs in one, as it stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_docs import blocks

from .browser import Browser, open_browser
from .needs import needs
from .server import Server, serving
from .test_tutorial import run, running

pytestmark = needs("chromium")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

PAGES = ("index.rst", "transports.rst", "pages.rst", "commands.rst")
BUILT = re.compile(r'from "(?!/triolet/)|\buse[A-Z]')
"""What an app's build has to take first, and React runs: it has tests of its own."""

CODE = [(page, code) for page in PAGES for code in blocks(page, "javascript") if not BUILT.search(code)]

PRELUDE = """
import("/triolet/triolet.js").then(({ connect }) => {
  globalThis.connect = connect;
  globalThis.shown = [];
  globalThis.show = globalThis.list = (what) => shown.push(what);
  globalThis.live = connect("/", { socket: "/live" });
  live.follow("/orders/A123/events").on("event", () => {});
  return live.ready();
})
"""
"""What is there beside the code: a client that follows, and the page's own functions."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("docs"), "docs_app:app") as server:
        yield server


@pytest.mark.parametrize(("page", "code"), CODE, ids=[page for page, _ in CODE])
def test_the_code_of_a_page_runs(page: str, code: str, browser: Browser, server: Server) -> None:
    with browser.page(f"{server.url}/") as tab:
        tab.evaluate(PRELUDE)
        tab.run(code)
        server.request("POST", "/orders/A123/paid")
        if re.search(r"\b(show|list)\(", code):
            tab.wait("shown.length > 0")
        else:
            tab.wait("globalThis.isDone")
        assert not [complaint for complaint in tab.complaints if "favicon" not in complaint]


@needs("curl")
def test_what_the_readme_shows_is_all_that_it_takes(browser: Browser, tmp_path: Path) -> None:
    (app,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (page,) = re.findall(r"^```html\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "app.py").write_text(app, encoding="utf-8")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "order.html").write_text(page, encoding="utf-8")
    with serving(tmp_path, "app:app") as server:
        curls = re.findall(r"^\$ (curl .*)$", README, re.MULTILINE)
        listen, paid = (line.replace("http://127.0.0.1:8000", server.url) for line in curls)
        with (
            browser.page(f"{server.url}/static/order.html") as tab,
            running(shlex.split(listen), tmp_path) as heard,
        ):
            heard.says("event: triolet.live")
            run(paid)
            heard.says('data: {"state":"paid"}')
            tab.wait("document.body.textContent.trim() === 'paid'")
            server.kill()
            server.start()
            server.request("POST", "/orders/A123/packed")
            tab.wait("document.body.textContent.trim() === 'paidpacked'")
