"""The pages of the chat's tutorial in a browser: two windows talk, one is left for good."""

from __future__ import annotations

import http.client
import shutil
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

from .browser import Page, PageError, open_browser
from .needs import needs
from .server import Server, serving

CHAT = Path(__file__).parents[2] / "docs" / "tutorials" / "chat"


def come_in(server: Server, name: str) -> dict[str, str]:
    """Log in as the form does; what a browser sends along from then on."""
    connection = http.client.HTTPConnection(*server.address, timeout=15)
    try:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/login", urlencode({"name": name}), form)
        answer = connection.getresponse()
        answer.read()
        return {"Cookie": str(answer.getheader("Set-Cookie")).partition(";")[0]}
    finally:
        connection.close()


def press(page: Page, selector: str) -> None:
    """Press a button that leads to another document, once it was answered: until then this one can be asked."""
    page.evaluate(f"setTimeout(() => document.querySelector('{selector}').click())")


def shows(page: Page, selector: str, text: str) -> None:
    """Wait until a page shows a text; between two documents nothing can be asked."""
    deadline = time.monotonic() + 30
    while True:
        with suppress(PageError):
            return page.wait(f"document.querySelector('{selector}')?.innerText.includes('{text}')", seconds=1)
        assert time.monotonic() < deadline, f"{selector} never showed {text}"


@needs("chromium")
def test_two_windows_talk_and_a_logout_ends_both(tmp_path: Path) -> None:
    folder = tmp_path / "chat"
    shutil.copytree(CHAT, folder)
    with serving(folder, "app:app") as server, open_browser() as browser:
        bob = come_in(server, "bob")
        with browser.page(server.url) as one, browser.page(server.url) as two:
            one.evaluate("document.querySelector('input').value = 'ann'")
            press(one, "form button")
            shows(one, "#state", "live")
            shows(one, "#here", "ann")
            two.visit(server.url)
            shows(two, "#state", "live")
            two.evaluate("document.querySelector('#say input').value = 'Is there <b>tea</b>?'")
            two.evaluate("document.querySelector('#say').requestSubmit()")
            shows(one, "#lines", "ann: Is there <b>tea</b>?")
            said = {"Idempotency-Key": '"b1"', **bob}
            server.request("POST", "/rooms/lobby/say", {"text": "Yes."}, headers=said)
            shows(one, "#lines", "bob: Yes.")
            shows(two, "#lines", "bob: Yes.")
            press(one, "form[action] button")
            shows(one, "form", "Your name")
            shows(two, "form", "Your name")
        assert not server.crashes()
