"""Reads a history and says which promises were broken. It knows nothing but the plan and what was recorded."""

from __future__ import annotations

from .book import Book
from .checks_byes import check_byes
from .checks_ends import check_ends
from .checks_log import check_log
from .checks_stale import check_stale
from .checks_talks import check_talk
from .checks_time import check_times
from .findings import Finding
from .history import History
from .plan import Plan
from .talks import Weatherman, talks_of

__all__ = ["check"]


REDIS_SLACK = 1 / 8
"""So much more a log in Redis may keep, in bytes: it deletes in groups."""


def check(plan: Plan, history: History) -> list[Finding]:
    """Hold a history against all that Triolet promises. Returns what was broken, the earliest first."""
    book = Book(history.records, plan.limits, REDIS_SLACK if plan.redis else 0)
    talks = talks_of(plan, history)
    weather = Weatherman(plan, history)
    found = list(check_log(plan, history, book))
    for talk in talks.values():
        found += check_talk(plan, book, talk, weather)
    found += check_times(plan, history, book, talks, weather)
    found += check_ends(plan, history, talks, weather)
    found += check_stale(plan, history, book, talks, weather)
    found += check_byes(plan, history, talks, weather)
    return sorted(found, key=lambda finding: finding.at)
