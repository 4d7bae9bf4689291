"""The command line, from the parsers that read it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from triolet.cli.command import COMMANDS

from .rst import literal, plain

__all__ = ["command_line", "options", "parsers"]

TYPED = re.compile(r'(?<![\w-])--[a-z][a-z0-9-]*|\S+\("\w+"\)')
"""What in a help text is typed: other options, and a call."""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command, by its name."""
    found = {}
    for name, (about, declare, _) in COMMANDS.items():
        found[name] = argparse.ArgumentParser(prog=f"triolet {name}", description=about, add_help=False)
        declare(found[name])
    return found


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return what a command understands; what it says to itself is left out."""
    return [action for action in parser._actions if action.help != argparse.SUPPRESS]


def command_line() -> list[str]:
    """Return a section for each command: what it is for, how it is called, and a line for each option."""
    lines = []
    for name, parser in parsers().items():
        head = f"triolet {name}"
        about = parser.description or ""
        lines += [f".. index:: ! single: {head}", "", head, "-" * len(head), ""]
        lines += [plain(f"{about[0].upper()}{about[1:]}."), "", ".. code-block:: text", ""]
        lines += [f"   {line}" for line in _usage(parser)]
        lines += [""]
        for action in options(parser):
            lines += _described(action)
    return lines


def _usage(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The command in one line: what it needs, and that it has options."""
    needed = [action for action in options(parser) if action.option_strings and action.required]
    either = [group for group in parser._mutually_exclusive_groups if group.required]
    words = [parser.prog, *(_form(action)[0] for action in options(parser) if not action.option_strings)]
    words += [_form(action)[0] for action in needed]
    words += ["(" + " | ".join(_form(action)[0] for action in group._group_actions) + ")" for group in either]
    yield " ".join([*words, "[OPTIONS]"])


def _described(action: argparse.Action) -> list[str]:
    said = (action.help or "") % vars(action)
    told = TYPED.sub(lambda typed: literal(typed[0]), plain(said))
    told = f"{told[0].upper()}{told[1:].rstrip('.')}." if told else ""
    if action.choices and action.metavar is None:
        told += f" One of {', '.join(map(literal, map(str, action.choices)))}."
    if action.choices and f"({action.default})" not in said and action.default is not None:
        told += f" If nothing is said: {literal(str(action.default))}."
    return [", ".join(map(literal, _form(action))), f"   {told.strip()}", ""]


def _form(action: argparse.Action) -> list[str]:
    """How it is written: an argument by its name, an option under each of its names, with what follows it."""
    if not action.option_strings:
        return [str(action.metavar or action.dest)]
    follows = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return [f"{name}{follows}" for name in action.option_strings]
