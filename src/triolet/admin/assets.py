"""The files of the operator's page: its own, and those of Triolet's client, which it is one of."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from .contract import Answer, Question, Staff, refusal

__all__ = ["CLIENT", "PAGE", "ask_client", "ask_file", "ask_page"]

PAGE: Final = Path(__file__).parent / "page"
CLIENT: Final = Path(__file__).parents[1] / "static"

_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""What the page may do. Names of channels and clients are texts in it, whatever they are made of."""


async def ask_page(staff: Staff, question: Question) -> Answer:
    """Return the page. Whoever reaches the listener may have it: it shows nothing without the key."""
    headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
    return Answer(200, _read(PAGE / "page.html"), _KINDS[".html"], headers=headers)


async def ask_file(staff: Staff, question: Question) -> Answer:
    """Return a file of the page's own."""
    return _file(PAGE, question.values["file"])


async def ask_client(staff: Staff, question: Question) -> Answer:
    """Return a module of Triolet's client."""
    return _file(CLIENT, question.values["file"])


def _file(folder: Path, name: str) -> Answer:
    found = _names(folder).get(name)
    if found is None:
        return refusal(404, "path", f"there is no file {name!r:.80} of the page's")
    return Answer(200, _read(found), _KINDS[found.suffix])


@cache
def _names(folder: Path) -> dict[str, Path]:
    """What may be asked for: a name is looked up, and never made into a path."""
    return {path.name: path for path in folder.iterdir() if path.suffix in _KINDS}


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()
