"""How pages name what is elsewhere: other pages, files of the source, tests, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from .words import in_words, measured

__all__ = ["EXTRA", "setup"]

ROOT = Path(__file__).parents[2]
EXTRA = ROOT / "docs" / "_build" / "extra"
"""What the built pages have besides themselves: copies of the files that they link to."""


def _source(_name: str, rawtext: str, text: str, _line: int, inliner: Any, *_: Any) -> Any:
    """``:src:`hub/pump.py```: a link to a file of the package, of which the built pages hold a copy."""
    return _copied("src", ROOT / "src" / "triolet", rawtext, text, text, inliner)


def _test(_name: str, rawtext: str, text: str, _line: int, inliner: Any, *_: Any) -> Any:
    """``:test:`log/test_memory.py::test_x```: a test by its name, which links to a copy of its file."""
    file, _, name = text.partition("::")
    return _copied("tests", ROOT / "tests", rawtext, file, name or file, inliner)


def _copied(folder: str, source: Path, rawtext: str, file: str, shown: str, inliner: Any) -> Any:
    path = source / file
    if not path.is_file():
        return [], [inliner.reporter.error(f"there is no file {file} in {source.relative_to(ROOT)}")]
    copy = EXTRA / folder / f"{file}.txt"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    up = "../" * inliner.document.settings.env.docname.count("/")
    return [nodes.reference(rawtext, shown, refuri=f"{up}{folder}/{file}.txt")], []


def _limit(_name: str, rawtext: str, text: str, _line: int, inliner: Any, *_: Any) -> Any:
    """``:limit:`beat_seconds```: the default of a limit, in words, so that no page can say another."""
    try:
        return [nodes.inline(rawtext, in_words(text))], []
    except KeyError:
        return [], [inliner.reporter.error(f"there is no limit {text}")]


def _measured(_name: str, rawtext: str, text: str, _line: int, inliner: Any, *_: Any) -> Any:
    """``:measured:`stream memory```: what was measured, in words; see ``words.measured``."""
    try:
        return [nodes.inline(rawtext, measured(text))], []
    except KeyError:
        return [], [inliner.reporter.error(f"there is no figure {text}")]


def _page(app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.Element) -> Any:
    """``:doc:`serving```: a page by its name alone, whatever its kind; each name is one page's."""
    found = [page for page in env.all_docs if page.rpartition("/")[2] == node["reftarget"]]
    if node.get("reftype") != "doc" or len(found) != 1:
        return None
    text = shown.astext() if node["refexplicit"] else env.titles[found[0]].astext()
    link = nodes.inline(text, text, classes=["doc"])
    return make_refnode(app.builder, node["refdoc"], found[0], "", link)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    EXTRA.mkdir(parents=True, exist_ok=True)
    app.add_role("src", _source)
    app.add_role("test", _test)
    app.add_role("limit", _limit)
    app.add_role("measured", _measured)
    app.connect("missing-reference", _page)
    return {}
