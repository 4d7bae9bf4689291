"""``llms.txt``: all pages with what they are about, for programs that read documentation (https://llmstxt.org)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["Paper", "listing", "paper", "setup"]

DOCS = Path(__file__).parents[1]

TOCTREE = re.compile(r"^\.\. toctree::\n((?:   :.+\n)*)\n((?:   \S+\n)+)", re.MULTILINE)
ROLE = re.compile(r":[a-z:]+:`(?:([^`<]+?)\s*<[^`>]+>|[~!]?([^`]+))`")
LINK = re.compile(r"`([^`<]+?)\s*<[^`>]+>`_+")
ABOUT = re.compile(r"^   :description: (.+)$", re.MULTILINE)
SENTENCE = re.compile(r"(.+?[^.…][.?!])(?=\s|$)")


class Paper(NamedTuple):
    """What a page is called, and what it is about."""

    title: str
    text: str


def paper(text: str) -> Paper:
    """Return the title of a page, and what it is about: its description, or else its first sentence."""
    title, rest = re.split(r"\n=+\n", text, maxsplit=1)
    about = ABOUT.search(rest)
    if about is not None:
        return Paper(title.rpartition("\n")[2].strip(), _sentence(about[1]))
    for block in re.split(r"\n\s*\n", rest):
        if re.match(r"[A-Z`*:]", block.lstrip("\n")) and not re.search(r"^[-=~]{3,}", block, re.MULTILINE):
            return Paper(title.rpartition("\n")[2].strip(), _sentence(block))
    raise ValueError(f"a page that says nothing: {title}")


def _sentence(block: str) -> str:
    bare = ROLE.sub(lambda role: role[1] or role[2].rpartition(".")[2], " ".join(block.split()))
    bare = LINK.sub(r"\1", bare).replace("``", "`").replace("**", "")
    found = SENTENCE.match(bare)
    return found[1] if found else f"{bare.rstrip(':')}."


def listing(docs: Path = DOCS) -> str:
    """Return the list: what Triolet is, and then all pages in the order of the front page, by their kinds."""
    front = (docs / "index.rst").read_text(encoding="utf-8")
    lines = [f"# {paper(front).title}", "", f"> {paper(front).text}", ""]
    for options, names in TOCTREE.findall(front):
        caption = re.search(r":caption: (.+)", options)
        assert caption is not None, "each of them has one"
        lines += [f"## {caption[1]}", ""]
        for name in names.split():
            page = paper((docs / f"{name}.rst").read_text(encoding="utf-8"))
            lines.append(f"- [{page.title}]({name}.html): {page.text}")
        lines.append("")
    return "\n".join(lines)


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        (Path(app.outdir) / "llms.txt").write_text(listing(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("build-finished", _write)
    return {}
