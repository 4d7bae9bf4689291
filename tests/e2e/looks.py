"""How a page of ours must look: at a desk and on a telephone, in light and dark, by keyboard and by screen reader."""

from __future__ import annotations

from collections.abc import Callable

from .browser import Browser, Page
from .needs import NODE_MODULES

DESK, TELEPHONE = (1280, 900), (375, 812)

ACCESSIBLE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}

UNREACHABLE = """
Array.from(document.querySelectorAll("body *"))
  .filter((one) => /auto|scroll/.test(getComputedStyle(one).overflowY) && one.tabIndex < 0
    && !/^(HTML|BODY)$/.test(one.tagName))
  .map((one) => one.className || one.tagName)
"""
"""What scrolls, or may have to once there is more in it, and cannot be reached by keyboard."""


def prepare_to_look(page: Page) -> None:
    """Once for each page, before ``look``."""
    page.call("Runtime.evaluate", expression=(NODE_MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))


def look(page: Page, size: tuple[int, int], *, dark: bool, when: str = "") -> None:
    """As the page is now, axe finds nothing, nothing overflows, and all is in reach of the keyboard."""
    page.resize(*size, dark=dark)
    page.still(dark=dark)
    found = page.evaluate(
        f"axe.run({ACCESSIBLE}).then(({{violations}}) => violations.map("
        "({id, nodes}) => [id, nodes.map(({target, failureSummary}) => [target, failureSummary])]))"
    )
    seen = f"at {size[0]} px, {'dark' if dark else 'light'}{when}"
    assert found == [], f"{seen}: {found}"
    assert page.evaluate(UNREACHABLE) == [], seen
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, seen


def check_looks(
    browser: Browser, url: str, prepare: Callable[[Page], object], also: Callable[[Page], object] = lambda page: None
) -> None:
    """Look at a desk and a telephone, in light and dark, and at what stays on the desk when the network goes.

    Args:
        prepare: has the page show all that it can, and returns when it does.
        also: what is to be so of this page too, at each size.
    """
    with browser.page(url) as page:
        page.still()
        prepare(page)
        prepare_to_look(page)
        for size in (DESK, TELEPHONE):
            for dark in (False, True):
                look(page, size, dark=dark)
                also(page)
        assert page.complaints == []
        page.offline(True)
        page.wait("!document.querySelector('.badge[data-state=live]')")
        for dark in (False, True):
            look(page, DESK, dark=dark, when=", without a network")
