"""The hunt: servers, logs, clients, publishers, policies, restarts and network faults, all drawn from one seed, and a
checker that reads the recorded history.

A seed gives a *plan* (``draw``); the plan is played by a *world* and recorded in a *history*; the *checker* holds that
against what Triolet promises; what breaks a promise is *shrunk* and told as a *dialogue*.

The log is one in memory, or a modelled Redis. A log in SQLite is not played: its work is done in a thread, and in which
step of a play a thread is ready no seed decides, so a play would not be the same twice. It is held to the same contract
(``triolet.testing.check_log``), and crashes with real processes (tests/e2e).
"""

from __future__ import annotations

from .checker import check
from .draw import draw
from .findings import Finding
from .performance import Performance, hunt, perform, report, smallest
from .plan import Plan

__all__ = ["Finding", "Performance", "Plan", "check", "draw", "hunt", "perform", "report", "smallest"]
