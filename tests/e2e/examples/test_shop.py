"""The shop in a browser: four clients on one page, and what they see when the network or the server goes away."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import DESK, check_looks
from tests.e2e.needs import needs
from tests.e2e.server import Server
from triolet import Triolet

from .stage import served

pytestmark = needs("chromium")

CLIENTS = ("customer", "warehouse", "kiosk", "board")
BURST = 40


COLLISIONS = """
Array.from(document.querySelectorAll(".timeline small, .timeline span"), (one) => [one.textContent, textBox(one)])
  .filter(([text, box], at, all) => all.some(([, other], beside) => beside !== at &&
    box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom))
  .map(([text]) => text)
"""

TEXT_BOX = """
globalThis.textBox = (element) => {
  const range = document.createRange();
  range.selectNodeContents(element);
  return range.getBoundingClientRect();
}, 0
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with served("shop", tmp_path) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with browser.page(server.url) as page:
        page.still()  # to draw what moves costs more than all that is looked at here
        all_are(page, "live")
        yield page


def lane(client: str) -> str:
    return f'[data-lane="{client}"]'


def card(client: str) -> str:
    return f'[data-card="{client}"]'


def wait_for_client(page: Page, client: str, **data: Any) -> None:
    """Wait until a client's card shows what it should: ``state``, ``offset``."""
    for name, value in data.items():
        page.wait(f"document.querySelector('{card(client)}').dataset.{name} === '{value}'")


def all_are(page: Page, state: str) -> None:
    page.wait("document.querySelectorAll('.client').length === 4")
    for client in CLIENTS:
        wait_for_client(page, client, state=state)


def all_at(page: Page, offset: int) -> None:
    for client in CLIENTS:
        wait_for_client(page, client, offset=offset)


def rows(page: Page, client: str) -> list[tuple[int, str]]:
    """What a client heard, in order: the offset, and how it came (prompt, late, caught-up, gap)."""
    heard = page.evaluate(
        f"Array.from(document.querySelectorAll('{card(client)} .recent li'),"
        " row => [Number(row.dataset.offset), row.dataset.kind]).reverse()"
    )
    return [(offset, kind) for offset, kind in heard]


def ask(server: Server, path: str) -> None:
    """Ask for a command, as a script does."""
    server.request("POST", path, headers={"Idempotency-Key": f'"{path}"'})


def states(server: Server) -> list[str]:
    """What the log says that the order has been through."""
    events = server.request("GET", "/orders/A123/events?after=1040")["events"]
    return [event["data"].get("state", event["event"]) for event in events]


def offsets(page: Page, client: str) -> list[int]:
    return [offset for offset, _ in rows(page, client)]


def test_each_lane_has_the_transport_it_shows_and_the_page_the_first_that_its_network_lets_through(page: Page) -> None:
    shown = [page.text(f"{card(client)} [data-transport]") for client in CLIENTS]
    assert shown == ["Server-Sent Events", "WebSocket", "Long polling", "Short polling"]
    page.wait("document.getElementById('over').dataset.state === 'live'")
    assert page.text("#over") == "WebSocket"


def test_an_advanced_order_arrives_at_all_four_clients(page: Page) -> None:
    for offset, state in enumerate(("paid", "packed", "shipped", "delivered"), 1042):
        page.click(f'#advance[data-next="{state}"]')
        all_at(page, offset)
    for client in CLIENTS:
        assert offsets(page, client) == [1041, 1042, 1043, 1044, 1045]
    assert page.text(f"{card('customer')} .sentence") == "Delivered. Enjoy!"
    assert page.text(f"{card('kiosk')} .screen") == "delivered"
    assert page.complaints == []


def test_a_task_picked_in_the_warehouse_packs_the_order(page: Page) -> None:
    page.click("#advance")
    page.click('[data-pick="A123"]')
    all_at(page, 1043)
    page.wait("!document.querySelector('.tasks .nothing').hidden")
    assert page.text(f"{card('kiosk')} .screen") == "packed"


def test_what_was_missed_while_the_network_was_cut_arrives_in_order(page: Page) -> None:
    for client in CLIENTS:
        page.click(f"{lane(client)} [data-cut]")
    all_are(page, "connecting")
    page.click("#advance")
    page.click("#burst")
    page.wait(f"document.querySelector('.cell[data-offset=\"{1042 + BURST}\"]')")
    all_at(page, 1042 + BURST)
    all_are(page, "live")
    for client in CLIENTS:
        assert offsets(page, client) == list(range(1041, 1043 + BURST))
        assert {kind for _, kind in rows(page, client)[1:]} == {"caught-up"}
    assert page.complaints == []


def test_one_slow_client_falls_behind_alone_and_catches_up(page: Page) -> None:
    page.click(f"{lane('customer')} [data-slow]")
    page.click("#burst")
    wait_for_client(page, "customer", state="behind")
    for client in ("warehouse", "kiosk", "board"):
        wait_for_client(page, client, offset=1041 + BURST, state="live")
    page.click(f"{lane('customer')} [data-slow]")
    wait_for_client(page, "customer", offset=1041 + BURST, state="live")
    assert offsets(page, "customer") == list(range(1041, 1042 + BURST))


def test_the_whole_browser_offline_and_back_has_missed_nothing(page: Page, server: Server) -> None:
    page.offline(True)
    wait_for_client(page, "board", state="connecting")
    ask(server, "/orders/A123/paid")
    page.offline(False)
    all_at(page, 1042)
    all_are(page, "live")
    for client in CLIENTS:
        assert offsets(page, client) == [1041, 1042]


def test_the_guided_tour_loses_the_network_between_1043_and_1044(page: Page) -> None:
    for step in range(1, 7):
        page.click(f'[data-step="{step}"]')
    page.wait("document.querySelectorAll('.steps .done').length === 6")
    wire = page.evaluate("Array.from(document.querySelectorAll('.wire p'), line => line.textContent)")
    asked = [line for line in wire if line.startswith(("GET", "POST"))]
    epoch = asked[1].split("after=")[1].split(".")[0]
    assert asked == [
        "GET /orders/A123/events HTTP/1.1",
        f"GET /orders/A123/events?after={epoch}.1041&format=triolet HTTP/1.1",
        "POST /orders/A123/paid HTTP/1.1",
        "POST /orders/A123/packed HTTP/1.1",
        "POST /orders/A123/shipped HTTP/1.1",
        f"GET /orders/A123/events?after={epoch}.1043&format=triolet HTTP/1.1",
    ]
    names = [name for name, following in pairwise(wire) if following == "event: order-status"]
    assert names == [f"id: {epoch}.{offset}" for offset in (1042, 1043, 1044)]
    all_at(page, 1044)
    assert page.complaints == []


def test_a_server_killed_and_started_again_has_lost_nothing(page: Page, server: Server) -> None:
    page.click("#advance")
    page.click("#burst")
    all_at(page, 1042 + BURST)
    server.kill()
    all_are(page, "connecting")
    page.wait("!document.getElementById('away').hidden")
    server.start()
    all_are(page, "live")
    page.click('#advance[data-next="packed"]')
    all_at(page, 1043 + BURST)
    for client in CLIENTS:
        assert offsets(page, client) == list(range(1041, 1044 + BURST))
    with pytest.raises(AssertionError, match="409"):
        ask(server, "/orders/A123/delivered")


def test_a_pick_that_is_asked_for_while_the_network_is_cut_is_done_once(page: Page, server: Server) -> None:
    page.click("#advance")
    all_at(page, 1042)
    page.click(f"{lane('warehouse')} [data-cut]")
    wait_for_client(page, "warehouse", state="connecting")
    page.click('[data-pick="A123"]')
    assert page.text('[data-pick="A123"]') == "Waits for an answer"
    assert states(server) == ["created", "paid"]
    all_at(page, 1043)
    all_are(page, "live")
    assert states(server) == ["created", "paid", "packed"]


def test_what_is_asked_of_a_dead_server_is_done_once_by_the_next(page: Page, server: Server) -> None:
    page.click("#advance")
    all_at(page, 1042)
    server.kill()
    page.wait("!document.getElementById('away').hidden")
    page.click("#burst")
    page.click("#advance")
    page.wait("document.getElementById('answer').textContent === 'Pack it: waits for an answer.'")
    server.start()
    all_at(page, 1043 + BURST)
    all_are(page, "live")
    assert sorted(states(server)) == sorted(["created", "paid", "packed", *["position"] * BURST])
    page.wait("document.getElementById('answer').textContent === ''")


def test_who_looks_at_the_order_is_shown(page: Page, browser: Browser, server: Server) -> None:
    here = "document.getElementById('here').textContent"
    page.wait(f"{here}.includes('(you) on 4 connections')")  # the page's own, and the two that poll count as one
    with browser.page(server.url) as other:
        other.wait(f"{here}.includes('(you) on 7 connections')")
        page.wait(f"{here}.includes('(you) on 7 connections')")
    page.wait(f"{here}.includes('(you) on 4 connections')")


def test_text_of_an_event_is_never_markup(page: Page, server: Server, database: Path) -> None:
    text = "<img src=x onerror=\"document.title='taken over'\"><script>document.title='taken over'</script>"
    server.kill()

    async def publish() -> None:
        async with Triolet(log=f"sqlite:///{database}") as live:
            await live.publish("orders/A123", {"text": text}, name="position")

    trio.run(publish)
    server.start()
    all_at(page, 1042)
    for client in CLIENTS:
        assert page.text(f"{card(client)} .recent .what") == text
    assert page.evaluate("document.title") == "Order A123 · Triolet"
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0


NATIVE = """
(async () => {
  const url = "/orders/A150/events";
  const { cursor } = await (await fetch("/orders/A150")).json();
  window.heard = { eventsource: [], websocket: [], fetch: [] };
  window.source = new EventSource(`${url}?after=${cursor}`);
  source.addEventListener("order-status", (event) => heard.eventsource.push(`${event.lastEventId} ${event.data}`));
  let last = cursor;
  (function connect() {
    const socket = new WebSocket(`ws://${location.host}${url}?after=${last}`);
    socket.onclose = () => setTimeout(connect, 100);
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type !== "event") return;
      last = message.id;
      heard.websocket.push(`${message.id} ${JSON.stringify(message.data)}`);
    };
  })();
  let after = cursor;
  (async () => {
    for (;;) {
      try {
        const body = await (await fetch(`${url}?after=${after}&wait=5`)).json();
        for (const { id, data } of body.events) heard.fetch.push(`${id} ${JSON.stringify(data)}`);
        after = body.cursor;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  })();
  return cursor;
})()
"""


def test_the_browsers_own_clients_follow_and_come_back(page: Page, server: Server) -> None:
    epoch = str(page.evaluate(NATIVE)).split(".")[0]
    ask(server, "/orders/A150/paid")
    everywhere = "Object.values(heard).every(events => events.length === {})"
    page.wait(everywhere.format(1))
    server.kill()
    server.start()
    ask(server, "/orders/A150/packed")
    page.wait(everywhere.format(2))
    expected = [f'{epoch}.1042 {{"state":"paid"}}', f'{epoch}.1043 {{"state":"packed"}}']
    assert page.evaluate("heard") == dict.fromkeys(("eventsource", "websocket", "fetch"), expected)


def show(page: Page) -> None:
    """Have the page show all that it can: clients that are live, behind and without a network, and a full log."""
    page.wait("document.querySelectorAll('[data-card][data-state=live]').length === 4")
    page.evaluate("document.querySelector('#advance[data-next]:not([data-next=\"\"])')?.click()")
    page.click("[data-lane=customer] [data-slow]")
    page.click("#burst")
    page.wait("document.querySelector('[data-card=customer]').dataset.state === 'behind'")
    page.click("[data-lane=warehouse] [data-cut]")
    page.wait("document.querySelector('[data-card=warehouse]').dataset.state === 'connecting'")
    page.evaluate("document.querySelector('[data-step=\"1\"]').click()")


def nothing_collides(page: Page) -> None:
    page.evaluate(TEXT_BOX)
    assert page.evaluate(COLLISIONS) == []


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    check_looks(browser, server.url, show, nothing_collides)


def test_on_a_desk_the_switches_of_every_network_are_in_sight_and_the_cards_in_a_row(
    browser: Browser, server: Server
) -> None:
    with browser.page(server.url, width=DESK[0], height=DESK[1]) as page:
        page.wait("document.querySelectorAll('[data-card][data-state=live]').length === 4")
        switches = page.evaluate(
            "Array.from(document.querySelectorAll('.lane button'), (one) => one.getBoundingClientRect().bottom)"
        )
        assert len(switches) == 8
        assert max(switches) <= DESK[1]
        tops = page.evaluate(
            "Array.from(document.querySelectorAll('.client'), (one) => one.getBoundingClientRect().top)"
        )
        assert len(set(tops)) == 1


def test_what_changes_is_said_once_and_the_keyboard_stays_where_it_was(browser: Browser, server: Server) -> None:
    with browser.page(server.url) as page:
        page.wait("document.querySelectorAll('[data-card][data-state=live]').length === 4")
        page.evaluate(
            "globalThis.said = [], new MutationObserver(() => said.push(document.getElementById('said').textContent))"
            ".observe(document.getElementById('said'), {childList: true}), 0"
        )
        page.evaluate("document.getElementById('advance').focus()")
        page.click("#advance")
        page.wait("said.includes('The order is paid.')")
        assert page.evaluate("document.activeElement.id") == "advance"
        page.click("[data-lane=kiosk] [data-cut]")
        page.wait("said.includes('Kiosk: no connection.')")
        page.click("#burst")
        page.wait("said.includes('Kiosk: back, 40 events caught up.')")
        assert page.evaluate("said.length") == 3
