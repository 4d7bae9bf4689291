"""What an operator should know: sentences made of the figures, by the bounds that the documentation tells of alerts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..bounds import MEMORY_NEAR_PART
from .bounds import (
    ADMIN_WINDOW_SECONDS,
    NOTICE_AGE_SECONDS,
    NOTICE_BEHIND_CONNECTIONS,
    NOTICE_BEHIND_PART,
    NOTICE_LAG_SECONDS,
    NOTICE_MEMORY_PART,
    NOTICE_RETENTION_SECONDS,
)
from .figures import Figures, Notice

__all__ = ["STARTING", "notices"]

STARTING: Final = "starting"
"""The key of what passes by itself, and is no news."""

_LOST = ("expired", "epoch", "future")
"""The gaps that no policy has asked for."""


def notices(seen: Figures, recent: dict[str, int], *, starting: bool = False) -> list[Notice]:
    """Return what is wrong, the worst first.

    Args:
        seen: the figures.
        recent: what was counted in the last ten seconds.
        starting: whether not all workers have ever served yet.
    """
    found = [*_workers(seen, starting), *_clients(seen, recent)]
    return sorted(found, key=lambda notice: notice.level != "bad")


def _workers(seen: Figures, starting: bool) -> Iterator[Notice]:
    if seen.serving < seen.wanted:
        text = f"{seen.serving} of {_many(seen.wanted, 'worker')} serve"
        yield Notice(STARTING, "warn", f"{text} so far.") if starting else Notice("serving", "bad", f"{text}.")
    for worker in seen.workers:
        if worker.silent is not None:
            text = f"Worker {worker.number} has not answered for {worker.silent:.0f} s: its figures are that old."
            yield Notice(f"silent {worker.number}", "bad", text)
        part = worker.held / max(1, worker.ceiling)
        if part >= NOTICE_MEMORY_PART:
            full = part >= MEMORY_NEAR_PART
            text = f"Worker {worker.number} holds {part:.0%} of its memory ceiling{': nobody new is let in' * full}."
            yield Notice(f"memory {worker.number}", "bad" if full else "warn", text)
    if seen.away:
        text = f"The log ({seen.log}) is away: nothing can be published, and clients may miss what others publish."
        yield Notice("log", "bad", text)
    elif seen.lag.seconds > NOTICE_LAG_SECONDS:
        text = f"The log is {seen.lag.seconds:.0f} s ahead of what clients have: it is not they who are slow."
        yield Notice("lag", "bad", text)
    if any(worker.draining for worker in seen.workers):
        yield Notice("draining", "warn", "A worker drains: its clients are told to come back.")


def _clients(seen: Figures, recent: dict[str, int]) -> Iterator[Notice]:
    slowest, connections = seen.slowest, sum(seen.open.values())
    if slowest.until_retention is not None and slowest.until_retention < NOTICE_RETENTION_SECONDS:
        who = f"connection {slowest.connection} of worker {slowest.worker}"
        text = f"Retention passes {who} in {slowest.until_retention:.0f} s: it will be told of a gap."
        yield Notice("retention", "bad", text)
    if recent.get("crashes"):
        yield Notice(
            "crashes", "bad", f"A bug ended {_many(recent['crashes'], 'connection')}: the server's log says where."
        )
    if seen.behind > connections * NOTICE_BEHIND_PART + NOTICE_BEHIND_CONNECTIONS:
        yield Notice("behind", "warn", f"{seen.behind:,} of {_many(connections, 'connection')} are behind.")
    if seen.written.most is not None and seen.written.most > NOTICE_AGE_SECONDS:
        text = f"Events leave late: 1 in 100 is older than {seen.written.most:.1f} s when it is written."
        yield Notice("late", "warn", text)
    if recent.get("refused"):
        text = (
            f"{_many(recent['refused'], 'connection')} refused in the last {ADMIN_WINDOW_SECONDS} s, for want of room."
        )
        yield Notice("refused", "warn", text)
    lost = sum(recent.get(f"gap:{reason}", 0) for reason in _LOST)
    if lost:
        yield Notice("gaps", "warn", f"Clients were told of {_many(lost, 'gap')} in the last {ADMIN_WINDOW_SECONDS} s.")


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
