"""A reader does what tutorials and how-tos say, from top to bottom, and sees what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_docs_pages import DONE

from .needs import needs
from .reader import blocks_of, reading

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = needs("curl", "openssl")


@pytest.mark.parametrize("page", DONE)
def test_the_page_does_what_it_shows(page: str, tmp_path: Path) -> None:
    with reading(tmp_path) as reader:
        for block in blocks_of(DOCS / page):
            if not block.skipped:
                reader.do(block)
