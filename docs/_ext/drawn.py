"""``.. drawn:: limits``: what another module here makes of the code, as a part of a page; and ``.. javascript::``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.javascript import JSObject
from sphinx.util.docutils import SphinxDirective

from . import closings, command_line, examples, jsdoc, limits, listener, metrics, promises

__all__ = ["DRAWN", "setup"]

DRAWN: dict[str, Callable[[], list[str]]] = {
    "bounds": limits.bounds,
    "closings": closings.closings,
    "command-line": command_line.command_line,
    "examples": examples.examples,
    "limits": limits.settings,
    "listener": listener.listener,
    "metrics": metrics.metrics,
    "not-given": promises.not_given,
    "promises": promises.promises,
}


class _Drawn(SphinxDirective):
    """``.. drawn:: limits``; the page is read with each build, as it is the code that changes."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        draw = DRAWN.get(self.arguments[0])
        if draw is None:
            raise self.error(f"nobody draws {self.arguments[0]}; there are: {', '.join(DRAWN)}")
        self.env.note_reread()
        return self.parse_text_to_nodes("\n".join(draw()), allow_section_headings=True)


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


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("drawn", _Drawn)
    app.add_directive("javascript", _Javascript)
    app.add_directive_to_domain("js", "made", _Shape)
    app.add_directive_to_domain("js", "type", _Shape)
    return {}
