"""The command sets up the log of a process, and a test puts it back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loggers import kept_as_they_were


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """As they were, after each test."""
    with kept_as_they_were():
        yield
