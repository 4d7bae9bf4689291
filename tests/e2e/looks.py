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


def check_looks(
    browser: Browser, url: str, prepare: Callable[[Page], object], also: Callable[[Page], object] = lambda page: None
) -> None:
    """A desk and a telephone, in light and dark: axe finds nothing, nothing overflows, all is in reach of the keyboard.

    Args:
        prepare: has the page show all that it can, and returns when it does.
        also: what is to be so of this page too, at each size.
    """
    axe = (NODE_MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    with browser.page(url) as page:
        page.still()
        prepare(page)
        page.call("Runtime.evaluate", expression=axe)
        for width, height in (DESK, TELEPHONE):
            for dark in (False, True):
                page.resize(width, height)
                page.still(dark=dark)
                found = page.evaluate(
                    f"axe.run({ACCESSIBLE}).then(({{violations}}) => violations.map("
                    "({id, nodes}) => [id, nodes.map(({target, failureSummary}) => [target, failureSummary])]))"
                )
                seen = f"at {width} px, {'dark' if dark else 'light'}"
                assert found == [], f"{seen}: {found}"
                assert page.evaluate(UNREACHABLE) == [], seen
                assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, seen
                also(page)
        assert page.complaints == []
