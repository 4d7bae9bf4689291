"""``triolet publish``: appends events to a channel, straight to the log or by an operator's listener."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO, Final

import msgspec

from ..app.publishing import check_drafts, publishable
from ..app.sync_publisher import SyncPublisher
from ..errors import DataError, LogUncertain, printable
from ..event import FOLDS, Draft
from ..limits import MOST_INTEGER, Limits
from ..workers.signals import EndedEarly, Signals
from .operator import ask, key_of, read_answer

__all__ = ["add_publish_arguments", "publish"]

KEEPS: Final = Limits(keep_events=MOST_INTEGER, keep_seconds=math.inf, keep_bytes=MOST_INTEGER)
"""Whoever appends drops what is too much. How much that is, the app knows and this command does not: so it drops
nothing, and the app does when it appends next."""


class _Stored(msgspec.Struct):
    cursor: str


class _Published(msgspec.Struct):
    events: list[_Stored]


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``triolet publish`` understands."""
    parser.add_argument("channel", help="where to, as orders/A123")
    parser.add_argument(
        "data",
        metavar="JSON",
        help="any JSON value; - reads lines of them from standard input, and publishes all or none",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--log",
        metavar="URL",
        help="the app's log: sqlite:///events.db, redis://localhost/0. No event is dropped for a new one: the app does "
        "that, as its limits say, when it appends to the channel",
    )
    where.add_argument("--url", help="an operator's listener (serve --admin), as http://127.0.0.1:9100")
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        help="the operator's key for --url, on the file's first line (the environment's TRIOLET_ADMIN_KEY)",
    )
    parser.add_argument(
        "--type", "--name", dest="name", default="message", help="what kind of event it is (%(default)s)"
    )
    parser.add_argument("--key", help="what it is about: of several with one key, the last says all")
    parser.add_argument(
        "--dedupe",
        metavar="TEXT",
        help="names the event, so that a repeat of the command publishes nothing; of lines, each is TEXT:1, TEXT:2, …",
    )
    parser.add_argument("--fold", choices=FOLDS, help="how it goes together with the one of the same key before it")


def publish(options: argparse.Namespace, signals: Signals) -> int:
    """Publish, and print the cursor of each event, one a line. Returns the exit code.

    Raises:
        ConfigError: an option that cannot work; or the listener refuses.
        DataError, ChannelNameError, ChannelEnded: it cannot be published; of lines the message names the one.
        LogError: the log is away or locked; nothing was stored.
        LogUncertain: it went away, or the command was ended meanwhile; it may be stored.
    """
    sent = False
    try:
        with signals.ending_at_once():
            publishable(options.channel)
            lines = dict(_drafts(options, sys.stdin.buffer))
            sent = True
            cursors = _by_listener(options, lines) if options.log is None else _to_log(options, lines)
    except EndedEarly:
        if not sent:
            return 1
        raise LogUncertain(
            "ended before it was answered: this may be published. A repeat with the same --dedupe is safe"
        ) from None
    sys.stdout.write("".join([f"{cursor}\n" for cursor in cursors]))
    return 0


def _to_log(options: argparse.Namespace, lines: dict[int, Draft]) -> list[str]:
    with closing(SyncPublisher(options.log, limits=KEEPS)) as publisher:  # which opens it when all has been checked
        return [str(event.cursor) for event in publisher.publish_many(options.channel, list(lines.values()))]


def _by_listener(options: argparse.Namespace, lines: dict[int, Draft]) -> list[str]:
    if not lines:
        return []
    # With the empty ones: the listener names the line of what it does not take.
    drafts = [lines.get(number) for number in range(1, max(lines) + 1)]
    body = b"\n".join([b"" if draft is None else _line(options.channel, draft) for draft in drafts])
    kind = "application/x-ndjson" if options.data == "-" else "application/json"
    said = ask(options.url, "/publish", key_of(options), body, kind)
    return [printable(event.cursor) for event in read_answer(options.url, said, _Published).events]


def _line(channel: str, draft: Draft) -> bytes:
    """An event as the listener takes it."""
    said = {"name": draft.name, "key": draft.key, "dedupe": draft.dedupe, "fold": draft.fold}
    more = {name: value for name, value in said.items() if value is not None}
    return msgspec.json.encode({"channel": channel, "data": msgspec.Raw(draft.json), **more})


def _drafts(options: argparse.Namespace, lines: BinaryIO) -> Iterator[tuple[int, Draft]]:
    """The events, each with the number of its line."""
    if options.data != "-":
        yield 1, _draft(options, options.data.encode("utf-8", "surrogateescape"), options.dedupe)
        return
    size = 0
    for number, line in enumerate(iter(lambda: lines.readline(KEEPS.body_bytes + 1), b""), 1):
        size += len(line)
        if size > KEEPS.body_bytes:
            raise DataError(f"more than {KEEPS.body_bytes} bytes are not published at once. Nothing is published")
        if not line.strip():
            continue
        try:
            yield number, _draft(options, line, options.dedupe and f"{options.dedupe}:{number}")
        except DataError as error:
            raise DataError(f"line {number}: {error}. Nothing is published") from None


def _draft(options: argparse.Namespace, text: bytes, dedupe: str | None) -> Draft:
    try:
        data = msgspec.json.decode(text, type=msgspec.Raw)  # what stands twice in it is seen, and numbers stay
    except (msgspec.DecodeError, RecursionError) as error:
        written = text.decode(errors="replace").strip()
        raise DataError(f"{written!r:.80} is no JSON ({error}); a text has quotes around it") from None
    draft = Draft.of(data, name=options.name, key=options.key, dedupe=dedupe, fold=options.fold)
    if options.log is not None:  # the listener knows the app's own limits
        check_drafts([draft], KEEPS)
    return draft
