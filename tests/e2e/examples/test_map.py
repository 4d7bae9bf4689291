"""The map in a browser: as many planes as there are, and no tile that is not looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.browser import Browser, Page
from tests.e2e.looks import check_looks
from tests.e2e.needs import needs
from tests.e2e.server import Server, wait_for

from .stage import served

pytestmark = needs("chromium", "front:map")

CHICAGO = "/tiles/16/23/events"
ALL = "400"

COUNTED = """
new Promise((resolve) => {
  const seen = new Set();
  const sample = setInterval(() => seen.add(document.getElementById("in-view").textContent), 50);
  setTimeout(() => resolve([clearInterval(sample), ...seen].slice(1)), 3000);
})
"""
"""How many planes the page counts, over three seconds, in which some go from tile to tile."""


CROSSING = """
import("/static/sky.js").then(({ Sky }) => {
  const sky = new Sky((tile) => ["1/1", "1/2"].includes(tile));
  const state = (at, more = {}) => ({ at, lat: 40, lon: -90, ...more });
  const words = {
    here: () => sky.moved("1/1", "TR1", state(1)),
    left: () => sky.left("1/1", "TR1", state(2, { tile: "1/2" })),
    there: () => sky.moved("1/2", "TR1", state(2)),
    away: () => sky.left("1/1", "TR1", state(2, { tile: "9/9" })),
    whole: () => sky.whole("1/2", { at: 1, planes: {} }),
  };
  return WORDS.map((word) => (words[word](), Array.from(sky, ({ name, tile }) => `${name} ${tile}`).join()));
})
"""
"""What a page knows after each word about a plane that goes from one tile to another."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("vega_datasets", reason="the airports are in vega-datasets", exc_type=ImportError)
    with served("map", tmp_path_factory.mktemp("map")) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with browser.page(server.url) as page:
        page.still()
        ready(page)
        yield page


@pytest.fixture(scope="module")
def still(browser: Browser, server: Server) -> Iterator[Page]:
    """A page without a map."""
    with browser.page(f"{server.url}/sky") as page:
        yield page


def ready(page: Page) -> None:
    page.wait("'ready' in document.body.dataset")
    live(page)
    page.wait("Number(document.getElementById('in-view').textContent) > 20")


def live(page: Page) -> None:
    page.wait("document.getElementById('badge').dataset.state === 'live'")


def zoom(page: Page, way: str) -> None:
    """Zoom as far as it goes."""
    button = f"document.querySelector('.leaflet-control-zoom-{way}')"
    while not page.evaluate(f"{button}.classList.contains('leaflet-disabled')"):
        page.evaluate(f"{button}.click()")
        page.wait("!document.querySelector('.leaflet-zoom-anim')")


def followed(page: Page) -> int:
    return int(page.text("#followed").split(" of ")[0])


def told(server: Server) -> int:
    """How many events a busy tile has had."""
    return int(server.request("GET", CHICAGO)["cursor"].split(".")[1])


def test_who_sees_the_whole_country_sees_each_plane_once_whatever_happens(page: Page, server: Server) -> None:
    zoom(page, "out")
    everywhere = f"document.getElementById('in-view').textContent === '{ALL}'"
    page.wait(everywhere)
    assert page.evaluate(COUNTED) == [ALL]

    server.kill()
    page.wait("document.getElementById('badge').dataset.state === 'connecting'")
    server.start()
    live(page)
    page.wait(everywhere)
    assert page.evaluate(COUNTED) == [ALL]

    page.offline(True)
    page.wait("document.getElementById('badge').dataset.state === 'connecting'")
    before = told(server)
    wait_for(lambda: told(server) > before + 60, "sixty events that the page does not hear")
    page.offline(False)
    live(page)
    page.wait("document.getElementById('left-out').textContent !== '0'")
    assert page.evaluate(COUNTED) == [ALL]


def test_the_page_follows_the_tiles_that_it_shows_and_the_map_goes_along_with_a_plane(page: Page) -> None:
    some = followed(page)
    zoom(page, "in")
    page.wait(f"parseInt(document.getElementById('followed').textContent) < {some}")
    assert 1 <= followed(page) <= 4
    zoom(page, "out")
    page.wait("document.getElementById('followed').textContent.startsWith('84 of')")
    page.click("#list button")
    page.wait("!document.getElementById('flight').hidden")
    name = page.text("#card-title")
    zoom(page, "in")
    page.wait("document.getElementById('tile').textContent.includes('/')")
    assert page.evaluate("document.getElementById('flight').classList.contains('lost')") is False
    page.wait(f"Array.from(document.querySelectorAll('#list b'), (one) => one.textContent).includes('{name}')")
    page.click("#let-go")
    page.wait("document.getElementById('flight').hidden")
    assert page.complaints == []


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (["here", "left", "there"], ["TR1 1/1", "TR1 1/2", "TR1 1/2"]),
        (["here", "there", "left"], ["TR1 1/1", "TR1 1/2", "TR1 1/2"]),
        (["there", "here", "left"], ["TR1 1/2", "TR1 1/2", "TR1 1/2"]),
        (["here", "left", "whole"], ["TR1 1/1", "TR1 1/2", "TR1 1/2"]),
        (["here", "away"], ["TR1 1/1", ""]),
    ],
)
def test_a_plane_that_crosses_a_border_is_known_once_in_whatever_order_its_tiles_tell_of_it(
    still: Page, words: list[str], known: list[str]
) -> None:
    assert still.evaluate(CROSSING.replace("WORDS", str(words))) == known


def show(page: Page) -> None:
    """Have the page go along with a plane."""
    ready(page)
    page.wait("document.querySelectorAll('#list button').length > 10")
    page.evaluate("[...document.querySelectorAll('#list button')].filter((b) => /→/.test(b.textContent))[4].click(), 0")
    page.wait("!document.getElementById('flight').hidden")
    page.wait("Number(document.getElementById('came').textContent.replace(',', '')) > 400")


def lose(page: Page) -> None:
    """Have the page look at a plane that stays west of the Rockies, and drag the map away from it, to the east."""
    ready(page)
    zoom(page, "out")
    page.click("#list [data-plane=TR115]")
    for kind, x in (("mousePressed", 900), ("mouseMoved", 700), ("mouseMoved", 400), ("mouseReleased", 400)):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=500, button="left", buttons=1, clickCount=1)
    page.wait("document.getElementById('go-along').getAttribute('aria-pressed') === 'false'")
    zoom(page, "in")
    page.wait("document.getElementById('flight').classList.contains('lost')")


@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(browser: Browser, server: Server) -> None:
    check_looks(browser, server.url, show)
    check_looks(browser, server.url, lose)
