"""``python -m hunt``: plays drawn from seeds, until something breaks a promise or the time is over."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from importlib.util import find_spec
from itertools import count, islice
from math import inf
from multiprocessing import get_context

from triolet.errors import ConfigError, TrioletError

from . import draw, perform, report, smallest
from .performance import Found, play_batch

__all__ = ["add_arguments", "main", "run"]

SEEDS_AT_ONCE = 10
"""Played by a process before it tells what it found."""
DEFAULT_SEEDS = "500"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0, 1 for a finding, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hunt",
        description="Play the server, its clients, faults and restarts from seeds, and check every promise.",
    )
    add_arguments(parser)
    try:
        return run(parser.parse_args(arguments))
    except TrioletError as error:
        print(f"hunt: {error}", file=sys.stderr)  # noqa: T201 - a command speaks on its terminal
        return 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seeds", metavar="N|A-B", help=f"play so many seeds, or those from A to B ({DEFAULT_SEEDS})")
    what.add_argument("--seconds", type=float, metavar="N", help="play on for so long")
    what.add_argument("--seed", type=int, metavar="N", help="play this one, and print its whole dialogue")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="with --seconds: the first seed (0)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="play in so many processes (1)")
    parser.add_argument("--stop", action="store_true", help="stop at the first finding")


def run(options: argparse.Namespace) -> int:
    """Hunt. Returns 1 where something was found, else 0. Of each kind of finding the first is shrunk and told.

    Raises:
        ConfigError: the seeds have no known form; or coredis is not installed, which some of them play with.
    """
    if find_spec("coredis") is None:
        raise ConfigError("the hunt plays on a modelled Redis too and needs coredis: pip install 'triolet[redis]'")
    if options.seed is not None:
        performed = perform(draw(options.seed))
        _say(report(performed, whole=True))
        return 1 if performed.findings else 0
    began_at = time.monotonic()
    until = began_at + options.seconds if options.seconds else inf
    seeds: Iterable[int] = count(options.first) if options.seconds else _seeds(options.seeds or DEFAULT_SEEDS)
    kinds: dict[str, int] = {}
    played = 0
    for number, found in _play(seeds, until, options.processes):
        played += number
        for seed, kind in found:
            kinds[kind] = kinds.get(kind, 0) + 1
            if kinds[kind] == 1:
                _say(report(smallest(perform(draw(seed)))) + "\n")
        if kinds and options.stop:
            break
    told = "".join(f"\n  {times}x {kind}" for kind, times in kinds.items()) or " nothing"
    _say(f"{played} seeds in {time.monotonic() - began_at:.0f} s; found:{told}")
    return 1 if kinds else 0


def _play(seeds: Iterable[int], until: float, processes: int) -> Iterator[Found]:
    """Play seeds, in the order in which they are told, up to a time."""
    if processes == 1:
        for seed in seeds:
            yield play_batch([seed])
            if time.monotonic() > until:
                return
        return
    source = iter(seeds)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running: set[Future[Found]] = set()
        while batch := list(islice(source, SEEDS_AT_ONCE)):
            running.add(pool.submit(play_batch, batch))
            if len(running) > processes:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
            if time.monotonic() > until:
                break
        yield from (future.result() for future in running)


def _seeds(text: str) -> range:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise ConfigError(f"--seeds is a number, or two with a dash between them, not {text!r}")
    return range(int(first), int(last) + 1) if dash else range(int(first))


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)  # noqa: T201 - a command speaks on its terminal


if __name__ == "__main__":
    sys.exit(main())
