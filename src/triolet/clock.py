"""The time of day for events and statistics: one place, so that a test's virtual clock can decide it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["wall_time"]

system: Final = time.time

source: Callable[[], float] = system
"""The clock that :func:`wall_time` asks. :func:`triolet.testing.seeded` puts another in its place."""


def wall_time() -> float:
    """Return seconds since 1970. In a seeded run on a virtual clock, they go with that clock."""
    # Deadlines and lags are never taken from here, but from Trio's clock: the time of day may jump.
    return source()
