"""One answer out of those of all workers, for each operation that all are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ..bounds import ADMIN_LISTED
from .bodies import Connections, ConnectionSeen, Explanations, Revoked
from .contract import JSON, Answer, Question, Staff, not_now
from .merge_metrics import merge

__all__ = ["ask_connections", "ask_explain", "ask_metrics", "ask_one", "ask_revoke", "encoded", "furthest_first"]

Body = TypeVar("Body")


async def ask_one(staff: Staff, question: Question) -> Answer:
    """Pass on what one worker answers: the log knows the same for all."""
    return await staff.ask_one(question)


async def ask_metrics(staff: Staff, question: Question) -> Answer:
    """Merge the metrics of all; of one that is by itself they are as they are."""
    found = await staff.ask_all(question)
    figures = staff.figures
    if figures is None:
        return next(iter(found.values())) or _nobody(found)
    kind, text = merge(
        {number: answer.body for number, answer in found.items() if answer is not None and answer.status == 200},
        figures,
        {number: answer is not None for number, answer in found.items()},
    )
    return Answer(200, text, kind)


async def ask_connections(staff: Staff, question: Question) -> Answer:
    """Put the furthest of all together."""
    found = await staff.ask_all(question)
    told = _told(found, Connections)
    if not told:
        return _nobody(found)
    connections = []
    for number, one in told.items():
        for seen in one.connections:
            seen.worker = number
            connections.append(seen)
    connections.sort(key=furthest_first)
    limit = int(question.values.get("limit", ADMIN_LISTED // 10))
    total = sum(one.total for one in told.values())
    return encoded(Connections(total, connections[:limit], _silent(found)))


async def ask_explain(staff: Staff, question: Question) -> Answer:
    """Put together what each says of its connection of that number."""
    found = await staff.ask_all(question)
    explained = []
    for number, one in _told(found, Explanations).items():
        for explanation in one.explanations:
            explanation.worker = explanation.connection.worker = number
            explained.append(explanation)
    return encoded(Explanations(explained, _silent(found))) if explained else _nobody(found)


async def ask_revoke(staff: Staff, question: Question) -> Answer:
    """Have one worker tell all processes of the log, and then all workers here, who need not wait to hear of it."""
    first = await staff.ask_one(question)
    if first.status != 200:
        return first
    found = await staff.ask_all(msgspec.structs.replace(question, operation="revoke_here"))
    told = msgspec.json.decode(first.body, type=Revoked).told
    return encoded(Revoked(told, sorted(_told(found, Revoked)), _silent(found)))


def furthest_first(seen: ConnectionSeen) -> tuple[float, int, int]:
    """The order of connections: by how many events they are behind, and the oldest of those that are not."""
    return -max([one.events_behind for one in seen.channels], default=0), seen.id, seen.worker


def encoded(body: Any) -> Answer:
    """Return a body as an answer."""
    return Answer(200, msgspec.json.encode(body) + b"\n", JSON)


def _told(found: Mapping[int, Answer | None], form: type[Body]) -> dict[int, Body]:
    good = {number: answer for number, answer in found.items() if answer is not None and answer.status == 200}
    return {number: msgspec.json.decode(answer.body, type=form) for number, answer in good.items()}


def _silent(found: Mapping[int, Answer | None]) -> list[int]:
    return sorted(number for number, answer in found.items() if answer is None)


def _nobody(found: Mapping[int, Answer | None]) -> Answer:
    """What is answered where nobody knows: that some are silent, who may; else what the others say."""
    silent = _silent(found)
    if silent:
        who = "worker" if len(silent) == 1 else "workers"
        return not_now("silent", f"no answer in time from {who} {', '.join(map(str, silent))}, and no other one knows")
    said = [answer for answer in found.values() if answer is not None]
    return said[0] if said else not_now("silent", "no worker serves now")
