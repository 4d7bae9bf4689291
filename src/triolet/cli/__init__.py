"""The command ``triolet``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import TrioletError
from . import serve

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0, or 1 where something cannot work, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="triolet", description="Live updates on Trio.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve.add_arguments(commands.add_parser("serve", help="serve an app", description="Serve an app."))
    written = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(written)
    try:
        return serve.run(options, written)
    except TrioletError as error:
        print(f"triolet: {error}", file=sys.stderr)  # noqa: T201 - a command speaks on its terminal
        return 1
