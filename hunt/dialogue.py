"""A history as a dialogue that a person reads: who said what, when, in virtual seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from .history import (
    Answered,
    Appended,
    Asked,
    Calm,
    Crashed,
    Drained,
    Draining,
    Ended,
    Heard,
    History,
    Kept,
    Left,
    LogWeather,
    Lost,
    Malformed,
    Message,
    Outage,
    Over,
    Published,
    Publishing,
    Record,
    Said,
    Sampled,
    Serving,
    Unpublished,
    Weather,
)
from .plan import Plan

__all__ = ["dialogue", "scene"]


def scene(plan: Plan) -> list[str]:
    """Who is there, and what happens to them, as lines."""
    lines = [*plan.settings(), *map(str, plan.clients)]
    return lines + [f"{number}. {step}" for number, step in enumerate(plan.steps, 1)]


def dialogue(history: History, only: Iterable[int] | None = None, until: float = inf) -> list[str]:
    """The records as lines.

    Args:
        only: the numbers of the connections that matter; None for all. What happens to the log and the servers is
            always told.
        until: what came later is not told.
    """
    wanted = None if only is None else set(only)
    asked = {record.conn: record for record in history.records if isinstance(record, Asked)}
    lines = []
    told = _told_at_once(history)
    for record in history.records:
        if id(record) in told or record.at > until:
            continue
        conn = getattr(record, "conn", None)
        if conn is not None and wanted is not None and conn not in wanted:
            continue
        text = _line(record, asked)
        if text:
            lines.append(f"{record.at:9.3f}  {text}")
    return _folded(lines)


def _told_at_once(history: History) -> set[int]:
    """What needs no line, for the publish returned at once: that it was asked for, and that the log has it."""
    begun: dict[int, Publishing] = {}
    stored: dict[tuple[str, str], Appended] = {}
    told: set[int] = set()
    for record in history.records:
        if isinstance(record, Publishing):
            begun[record.attempt] = record
        elif isinstance(record, Appended):
            stored[record.channel, str(record.cursor)] = record
        elif isinstance(record, Published) and begun[record.attempt].at == record.at:
            asked = begun[record.attempt]
            told.add(id(asked))
            told |= {
                id(stored[asked.channel, cursor]) for cursor in record.cursors if (asked.channel, cursor) in stored
            }
    return told


def _line(record: Record, asked: dict[int, Asked]) -> str:
    conn = getattr(record, "conn", None)
    who = "" if conn is None else f"{asked[conn].client}#{conn}"
    if isinstance(record, Asked):
        return f"{who} {_question(record)}"
    if isinstance(record, Answered):
        return f"{who} <- {record.status}"
    if isinstance(record, Heard):
        return f"{who} <- {_message(record.message)}"
    if isinstance(record, Said):
        return f"{who} -> {_message(record.message)}"
    if isinstance(record, Ended):
        return f"{who} ends ({record.how})"
    if isinstance(record, Malformed):
        return f"{who} <- malformed: {record.what}"
    return _about_servers(record) or _about_the_log(record)


def _question(asked: Asked) -> str:
    where = f" on server {asked.server}" if asked.server else ""
    if asked.channel is None:
        return f"-> a socket{where}"
    after = "from now" if asked.after is None else f"after {asked.after}"
    tag = "" if asked.tag is None else f", if none matches {asked.tag}"
    return f"-> {asked.transport} of {asked.channel}{where}, {after}{tag}"


def _message(message: Message) -> str:
    kind = message["type"]
    if kind == "event":
        return f"event {message['id']}"
    if kind == "gap":
        return f"gap {message['from']} to {message['to']}, {message['reason']}, {message['missed']} missed"
    if kind == "page":
        ids = [event["id"] for event in message["events"]]
        told = f"page {ids[0]} to {ids[-1]}" if ids else "an empty page"
        gap = "" if message["gap"] is None else f"; {_message({**message['gap'], 'type': 'gap'})}"
        return f"{told}, cursor {message['cursor']}, {'live' if message['live'] else 'more'}{gap}"
    fields = [
        f"{name}={_short(value)}" for name, value in message.items() if name not in ("type", "time", "url", "last_id")
    ]
    return " ".join([kind, *fields])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:30]}… ({len(text)})"


def _about_servers(record: Record) -> str:
    if isinstance(record, Serving):
        return f"server {record.server} is up"
    if isinstance(record, Draining):
        return f"server {record.server} drains, within {record.grace:g} s"
    if isinstance(record, Drained):
        return f"server {record.server} has ended"
    if isinstance(record, Crashed):
        return f"server {record.server}: {record.what}"
    if isinstance(record, Left):
        return f"server {record.server}: {record.count:g} {record.what} left"
    if isinstance(record, Weather):
        return f"{record.client or 'everybody'}: {record.what}, until {record.until:.3f}"
    if isinstance(record, Calm):
        return "the weather is good from here on"
    if isinstance(record, Over):
        behind = "; ".join(
            f"{who} is at {cursor} of {channel}, not at {head}" for who, channel, cursor, head in record.behind
        )
        return f"over: {behind or 'everybody has caught up'}"
    return ""


def _about_the_log(record: Record) -> str:
    if isinstance(record, Appended):
        key = "" if record.key is None else f" {record.key}"
        return f"the log has {record.channel} {record.cursor}: number {record.number}{key}, {record.size} bytes"
    if isinstance(record, Lost):
        after = f", after {record.parent}, with {dict(record.kept)}" if record.parent else ""
        return f"the log begins, epoch {record.epoch}{after}"
    if isinstance(record, Outage):
        return f"the log is out of reach until {record.until:.3f}"
    if isinstance(record, LogWeather):
        return f"the log: {record.what}, until {record.until:.3f}"
    if isinstance(record, Publishing):
        return f"publish {record.attempt} to {record.channel} on server {record.server}: {_numbers(record.numbers)}"
    if isinstance(record, Published):
        first, last = record.cursors[0], record.cursors[-1]
        return f"publish {record.attempt} returns {first if first == last else f'{first} to {last}'}"
    if isinstance(record, Unpublished):
        return f"publish {record.attempt} fails: {record.why}"
    if isinstance(record, Kept):
        return f"the log keeps {len(record.events)} events of {record.channel}, epoch {record.epoch}"
    assert isinstance(record, Sampled)
    return ""


def _numbers(numbers: Sequence[int]) -> str:
    return f"number {numbers[0]}" if len(numbers) == 1 else f"numbers {numbers[0]} to {numbers[-1]}"


def _folded(lines: list[str]) -> list[str]:
    """Leave out lines that stand there twice in a row."""
    return [line for before, line in zip(["", *lines], lines, strict=False) if line != before]
