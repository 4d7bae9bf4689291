"""What time of day it is, as events and statistics tell it: one place, so that a test's virtual clock can decide it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["wall_time"]

system: Final = time.time

source: Callable[[], float] = system
"""What :func:`wall_time` asks. :func:`triolet.testing.seeded` puts another in its place."""


def wall_time() -> float:
    """Return seconds since 1970. In a seeded run on a virtual clock, they go with that clock."""
    return source()
