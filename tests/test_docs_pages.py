"""Which tutorial and which how-to is run by what: each has somebody who runs its blocks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from .e2e.reader import Reader, blocks_of, commands, pattern_of
from .pages import DOCS, KINDS

DONE = [
    "tutorials/chat.rst",
    "tutorials/chat-tests.rst",
    "tutorials/answer.rst",
    "how-to/background.rst",
    "how-to/cloud.rst",
    "how-to/databases.rst",
    "how-to/deploy.rst",
    "how-to/migrating.rst",
    "how-to/sources.rst",
    "how-to/troubleshooting.rst",
]
"""Pages that tests/e2e/test_pages.py does as they stand."""

ELSEWHERE = {
    "tutorial": "test_docs.py, e2e/test_tutorial.py",
    "runs": "test_docs_runs.py, e2e/test_runs_page.py",
    "testing": "test_docs_testing.py",
    "examples": "e2e/examples",
    "identity": "test_docs_identity.py, e2e/test_identity_console.py",
    "commands": "test_docs_identity.py",
    "presence": "test_docs.py",
    "publishing": "e2e/publishing",
    "standalone": "test_docs_standalone.py, e2e/test_standalone.py",
    "serving": "e2e/deployment",
    "many": "e2e/test_many.py",
    "operating": "e2e/test_admin.py, e2e/test_alerts.py",
    "probing": "e2e/test_probe.py",
    "channels": "app/test_feed.py",
    "redis": "e2e/redis",
    "pages": "e2e/test_page_code.py",
    "programs": "test_docs_client.py",
}
"""Older pages, and the tests that run what they show."""


@pytest.mark.parametrize("page", DONE)
def test_all_that_a_page_shows_can_be_done_or_says_why_not(page: str) -> None:
    blocks = blocks_of(DOCS / page)
    there = {block.text for block in blocks if block.kind == "file"}
    for block in blocks:
        if block.kind == "part":
            assert block.text in there, f"{page}, line {block.line}: a part of a file that the page puts nowhere"
        if block.kind == "console":
            assert commands(block.text)


def test_every_tutorial_and_how_to_has_somebody_who_runs_it() -> None:
    pages = {
        path.relative_to(DOCS).as_posix() for kind in ("tutorials", "how-to") for path in DOCS.glob(f"{kind}/*.rst")
    }
    assert set(DONE) <= pages
    left = {page for page in pages - set(DONE) if Path(page).stem not in ELSEWHERE}
    assert not left, "have tests/e2e/test_pages.py do them"
    named = {name for told in ELSEWHERE.values() for name in told.split(", ")}
    assert not [name for name in named if not (DOCS.parent / "tests" / name).exists()]


def test_every_program_that_a_page_shows_is_checked_by_mypy() -> None:
    lint = (DOCS.parent / "scripts" / "lint").read_text(encoding="utf-8")
    settings = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    globs = re.findall(r"docs/\S+\.py", lint) + [f"{name}/*.py" for name in settings["tool"]["mypy"]["files"]]
    checked = {path for pattern in globs for path in DOCS.parent.glob(pattern)}
    programs = {path for kind in KINDS for path in (DOCS / kind).rglob("*.py")}
    assert programs - checked == set(), "name them in scripts/lint"


def test_what_is_shown_stands_for_what_differs_from_run_to_run() -> None:
    shown = 'id: rqvwGEJM.1\ndata: {"a":"b"}\n…\ntime: 1767225600000'
    assert re.fullmatch(pattern_of(shown), 'id: AAAA-_12.1\ndata: {"a":"b"}\nmore\nand more\ntime: 1867225600111')
    assert not re.fullmatch(pattern_of(shown), 'id: AAAA-_12.2\ndata: {"a":"b"}\nmore\ntime: 1867225600111')
    assert not re.fullmatch(pattern_of(shown), 'id: AAAA-_12.1\ndata: {"a":"c"}\nmore\ntime: 1867225600111')


def test_a_reader_minds_what_he_sees(tmp_path: Path) -> None:
    page = tmp_path / "page.rst"
    page.write_text(".. code-block:: console\n\n   $ echo one\n   two\n", encoding="utf-8")
    (block,) = blocks_of(page)
    with pytest.raises(AssertionError, match="the page shows:\ntwo\n\nit says:\none"):
        Reader(tmp_path, {}).do(block)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (".. code-block:: python\n\n   print(1)\n", "nobody runs this block"),
        ("So::\n\n   print(1)\n", "write a code-block"),
        (".. literalinclude:: nothing.py\n", "there is no nothing.py"),
        (".. not run: it takes a cloud\n", "nothing stands below"),
    ],
)
def test_a_block_that_nobody_would_run_is_an_error(text: str, why: str, tmp_path: Path) -> None:
    page = tmp_path / "page.rst"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=why):
        blocks_of(page)
