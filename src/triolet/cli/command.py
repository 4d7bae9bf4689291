"""The command line, and the one boundary at which everything that cannot work becomes a sentence."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final, TypeAlias

from ..errors import TrioletError
from ..workers.control import SAID
from ..workers.logs import escaped
from ..workers.signals import EndedEarly, Signals
from .app import AppError
from .explain import add_explain_arguments, explain
from .follow import add_follow_arguments, follow
from .options import add_arguments
from .plan import add_plan_arguments, plan
from .probe import add_probe_arguments, probe
from .publish import add_publish_arguments, publish
from .serve import serve

__all__ = ["main"]

Run: TypeAlias = Callable[[argparse.Namespace, Signals], int]


def _plan(options: argparse.Namespace, _: Signals) -> int:
    return plan(options)  # it waits for nothing that a signal would have to end


COMMANDS: Final[dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Run | None]]] = {
    "serve": ("serve an app", add_arguments, None),
    "follow": ("print a channel's events", add_follow_arguments, follow),
    "publish": ("append events to a channel", add_publish_arguments, publish),
    "probe": ("look at the proxies between here and a channel", add_probe_arguments, probe),
    "plan": ("work out how many servers so many clients need, and with which settings", add_plan_arguments, _plan),
    "explain": ("say why a connection is slow, gapped or closed", add_explain_arguments, explain),
}
"""What each is for, what it understands, and what it does; ``serve`` needs the command line as it was written, too."""


_CURSOR: Final = re.compile(r"-[-\w]*\.[0-9]+", re.ASCII)
_SILENCE: Final = logging.NullHandler()
"""A command that is no server says what is wrong in its one sentence, and not in a log before it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0, or 1 where something cannot work (of a worker's process ``SAID``, for
    its supervisor); a wrong command line ends it with 2.

    What is wrong is said in one sentence. Only an error of the app's own has a traceback, its own, once.
    """
    parser = argparse.ArgumentParser(prog="triolet", description="Live updates on Trio.")
    parser.add_argument("--version", action="version", version=f"triolet {version('triolet')}")
    commands = parser.add_subparsers(dest="command", required=True)
    parsers = {}
    for name, (about, declare, _) in COMMANDS.items():
        parsers[name] = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        declare(parsers[name])
    written = _with_cursors(sys.argv[1:] if arguments is None else list(arguments))
    if none := [argument for argument in written if argument.startswith("--") and argument.endswith("=--")]:
        parser.error(f"{none[0]}: -- is no value")  # of which argparse makes a list
    options, unknown = parser.parse_known_args(written)
    if unknown:
        parsers[options.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    run = COMMANDS[options.command][2]
    if run is not None:
        logging.getLogger().addHandler(_SILENCE)
    with Signals() as signals:
        try:
            return serve(options, written, signals) if run is None else run(options, signals)
        except EndedEarly:
            return 0
        except AppError as error:
            _say(error.traceback.rstrip("\n"))
        except TrioletError as error:
            _say(f"triolet: {escaped(str(error))}")
    return 1 if getattr(options, "control", None) is None else SAID


def _with_cursors(written: Sequence[str]) -> list[str]:
    """Write a cursor that begins with a minus, as epochs of older logs may, as argparse takes it: ``--after=-x.3``."""
    joined: list[str] = []
    for argument in written:
        if joined and joined[-1] == "--after" and _CURSOR.fullmatch(argument):
            joined[-1] = f"--after={argument}"
        else:
            joined.append(argument)
    return joined


def _say(text: str) -> None:
    """Say it on the terminal, if somebody is there to hear it."""
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command speaks on its terminal
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - or the interpreter complains at its end
