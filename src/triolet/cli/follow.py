"""``triolet follow``: prints what a channel gives, a line of JSON for each item."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import ConfigError, printable, printable_json
from ..event import Event, Gap
from ..workers.signals import Signals
from .asking import add_credentials, base_of, headers_of, token_of
from .until_signal import until_signal

if TYPE_CHECKING:
    from ..client import Events, Item

__all__ = ["add_follow_arguments", "follow", "follow_to"]


def add_follow_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``triolet follow`` understands."""
    parser.add_argument("url", help="of the channel, as https://shop.example/orders/A123/events")
    parser.add_argument(
        "--after", metavar="CURSOR", help="go on after it; 0 is the oldest event that is kept (from now on)"
    )
    add_credentials(parser)
    parser.add_argument(
        "--transport",
        action="append",
        metavar="NAME",
        help="websocket, sse, long-poll or poll; several are tried in this order (all, in this order)",
    )
    parser.add_argument(
        "--store", metavar="FILE", help="keep the cursor there, and go on from it next time; it comes before --after"
    )
    parser.add_argument(
        "--snapshot", action="store_true", help="ask for the channel's state, and then what happens to it"
    )
    parser.add_argument(
        "--fold", action="store_true", help="ask for what was missed, with events that go together as one"
    )
    parser.add_argument("--count", type=_count, metavar="N", help="end after so many events (never)")
    parser.add_argument("--verbose", action="store_true", help="say on standard error how the connection is")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)


def follow(options: argparse.Namespace, signals: Signals) -> int:
    """Follow until a signal comes, the server is done, or nobody reads any more. Returns the exit code.

    Raises:
        ConfigError: an option that cannot work, or the extra ``client`` is not installed.
        ClientError: the channel will not come.
    """

    def write(line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    async def to_the_end() -> int:
        await follow_to(write, options)
        return 0

    return until_signal(signals, to_the_end)


async def follow_to(write: Callable[[bytes], object], options: argparse.Namespace, **more: Any) -> None:
    """Follow, and give each item as a line. An item counts as done with when its line is written.

    Args:
        write: takes a line.
        options: what :func:`add_follow_arguments` has declared.
        more: further options of :func:`triolet.client.open_client`.

    Raises:
        TrioletError: as :func:`follow`.
    """
    left = options.count
    async with _events(options, more) as events:
        async for item in events:
            write(printable_json(msgspec.json.encode(_line(item)).decode()).encode() + b"\n")
            if left is not None and isinstance(item, Event):
                left -= 1
            if left == 0:
                if options.store is not None:
                    await events.commit()
                return


@asynccontextmanager
async def _events(options: argparse.Namespace, more: dict[str, Any]) -> AsyncIterator[Events]:
    try:
        from ..client import FileStore, open_client
    except ModuleNotFoundError as error:
        raise ConfigError(f"triolet follow needs {error.name}: pip install 'triolet[client]'") from None
    base = base_of(options.url)
    chosen: dict[str, Any] = {} if options.transport is None else {"transports": options.transport}
    if options.store is not None:
        chosen["store"] = FileStore(options.store)
    opened = open_client(base, token=token_of(options), headers=headers_of(options), **chosen, **more)

    def tell(events: Events) -> None:
        reason = "" if events.reason is None else f": {printable(events.reason)}"
        print(f"triolet: {events.state}{reason}", file=sys.stderr, flush=True)  # noqa: T201 - it speaks on its terminal

    async with (
        opened as live,
        live.follow(
            options.url,
            after=options.after,
            snapshot=options.snapshot,
            fold=options.fold,
            on_state=tell if options.verbose else None,
        ) as events,
    ):
        yield events


def _line(item: Item) -> dict[str, Any]:
    """An item in the shape that it has on the wire."""
    if isinstance(item, Event):
        more = {"key": item.key, "fold": item.fold, "folded": None if item.folded == 1 else item.folded}
        return {
            "type": "event",
            "channel": item.channel,
            "id": str(item.cursor),
            "event": item.name,
            "data": msgspec.Raw(item.json),
            "time": round(item.published_at * 1000),
            **{name: value for name, value in more.items() if value is not None},
        }
    if isinstance(item, Gap):
        return {
            "type": "gap",
            "from": str(item.after),
            "to": str(item.to),
            "missed": item.missed,
            "reason": item.reason,
        }
    # The others are in their own fields what they are on the wire.
    return {"type": type(item).__name__.lower(), **msgspec.structs.asdict(item), "cursor": str(item.cursor)}
