"""The chat in a browser: what is said arrives once, and what strangers say stays text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import check_looks
from tests.e2e.needs import needs
from tests.e2e.server import Server

from .stage import served

pytestmark = needs("chromium", "front:chat")

PASSWORD = "weeds"
PAYLOADS = [
    "<img src=x onerror=harm()>",
    "<script>harm()</script>",
    "[press me](javascript:harm())",
    "![picture](https://elsewhere.example/spy.png)",
    "<svg/onload=harm()>",
    "<form id=say><input name=attributes>",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "<a href='x' onclick=harm()>x</a>",
    "> " * 900 + "deep",
    "**bold** `code`",
]


NOTE_TYPING = """
globalThis.noted = [],
new MutationObserver(() => noted.push(typing.textContent)).observe(typing, { childList: true }),
0
"""
"""It is gone again in a few seconds, and this page may be asked later than that."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served("chat", tmp_path_factory.mktemp("chat")) as server:
        yield server


@contextmanager
def entered(browser: Browser, url: str, name: str, password: str = "") -> Iterator[Page]:
    """A page of somebody who has logged in. A browser has a session for each name of a host."""
    with browser.page(url) as page:
        assert ask(page, "/login", {"name": name, "password": password}) == 200
        page.reload()
        page.wait("document.getElementById('messages')?.ariaBusy === 'false'")
        yield page


def ask(page: Page, path: str, form: dict[str, str]) -> int:
    """Send a form. Return the status of what it leads to."""
    body = f"new URLSearchParams({json.dumps(form)})"
    return int(page.evaluate(f"fetch('{path}', {{method: 'POST', body: {body}}}).then(({{status}}) => status)"))


def say(page: Page, text: str) -> None:
    page.evaluate(f"text.value = {json.dumps(text)}, say.requestSubmit()")


def said(page: Page) -> list[str]:
    texts = page.evaluate("Array.from(document.querySelectorAll('.message .text'), (one) => one.textContent.trim())")
    return [str(text) for text in texts]


def wait_for(page: Page, *texts: str) -> None:
    """Wait until a page shows these messages, the last ones, in this order, and none that waits for its answer."""
    page.wait(
        "!document.querySelector('[data-waiting]') && JSON.stringify(Array.from(document.querySelectorAll("
        f"'.message .text'), (one) => one.textContent.trim()).slice(-{len(texts)})) === "
        f"JSON.stringify({json.dumps(texts)})"
    )


def test_what_is_said_arrives_once_whatever_happens_to_server_and_network(browser: Browser, server: Server) -> None:
    other = server.url.replace("127.0.0.1", "localhost")
    with entered(browser, f"{server.url}/#gate", "Ava") as ava, entered(browser, f"{other}/#gate", "Sam") as sam:
        ava.wait("document.querySelectorAll('#here li').length === 2")
        ava.evaluate(NOTE_TYPING)
        sam.evaluate(
            "text.value = 'h', globalThis.typist = setInterval(() => text.dispatchEvent(new Event('input')), 100)"
        )
        ava.wait("noted.includes('Sam is typing …')")
        sam.evaluate("clearInterval(typist), 0")
        say(sam, "hello, **Ava**")
        wait_for(ava, "hello, Ava")
        assert ava.text(".message .text strong") == "Ava"
        ava.wait("typing.textContent === ''")
        assert ava.complaints == sam.complaints == []

        server.kill()
        ava.wait("badge.dataset.state === 'connecting'")
        say(ava, "while the server is away")
        ava.reload()  # there is no server, so there is no page
        server.start()
        ava.visit(f"{server.url}/#gate")
        wait_for(ava, "hello, Ava", "while the server is away")
        wait_for(sam, "hello, Ava", "while the server is away")

        sam.offline(True)
        sam.wait("badge.dataset.state === 'connecting'")
        say(sam, "while I am away")
        say(ava, "meanwhile")
        wait_for(ava, "meanwhile")
        sam.offline(False)
        wait_for(sam, "while the server is away", "meanwhile", "while I am away")
        wait_for(ava, "while the server is away", "meanwhile", "while I am away")
        assert len(said(ava)) == len(said(sam)) == 4


def test_what_strangers_say_stays_text_and_older_messages_come_when_asked_for(browser: Browser, server: Server) -> None:
    other = server.url.replace("127.0.0.1", "localhost")
    with entered(browser, f"{server.url}/#shed", "<b>Eve</b>") as eve, entered(browser, f"{other}/#shed", "Joe") as joe:
        joe.evaluate("globalThis.harm = () => (globalThis.harmed = true), 0")
        for payload in PAYLOADS:
            say(eve, payload)
        joe.wait(f"document.querySelectorAll('.message').length === {len(PAYLOADS)}")
        shown = said(joe)
        assert shown[0] == PAYLOADS[0], "HTML is shown as the letters that it is"
        assert shown[-1] == "bold code"
        found = "#messages :is(img, script, svg, form, input, iframe, [onclick], [onerror], [style], [id], [name])"
        assert joe.evaluate(f"document.querySelectorAll({json.dumps(found)}).length") == 0
        links = joe.evaluate("Array.from(document.querySelectorAll('#messages a'), ({href, rel}) => [href, rel])")
        targets = [(href, rel) for href, rel in links if href]
        assert targets == [("https://elsewhere.example/spy.png", "noopener noreferrer nofollow")]
        assert joe.text(".by bdi") == "<b>Eve</b>"
        joe.wait("Array.from(here.querySelectorAll('bdi'), (one) => one.textContent).includes('<b>Eve</b>')")
        assert joe.evaluate("globalThis.harmed === undefined")
        assert joe.complaints == []

        for number in range(60):
            say(eve, str(number))
        wait_for(joe, "58", "59")
        eve.reload()
        wait_for(eve, "58", "59")
        assert len(said(eve)) == 50
        eve.click("#older")
        eve.wait(f"document.querySelectorAll('.message').length === {len(PAYLOADS) + 60}")
        assert said(eve)[-60:] == [str(number) for number in range(60)]
        assert eve.evaluate("older.hidden")


def test_moderators_remove_mute_and_ban_and_a_logout_ends_all_tabs(browser: Browser, server: Server) -> None:
    other = server.url.replace("127.0.0.1", "localhost")
    with (
        entered(browser, f"{server.url}/#kitchen", "Tom") as tom,
        entered(browser, f"{other}/#kitchen", "Mia", PASSWORD) as mia,
        browser.page(f"{other}/#kitchen") as tab,
    ):
        say(tom, "rude")
        say(tom, "kind")
        wait_for(mia, "rude", "kind")
        mia.click(".message .remove")
        wait_for(tom, "kind")
        tab.reload()
        wait_for(tab, "kind")
        assert [said(page) for page in (tom, mia, tab)] == [["kind"]] * 3
        assert not tom.evaluate("document.querySelector('.remove')"), "a member has no such button"

        mia.click("[aria-label='Mute Tom']")
        tom.wait("messages.textContent.includes('Mia has muted Tom.')")
        say(tom, "but")
        tom.wait("document.querySelector('.failed .state')?.textContent === 'A moderator has muted you in this room.'")

        mia.evaluate("globalThis.confirm = () => true, 0")
        mia.click("[aria-label='Ban Tom']")
        tom.wait("over.open")
        mia.wait("document.querySelectorAll('#here li').length === 1")
        assert ask(tom, "/login", {"name": "Tom"}) == 403

        tab.evaluate("document.querySelector('.top form').requestSubmit()")
        mia.wait("over.open")
        tab.wait("document.querySelector('[name=password]')")


COMPANY = [("Mia", "Bob", "Ann", "Ida"), ("Noor", "Ben", "Eva", "Tim")]

TALK = [
    (1, "The beans are up! **Eleven** of them, and the slugs have found three already."),
    (2, "Coffee did nothing here. What worked:\n\n- copper tape on the pots\n- a torch, at ten\n- `ducks`"),
    (1, "I have no ducks."),
    (3, "> I have no ducks.\n\nWe have two to lend, from Saturday on. They eat lettuce as well, mind."),
    (0, "There is a list for the ducks in the shed, please write yourselves in."),
    (2, "Done. Who waters while I am in Lisbon next week?"),
]

GATHER = """
(async (others, talk) => {
  const post = (path, fields) => fetch(path, { method: "POST", body: new URLSearchParams(fields) });
  for (const [at, text] of talk) {
    if (at === 0) {
      const shown = document.querySelectorAll(".message").length;
      document.getElementById("text").value = text;
      document.getElementById("say").requestSubmit();
      while (document.querySelectorAll(".message:not([data-waiting])").length === shown)
        await new Promise((done) => setTimeout(done, 20));
      continue;
    }
    await post("/login", { name: others[at - 1] });
    const headers = { "Idempotency-Key": `"${crypto.randomUUID()}"`, "Content-Type": "application/json" };
    await fetch("/rooms/garden/messages", { method: "POST", headers, body: JSON.stringify({ text }) });
    await post("/logout");
  }
  globalThis.streams = [];
  for (const name of others) {
    await post("/login", { name });
    const stream = new EventSource("/rooms/garden/events");
    streams.push(stream);
    await new Promise((done) => stream.addEventListener("triolet.live", done));
  }
  const typing = document.getElementById("typing");
  setInterval(() => post("/rooms/garden/typing"), 1000);
  while (!typing.textContent) await new Promise((done) => setTimeout(done, 20));
})
"""


def show(page: Page) -> None:
    """Four people talk: one of them is the page, and the others come in by it, one after the other."""
    _, *others = next(
        names for names in COMPANY if ask(page, "/login", {"name": names[0], "password": PASSWORD}) == 200
    )
    page.visit(str(page.evaluate("location.origin")))
    page.wait("document.getElementById('messages')?.ariaBusy === 'false'")
    talk = [] if said(page) else TALK
    page.evaluate(f"({GATHER})({json.dumps(others)}, {json.dumps(talk)}).then(() => 0)")
    page.wait(f"document.querySelectorAll('.message').length === {len(TALK)}")
    page.wait("document.querySelectorAll('#here li').length === 4")


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    check_looks(browser, server.url, at_the_door)
    check_looks(browser, server.url, show)


def at_the_door(page: Page) -> None:
    page.evaluate("document.querySelector('details').open = true")
