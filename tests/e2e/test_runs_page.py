"""The page of "A run that outlives its page", in a browser: while it is written, opened anew, and stopped."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path

from tests.pages import kept

from .browser import Page, open_browser
from .needs import needs
from .server import serving

RUNS = kept("runs")
QUESTION = " ".join(["why"] * 30)
WORDS = f"You have asked: {QUESTION} "

pytestmark = needs("chromium")


def post(url: str, body: object) -> None:
    headers = {"content-type": "application/json", "idempotency-key": '"once"'}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)).close()


def show(page: Page) -> None:
    """Put the page's script in, as its HTML would."""
    script = (RUNS / "answer.js").read_text(encoding="utf-8")
    page.evaluate(
        f"""(() => {{
            document.body.innerHTML = '<p id="answer"></p>';
            const script = document.createElement("script");
            script.type = "module";
            script.textContent = {json.dumps(script)};
            document.body.append(script);
        }})()"""
    )


def test_an_answer_outlives_its_page(tmp_path: Path) -> None:
    shutil.copy(RUNS / "answers.py", tmp_path)
    with serving(tmp_path, "answers:app") as server, open_browser() as browser:
        with browser.page(f"{server.url}/") as page:
            post(f"{server.url}/answers/42", {"question": QUESTION})
            show(page)
            page.wait('document.querySelector("#answer").textContent.startsWith("You have asked: why")')
        with browser.page(f"{server.url}/") as page:  # it was closed in the midst, and is opened anew
            show(page)
            page.wait(f'document.querySelector("#answer").textContent === {json.dumps(WORDS)}')
        with browser.page(f"{server.url}/") as page:
            show(page)
            page.wait(f'document.querySelector("#answer").textContent === {json.dumps(WORDS)}')


def test_an_answer_that_is_stopped_says_so(tmp_path: Path) -> None:
    shutil.copy(RUNS / "answers.py", tmp_path)
    with serving(tmp_path, "answers:app") as server, open_browser() as browser, browser.page(f"{server.url}/") as page:
        post(f"{server.url}/answers/42", {"question": " ".join(["why"] * 1_000)})
        show(page)
        page.wait('document.querySelector("#answer").textContent.includes("why")')
        post(f"{server.url}/answers/42/stop", None)
        page.wait('document.querySelector("#answer").textContent.endsWith("(the reader has had enough)")')
