"""``triolet probe``: looks at the way to a channel as a client meets it, and says what to change in which proxy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import ConfigError, printable, printable_json
from ..limits import Limits
from ..transports.origins import check_origins
from ..workers.signals import Signals
from .asking import add_credentials, base_of, headers_of, token_of
from .until_signal import until_signal

if TYPE_CHECKING:
    from ..probe import Finding, Report

__all__ = ["add_probe_arguments", "probe", "probe_to"]


def add_probe_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``triolet probe`` understands."""
    usual = Limits()
    parser.add_argument(
        "url", type=_url, help="of a channel, best a quiet one, as https://shop.example/orders/A123/events"
    )
    parser.add_argument(
        "--silence",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help=f"listen for so long, which is about how long it takes; beats come every {usual.beat_seconds:g} seconds, "
        f"and a poll is held for {usual.wait_seconds:g} (%(default)g)",
    )
    parser.add_argument(
        "--origin",
        type=_origin,
        metavar="ORIGIN",
        help="ask as a page of this other origin, as https://shop.example (none)",
    )
    parser.add_argument(
        "--proxy",
        choices=["nginx", "haproxy", "caddy", "apache", "aws", "google", "cloudflare", "all"],
        help="whose lines to show (those of the proxy that answers name; where they name none, all)",
    )
    parser.add_argument("--json", action="store_true", help="say it as one line of JSON")
    add_credentials(parser)


def _url(text: str) -> str:
    try:
        base_of(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _origin(text: str) -> str:
    try:
        (origin,) = check_origins([text])
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if "*" in origin:
        raise argparse.ArgumentTypeError("one origin, and no pattern")
    return origin


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= 600:
        raise argparse.ArgumentTypeError("must be 1 to 600 seconds")
    return seconds


def probe(options: argparse.Namespace, signals: Signals) -> int:
    """Look, and say what was found. Returns the exit code: 0 if nothing is broken, else 1.

    Raises:
        ConfigError: an option that cannot work, or the extra ``client`` is not installed.
        ClientError: no channel is there.
    """

    def say(line: str) -> None:
        print(line, flush=True)  # noqa: T201 - a command speaks on its terminal

    def begun() -> None:
        if not options.json:
            print(f"triolet: listens for {options.silence:g} s", file=sys.stderr, flush=True)  # noqa: T201 - likewise

    return until_signal(signals, lambda: probe_to(say, options, begun=begun), unfinished=1)


async def probe_to(say: Callable[[str], object], options: argparse.Namespace, **more: Any) -> int:
    """Look, and say what was found, line by line.

    Args:
        say: takes a line.
        options: what :func:`add_probe_arguments` has declared.
        more: further options of :func:`triolet.probe.probe_url`.

    Returns:
        The exit code.

    Raises:
        TrioletError: as :func:`probe`.
    """
    try:
        from ..probe import probe_url
    except ModuleNotFoundError as error:
        raise ConfigError(f"triolet probe needs {error.name}: pip install 'triolet[client]'") from None
    report = await probe_url(
        options.url,
        base=base_of(options.url),
        token=token_of(options),
        headers=headers_of(options),
        seconds=options.silence,
        page=options.origin,
        **more,
    )
    for line in [_json(report)] if options.json else _lines(report, options.proxy):
        say(line)
    return 0 if report.ok else 1


def _json(report: Report) -> str:
    from ..probe import CURES

    cures = {fault: CURES[fault] for fault in report.faults if fault in CURES}
    told = {"ok": report.ok, **msgspec.structs.asdict(report), "faults": report.faults, "cures": cures}
    return printable_json(msgspec.json.encode(told).decode())


def _lines(report: Report, proxy: str | None) -> Iterator[str]:
    through = "" if report.proxy is None else f", through {report.proxy}"
    yield f"{printable(report.url)}, in {report.seconds:g} s{through}"
    width = max(len(finding.check) for finding in report.findings)
    for finding in report.findings:
        yield f"  {finding.state:<7}  {finding.check:<{width}}  {printable(finding.says, 400)}"
        yield from _cure(finding, proxy or report.proxy or "all")
    working = ", ".join(name for name, works in report.transports.items() if works)
    yield f"clients would choose {report.chosen}; what works: {working}"


def _cure(finding: Finding, proxy: str) -> Iterator[str]:
    from ..probe import CURES

    cures = {} if finding.fault is None else CURES.get(finding.fault, {})
    for name, cure in cures.items():
        if proxy not in (name, "all"):
            continue
        yield from (f"             {name}: write   {line}" for line in cure.write)
        yield from (f"             {name}: remove  {line}" for line in cure.remove)
        if cure.note:
            yield f"             {name}: {cure.note}"
