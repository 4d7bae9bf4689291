"""Reads a history and says which promises were broken. It knows nothing but the plan and what was recorded."""

from __future__ import annotations

from .book import Book
from .checks import check_talk_ends, check_talk_times, check_world
from .checks_channels import check_channels
from .checks_feeds import check_feeds
from .checks_identity import check_bans, check_commands, check_expiry
from .checks_log import check_log
from .checks_presence import check_presence
from .checks_programs import check_programs
from .checks_runs import check_runs
from .conversation import check_talk
from .findings import Finding
from .history import History
from .plan import Plan
from .talks import Weatherman, talks_of

__all__ = ["check"]


def check(plan: Plan, history: History) -> list[Finding]:
    """Hold a history against all that Triolet promises. Returns what was broken, the earliest first."""
    book = Book(history.records, plan.limits)
    talks = talks_of(plan, history)
    weather = Weatherman(plan, history)
    found = list(check_log(history, book))
    for talk in talks.values():
        found += check_talk(plan, book, talk, weather)
        found += check_talk_times(plan, history, book, talk, weather)
        found += check_talk_ends(plan, book, talk, weather)
        found += check_expiry(plan, talk, weather)
    found += check_world(plan, history, talks, weather)
    found += check_runs(plan, history, book, talks, weather)
    found += check_presence(plan, history, talks, weather)
    found += check_bans(plan, history, talks, weather)
    found += check_channels(plan, history, book, talks, weather)
    found += check_commands(history, book)
    found += check_programs(plan, history, book, weather)
    found += check_feeds(plan, history, book, weather)
    return sorted(found, key=lambda finding: finding.at)
