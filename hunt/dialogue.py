"""A history as a dialogue that a person reads: who said what, when, in virtual seconds."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from .history import Appended, Asked, History, Published, Publishing, Record, Talking
from .plan import Plan

__all__ = ["dialogue", "scene"]


def scene(plan: Plan) -> list[str]:
    """Who is there, and what happens to them, as lines."""
    lines = [*plan.settings(), *map(str, plan.clients), *map(str, plan.feeds)]
    return lines + [f"{number}. {step}" for number, step in enumerate(plan.steps, 1)]


def dialogue(history: History, only: Iterable[int] | None = None, until: float = inf) -> list[str]:
    """The records as lines; of two in a row that are the same, one.

    Args:
        only: the numbers of the connections that matter; None for all. What happens to the log and the servers is
            always told.
        until: what came later is not told.
    """
    wanted = None if only is None else set(only)
    asked = {record.conn: record.client for record in history.records if isinstance(record, Asked)}
    told = _told_at_once(history)
    lines: list[str] = []
    for record in history.records:
        if id(record) in told or record.at > until or not str(record):
            continue
        who = ""
        if isinstance(record, Talking):
            if wanted is not None and record.conn not in wanted:
                continue
            who = f"{asked[record.conn]}#{record.conn} "
        line = f"{record.at:9.3f}  {who}{record}"
        if line not in lines[-1:]:
            lines.append(line)
    return lines


def _told_at_once(history: History) -> set[int]:
    """What needs no line, for the publish returned at once: that it was asked for, and that the log has it."""
    begun: dict[int, Publishing] = {}
    stored: dict[tuple[str, str], Record] = {}
    told: set[int] = set()
    for record in history.records:
        if isinstance(record, Publishing):
            begun[record.attempt] = record
        elif isinstance(record, Appended):
            stored[record.channel, str(record.cursor)] = record
        elif isinstance(record, Published) and begun[record.attempt].at == record.at:
            asked = begun[record.attempt]
            told.add(id(asked))
            told |= {id(stored.get((asked.channel, cursor))) for cursor in record.cursors}
    return told
