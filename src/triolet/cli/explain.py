"""``triolet explain``: asks an operator's listener why a connection is slow, gapped or closed."""

from __future__ import annotations

import argparse
import sys

import msgspec

from ..errors import printable_json
from ..workers.logs import escaped
from ..workers.signals import Signals
from .operator import ask, key_of, read_answer

__all__ = ["add_explain_arguments", "explain"]


class _Explained(msgspec.Struct):
    worker: int
    sentences: list[str]


class _Explanations(msgspec.Struct):
    explanations: list[_Explained]
    silent: list[int] = []


def add_explain_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``triolet explain`` understands."""
    parser.add_argument("id", type=_number, metavar="ID", help="the connection's number, as in the server's log")
    parser.add_argument(
        "--url", required=True, help="the operator's listener (serve --admin), as http://127.0.0.1:9100"
    )
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        help="the operator's key, on the file's first line (the environment's TRIOLET_ADMIN_KEY)",
    )
    parser.add_argument("--json", action="store_true", help="print what the listener answers, for programs")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise argparse.ArgumentTypeError("must be a connection's number")
    return int(text)


def explain(options: argparse.Namespace, signals: Signals) -> int:
    """Ask, and print the answer. Returns the exit code.

    Raises:
        ConfigError: an option that cannot work, or the listener refuses: there is no such connection, say.
    """
    with signals.ending_at_once():
        said = ask(options.url, f"/explain/{options.id}", key_of(options))
    found = read_answer(options.url, said, _Explanations)
    told = printable_json(said.decode().rstrip("\n")) + "\n" if options.json else _for_people(found)
    sys.stdout.write(told)
    return 0


def _for_people(found: _Explanations) -> str:
    lines: list[str] = []
    for one in found.explanations:
        if len(found.explanations) > 1:  # each worker counts its own connections
            lines.append(f"Worker {one.worker}:")
        lines += map(escaped, one.sentences)
    lines += [f"Worker {number} has not answered in time." for number in found.silent]
    return "".join([f"{line}\n" for line in lines])
