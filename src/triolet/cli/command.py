"""The command line, and the one boundary at which everything that cannot work becomes a sentence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from ..errors import TrioletError
from ..workers.logs import escaped
from ..workers.signals import EndedEarly, Signals
from .app import AppError
from .follow import add_follow_arguments, follow
from .options import add_arguments
from .serve import serve

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0, or 1 where something cannot work; a wrong command line ends it
    with 2.

    What is wrong is said in one sentence. Only an error of the app's own has a traceback, its own, once.
    """
    parser = argparse.ArgumentParser(prog="triolet", description="Live updates on Trio.")
    parser.add_argument("--version", action="version", version=f"triolet {version('triolet')}")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve an app", description="Serve an app.")
    add_arguments(serving)
    following = commands.add_parser("follow", help="print a channel's events", description="Print a channel's events.")
    add_follow_arguments(following)
    written = sys.argv[1:] if arguments is None else list(arguments)
    options, unknown = parser.parse_known_args(written)
    if unknown:
        (following if options.command == "follow" else serving).error(f"unrecognized arguments: {' '.join(unknown)}")
    with Signals() as signals:
        try:
            return follow(options, signals) if options.command == "follow" else serve(options, written, signals)
        except EndedEarly:
            return 0
        except AppError as error:
            _say(error.traceback.rstrip("\n"))
        except TrioletError as error:
            _say(f"triolet: {escaped(str(error))}")
    return 1


def _say(text: str) -> None:
    """Say it on the terminal, if somebody is there to hear it."""
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command speaks on its terminal
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - or the interpreter complains at its end
