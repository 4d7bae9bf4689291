"""What the tests of the examples share: an example that is served.

Each example has a file here that shows it in Chromium: it works, goes on after its server was killed and after its
network was cut, and nothing on it is hard to read or out of reach (tests/e2e/looks.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.needs import EXAMPLES
from tests.e2e.server import Server, serving


@contextmanager
def served(name: str, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve an example, with its log in a folder of the test: ``CHAT_DB`` is where ``chat`` keeps it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"{name.upper()}_DB", str(folder / f"{name}.db"))
        for variable, value in (environment or {}).items():
            patch.setenv(variable, value)
        with serving(folder, "app:app", arguments=["--app-dir", str(EXAMPLES / name)]) as server:
            yield server
