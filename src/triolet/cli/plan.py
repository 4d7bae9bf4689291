"""``triolet plan``: how many servers so many clients need, what each carries, and what to set on it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import msgspec

from ..plan import FIGURES, TRANSPORTS, Load, Plan, Question, work_out
from .until_signal import nobody_reads

__all__ = ["add_plan_arguments", "plan"]

SUFFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no number, as 1.5") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no whole number, as 1000") from None


def _bytes(text: str) -> float:
    form = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]?)i?B?", text)
    if form is None:
        raise argparse.ArgumentTypeError(f"{text!r:.40}: bytes, as 16G or 512M")
    return float(form[1]) * SUFFIXES[form[2]]


OPTIONS = (
    ("rate", _number, "N", "events a second that each client gets"),
    ("event_bytes", _whole, "BYTES", "of an event on the wire"),
    ("header_bytes", _whole, "BYTES", "of a poll's request and answer"),
    ("beat_bytes", _whole, "BYTES", "of a beat"),
    ("heartbeat", _number, "SECONDS", "between two beats: limits.beat_seconds"),
    ("wait", _number, "SECONDS", "that a long poll is held: limits.wait_seconds"),
    ("poll", _number, "SECONDS", "between two short polls: limits.poll_seconds"),
    ("memory", _bytes, "BYTES", "of one server, as 8G"),
    ("cores", _whole, "N", "of one server, with a worker on each"),
    ("used", _number, "PART", "of memory and cores that is for clients"),
    ("a_server", _whole, "N", "clients that one server holds, if you know it"),
    ("lost", _whole, "N", "servers that may be away at the same time"),
    ("room", _number, "PART", "of a server that stays free then"),
    ("spread", _number, "SECONDS", "over which clients come back"),
    ("leaves", _number, "N", "clients that a draining worker asks to leave a second: limits.leaves_per_second"),
    ("proxies", _whole, "N", "addresses from which proxies connect; 0: clients connect by themselves"),
    ("addresses", _whole, "N", "pairs of address and port at which a server is connected to"),
)
"""Fields of :class:`~triolet.plan.Question`, each with its type and what it is."""


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``triolet plan`` understands."""
    parser.add_argument("--clients", type=_whole, required=True, metavar="N", help="at the same time")
    parser.add_argument("--transport", choices=TRANSPORTS, default=TRANSPORTS[0], help="of the clients (websocket)")
    defaults = msgspec.structs.asdict(Question(clients=1))
    for name, kind, metavar, told in OPTIONS:
        default = defaults[name]
        shown = "what its memory and its cores hold" if default is None else f"{_short(default)}"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=default,
            metavar=metavar,
            help=f"{told} ({shown})",
        )
    parser.add_argument("--json", action="store_true", help="say it as one line of JSON")


def plan(options: argparse.Namespace) -> int:
    """Work it out and say it. Returns the exit code.

    Raises:
        ConfigError: a number that can be none.
    """
    made = work_out(Question(**{name: getattr(options, name) for name in Question.__struct_fields__}))
    try:
        for line in [_json(made)] if options.json else _lines(made):
            print(line, flush=True)  # noqa: T201 - a command speaks on its terminal
    except BrokenPipeError:
        nobody_reads()
    return 0


def _json(made: Plan) -> str:
    figures = {name: figure._asdict() for name, figure in FIGURES.items()}
    return msgspec.json.encode({**msgspec.structs.asdict(made), "figures": figures}).decode()


def _lines(made: Plan) -> Iterator[str]:
    asked, one = made.question, made.one
    yield f"{asked.clients:,} clients over {asked.transport}"
    yield f"  a server holds    {made.capacity:,} ({made.bound})"
    yield f"  servers           {made.servers}: {made.each:,} clients each, {one.clients:,} with {asked.lost} away"
    then = "nobody would be left" if made.each_then is None else f"{made.each_then:,} each"
    yield f"                    {made.least} would hold them; with {asked.lost} away, {then}"
    yield f"                    {made.tight} would be tight: no room with {asked.lost} away"
    yield f"all of it           {_rates(made.whole)}"
    yield f"one server, with {asked.lost} away"
    yield f"  memory            {_short(one.memory + made.base_memory)}B, and the kernel's {_short(one.kernel_memory)}B"
    yield f"  CPU               {one.cores:.2g} cores of {asked.cores}"
    yield f"  a second          {_rates(one)}"
    yield f"  descriptors       {made.descriptors:,} a worker"
    if made.ports:
        yield f"  source ports      {made.ports:,} from one address to one address"
    yield "the loss of one server, or its restart"
    back = f"{made.returning:,.0f} clients a second"
    yield f"  comes back        {back} to each of the others, {made.returning_cores:.2g} cores"
    yield f"  leaves            in {made.drain:.1f} s: triolet serve --grace {made.grace}"
    if made.warnings:
        yield "does not fit"
    yield from (f"  {sentence}" for sentence in made.warnings)
    if made.settings:
        yield "to set"
    for setting in made.settings:
        yield f"  {setting.where:<7} {setting.command}"
        yield f"          {setting.why}"
    yield "assumed"
    yield from (f"  {sentence}" for sentence in made.assumes)
    yield "measured (docs: Benchmarks)"
    yield from (f"  {figure.value:g} {figure.unit}: {figure.what}" for figure in FIGURES.values())


def _rates(load: Load) -> str:
    told = [f"{load.beats:,.0f} beats"] if load.beats else []
    told += [f"{load.polls:,.0f} polls"] if load.polls else []
    return ", ".join([*told, f"{_short(load.bytes)}B sent, {_short(8 * load.bytes)}bit"])


def _short(number: float) -> str:
    """A number in a few letters: 1.3 G."""
    for suffix, size in reversed(SUFFIXES.items()):
        if number >= size and suffix:
            return f"{number / size:.3g} {suffix}"
    return f"{number:g}"
