"""The documentation's settings. ``make docs`` builds it; warnings are errors."""

import sys
from collections.abc import Iterable
from dataclasses import fields
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.javascript import JSObject
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from triolet import limits
from triolet.closing import CATALOGUE, GONE
from triolet.limits import Limits

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
import jsdoc  # it stands beside the pages
from words import BOUNDS, in_words  # this, too

from tests.paths import table  # it stands beside the docs, and not in what is installed

project = "Triolet"
author = "The Triolet authors"
copyright = author
release = version = version_of("triolet")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"Triolet {release}"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True
napoleon_custom_sections = ["Bounds", "Cancellation"]

HIDDEN = "\ue000"
GENERATED = Path(__file__).parent / "_build"
SOURCES = Path(__file__).parents[1] / "src" / "triolet"
COPIES = GENERATED / "extra" / "src"

html_extra_path = ["_build/extra"]
COPIES.mkdir(parents=True, exist_ok=True)


def _write_closings() -> None:
    rows = []
    for closing in CATALOGUE:
        if closing is GONE:  # never sent: nobody is there
            continue
        again = "no" if closing.retry is None else "{:g} to {:g} s".format(*(ms / 1000 for ms in closing.retry))
        rows.append((str(closing.code), closing.reason, again))
    _write_table("closings", ("code", "reason", "come back after"), rows)


def _write_limits() -> None:
    told = ModuleAnalyzer.for_module("triolet.limits").find_attr_docs()
    rows = [
        (
            f"``{field.name}``",
            "``{}``" if field.name == "keep" else f"{field.default:,}",
            " ".join(told.get(("Limits", field.name), [])).strip(),
        )
        for field in fields(Limits)
    ]
    _write_table("limits", ("bound", "default", "what it bounds"), rows)
    fixed = [
        (f"``{name}``", _shown(value), " ".join(told.get(("", name), [])).strip())
        for module in (limits, *BOUNDS)
        for told in (ModuleAnalyzer.for_module(module.__name__).find_attr_docs(),)
        for name, value in vars(module).items()
        if name.isupper() and _is_bound(value)
    ]
    _write_table("bounds", ("bound", "value", "what it bounds"), fixed)


def _is_bound(value: Any) -> bool:
    return all(map(_is_bound, value)) if isinstance(value, tuple) else isinstance(value, int | float)


def _shown(value: Any) -> str:
    return ", ".join(map(_shown, value)) if isinstance(value, tuple) else f"{value:,}"


def _write_promises() -> None:
    rows = []
    for promise, sentence in table.PROMISES.items():
        meant = [transport for transport in table.TRANSPORTS if (promise, transport) not in table.NOT_MEANT]
        told = "all" if len(meant) == len(table.TRANSPORTS) else ", ".join(meant)
        rows.append((promise, sentence, "requests" if promise == "body_bytes" else told))
    _write_table("promises", ("name", "what is promised", "of"), rows)


def _write_not_given() -> None:
    """One row for each promise and reason: where it is not kept, by path and transport."""
    found: dict[tuple[str, str], list[table.Cell]] = {}
    for cell, why in table.NOT_GIVEN.items():
        found.setdefault((cell.promise, why), []).append(cell)
    rows = []
    for (promise, why), cells in found.items():
        paths = list(dict.fromkeys(cell.path for cell in cells))
        transports = list(dict.fromkeys(cell.transport for cell in cells))
        where = "; ".join(table.PATHS[path] for path in paths)
        who = "all" if len(transports) == len(table.TRANSPORTS) else ", ".join(transports)
        who = "requests" if promise == "body_bytes" else who
        rows.append((promise, who, where, f"{why}."))
    _write_table("not-given", ("name", "of", "over", "because"), rows)


def _write_table(name: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        lines += [f"   {'  ' if place else '* '}- {cell}" for place, cell in enumerate(row)]
    GENERATED.mkdir(exist_ok=True)
    (GENERATED / f"{name}.rst").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_tables(_app: Sphinx) -> None:
    """Draw tables from the code, so that no page can differ from it."""
    _write_closings()
    _write_limits()
    _write_promises()
    _write_not_given()


def _hide_colons(_app: Sphinx, what: str, *rest: Any) -> None:
    """Napoleon takes what stands before a colon in an attribute's docstring for its type."""
    if what in ("attribute", "property"):
        rest[-1][:] = [line.replace(":", HIDDEN) for line in rest[-1]]


def _show_colons(_app: Sphinx, _what: str, *rest: Any) -> None:
    rest[-1][:] = [line.replace(HIDDEN, ":") for line in rest[-1]]


def _source(_name: str, rawtext: str, text: str, _line: int, inliner: Any, *_: Any) -> Any:
    """``:src:`hub/pump.py```: a link to a file of the package, of which the built pages hold a copy."""
    path = SOURCES / text
    if not path.is_file():
        return [], [inliner.reporter.error(f"there is no file {text} in src/triolet")]
    copy = COPIES / f"{text}.txt"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    up = "../" * inliner.document.settings.env.docname.count("/")
    return [nodes.reference(rawtext, text, refuri=f"{up}src/{text}.txt")], []


def _limit(_name: str, rawtext: str, text: str, _line: int, inliner: Any, *_: Any) -> Any:
    """``:limit:`beat_seconds```: the default of a limit, in words, so that no page can say another."""
    try:
        return [nodes.inline(rawtext, in_words(text))], []
    except KeyError:
        return [], [inliner.reporter.error(f"there is no limit {text}")]


def _page(app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.Element) -> Any:
    """``:doc:`serving```: a page by its name alone, whatever its kind; each name is one page's."""
    found = [page for page in env.all_docs if page.rpartition("/")[2] == node["reftarget"]]
    if node.get("reftype") != "doc" or len(found) != 1:
        return None
    text = shown.astext() if node["refexplicit"] else env.titles[found[0]].astext()
    link = nodes.inline(text, text, classes=["doc"])
    return make_refnode(app.builder, node["refdoc"], found[0], "", link)


class _Javascript(SphinxDirective):
    """``.. javascript:: triolet-client``: what an import gives, from its JSDoc; ``:names:`` says what of it."""

    required_arguments = 1
    option_spec: ClassVar = {"names": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        for path in jsdoc.STATIC.glob("*.js"):
            self.env.note_dependency(str(path))
        entry, context = self.arguments[0], self.env.ref_context
        lines = jsdoc.reference(entry, self.options.get("names", "").replace(",", " ").split())
        context["js:module"] = entry  # two of them may have one name
        try:
            return self.parse_text_to_nodes("\n".join(lines))
        finally:
            del context["js:module"]


class _Shape(JSObject):
    """``.. js:type:: Gap``, and ``.. js:made:: Client`` for a class that no app makes: they have no parentheses."""

    allow_nesting = True

    def get_display_prefix(self) -> list[nodes.Node]:
        word = "class" if self.objtype == "made" else self.objtype
        return [addnodes.desc_sig_keyword(word, word), addnodes.desc_sig_space()]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_role("src", _source)
    app.add_role("limit", _limit)
    app.add_directive("javascript", _Javascript)
    app.add_directive_to_domain("js", "made", _Shape)
    app.add_directive_to_domain("js", "type", _Shape)
    app.connect("builder-inited", _write_tables)
    app.connect("missing-reference", _page)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
