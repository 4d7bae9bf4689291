"""The demos as people meet them: on a desk and on a telephone, in light and dark, by keyboard and by screen reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Browser, Page, open_browser
from .needs import NODE_MODULES, needs
from .server import Server, serving

pytestmark = [needs("chromium"), pytest.mark.timeout(180)]

EXAMPLES = Path(__file__).parents[2] / "examples"
DESK, TELEPHONE = (1280, 900), (375, 812)

ACCESSIBLE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}

UNREACHABLE = """
Array.from(document.querySelectorAll("body *"))
  .filter((one) => /auto|scroll/.test(getComputedStyle(one).overflowY) && one.tabIndex < 0)
  .map((one) => one.className)
"""
"""What scrolls, or may have to once there is more in it, and cannot be reached by keyboard."""

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module", params=["shop", "ticker"])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if request.param == "ticker":
        pytest.importorskip("vega_datasets", reason="the prices are in vega-datasets", exc_type=ImportError)
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_DB", str(folder / "shop.db"))
        patch.setenv("TICKER_DB", str(folder / "ticker.db"))
        with serving(folder, "app:app", arguments=["--app-dir", str(EXAMPLES / request.param)]) as server:
            yield server


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SHOP_DB", str(tmp_path / "shop.db"))
    with serving(tmp_path, "app:app", arguments=["--app-dir", str(EXAMPLES / "shop")]) as server:
        yield server


def disturb(page: Page) -> None:
    """Have the page show all that it can: clients that are live, behind and without a network, and a full log."""
    if page.evaluate("document.getElementById('cards') === null"):
        page.wait("Number(document.querySelector('polyline')?.dataset.points) > 3")
        return
    page.wait("document.querySelectorAll('[data-card][data-state=live]').length === 4")
    page.evaluate("document.querySelector('#advance[data-next]:not([data-next=\"\"])')?.click()")
    page.click("[data-lane=customer] [data-slow]")
    page.click("#burst")
    page.wait("document.querySelector('[data-card=customer]').dataset.state === 'behind'")
    page.click("[data-lane=warehouse] [data-cut]")
    page.wait("document.querySelector('[data-card=warehouse]').dataset.state === 'connecting'")
    page.evaluate("document.querySelector('[data-step=\"1\"]').click()")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, TELEPHONE], ids=["desk", "telephone"])
@needs("npm:axe-core")
def test_nothing_on_it_is_hard_to_read_or_out_of_reach(
    browser: Browser, demo: Server, size: tuple[int, int], dark: bool
) -> None:
    axe = (NODE_MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    with browser.page(demo.url, width=size[0], height=size[1], dark=dark) as page:
        page.still(dark=dark)
        disturb(page)
        page.call("Runtime.evaluate", expression=axe)
        found = page.evaluate(
            f"axe.run({ACCESSIBLE}).then(({{violations}}) =>"
            " violations.map(({id, nodes}) => [id, nodes.map(({target, failureSummary}) => [target, failureSummary])]))"
        )
        assert found == []
        assert page.evaluate(UNREACHABLE) == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
        page.evaluate(TEXT_BOX)
        assert page.evaluate(COLLISIONS) == []


def test_on_a_desk_the_switches_of_every_network_are_in_sight_and_the_cards_in_a_row(
    browser: Browser, shop: Server
) -> None:
    with browser.page(shop.url, width=DESK[0], height=DESK[1]) as page:
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


def test_what_changes_is_said_once_and_the_keyboard_stays_where_it_was(browser: Browser, shop: Server) -> None:
    with browser.page(shop.url) as page:
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
