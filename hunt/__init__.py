"""The hunt: servers, logs, clients, publishers, policies, restarts and network faults, all drawn from one seed, and a
checker that reads the recorded history.

A seed gives a *plan* (``draw``); the plan is played by a *world* and recorded in a *history*; the *checker* holds that
against what Triolet promises; what breaks a promise is *shrunk* and told as a *dialogue*.
"""

from __future__ import annotations

from .checker import check
from .draw import draw
from .findings import Finding
from .performance import Performance, hunt, perform, report, smallest
from .plan import Plan

__all__ = ["Finding", "Performance", "Plan", "check", "draw", "hunt", "perform", "report", "smallest"]
