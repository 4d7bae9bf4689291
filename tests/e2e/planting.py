"""Plants a bug: Triolet's source with one patch of ``bugs/`` applied, to the letter."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUGS", "SOURCE", "Bug", "StalePatchError", "plant", "read_bug"]

SOURCE = Path(__file__).parents[2] / "src" / "triolet"
BUGS = sorted((Path(__file__).parent / "bugs").glob("*.patch"))

HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@.*")


class StalePatchError(Exception):
    """A patch does not fit the source any more: plant its bug anew, where that code is now."""


@dataclass(frozen=True)
class Bug:
    """``said`` is what is wrong, and what a user would see; ``finds`` are the kinds of findings that would tell so;
    ``seed`` is where the hunt has found it (0: nobody has said so); ``hunks`` are file, old text and new text."""

    name: str
    said: str
    finds: frozenset[str]
    seed: int
    hunks: tuple[tuple[str, str, str], ...]


def read_bug(path: Path) -> Bug:
    """Read a patch: the bug in a line, ``Finds:`` and kinds in a second, ``Seed:`` and a number in a third (which may
    be left out), and a unified diff from ``a/src/triolet``."""
    said, finds, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if not finds.startswith("Finds: "):
        raise StalePatchError(f"{path.name}: the second line is no `Finds: kind, kind`")
    kinds = finds.removeprefix("Finds: ").strip().split(", ")
    seed = int(lines[0].removeprefix("Seed: ")) if lines[0].startswith("Seed: ") else 0
    hunks: list[tuple[str, str, str]] = []
    file = ""
    for line in lines:
        if line.startswith("+++ b/src/triolet/"):
            file = line.removeprefix("+++ b/src/triolet/").strip()
        elif HUNK.fullmatch(line.rstrip("\n")):
            hunks.append((file, "", ""))
        elif hunks and line[0] in " +-" and not line.startswith("--- a/"):
            _, old, new = hunks[-1]
            hunks[-1] = file, old + line[1:] * (line[0] != "+"), new + line[1:] * (line[0] != "-")
    return Bug(path.stem, said.strip(), frozenset(kinds), seed, tuple(hunks))


def plant(bug: Bug, folder: Path) -> None:
    """Put Triolet with the bug into a folder, as ``folder/triolet``: a copy of what the patch changes, and links to all
    the rest, with what is compiled already.

    Raises:
        StalePatchError: what the patch changes is not there, or not in one place alone.
    """
    if not bug.hunks:
        raise StalePatchError(f"{bug.name}: nothing in it is a hunk")
    copy = folder / "triolet"
    _copy(SOURCE, copy, {SOURCE / file for file, _, _ in bug.hunks})
    for file, old, new in bug.hunks:
        text = (copy / file).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise StalePatchError(f"{bug.name}: in {file} this stands {text.count(old)} times:\n{old}")
        (copy / file).write_text(text.replace(old, new), encoding="utf-8")


def _copy(source: Path, copy: Path, changed: set[Path]) -> None:
    """Copy these files of a folder and the folders that they are in, and link to what else is there."""
    copy.mkdir()
    for entry in source.iterdir():
        if entry in changed:
            shutil.copy(entry, copy)
        elif any(entry in file.parents for file in changed):
            _copy(entry, copy / entry.name, changed)
        else:
            (copy / entry.name).symlink_to(entry)
