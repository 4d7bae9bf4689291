"""On which line of a TOML file a key stands: tomllib reads what a file says, and forgets where.

A file that tomllib has read is cut into its statements: headers of tables, and keys with their values. A statement is
the shortest run of whole lines that tomllib reads by itself. That is exact: a value that goes on in the next line has
an open bracket or an open string, and with one nothing can be read. So every form of TOML is understood (dotted and
quoted keys, inline tables, texts of several lines), and no grammar is written twice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any, TypeAlias

__all__ = ["Lines", "Path"]

Path: TypeAlias = tuple[str | int, ...]
"""The way from the whole file to a key: names of tables and keys, and numbers in arrays, from 0."""


class Lines:
    """Where each key of a file stands.

    Args:
        text: the file, which tomllib can read.

    Bounds: an entry for each key, and for each value in an array.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._last: dict[Path, int] = {}  # of each array of tables, the number of the newest
        table: Path = ()
        for line, statement, is_header in _statements(text):
            if is_header:
                table = self._enter(statement)
                self._note(table, {}, line)
            else:
                self._note(table, statement, line)

    def __getitem__(self, path: Path) -> int:
        """Return the line, from 1, on which a key's statement begins; of one that is not there, where its table does,
        or what else it would be in."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _enter(self, header: dict[str, Any]) -> Path:
        """Where a header leads: through the newest of each array of tables on the way."""
        path: Path = ()
        inner: Any = header
        while inner:
            (name, inner) = next(iter(inner.items()))
            path += (name,)
            if isinstance(inner, list):  # [[name]] begins another one
                self._last[path] = self._last.get(path, -1) + 1
                inner = inner[0]
            if path in self._last:
                path += (self._last[path],)
        return path

    def _note(self, path: Path, value: Any, line: int) -> None:
        for end in range(1, len(path) + 1):
            self._lines.setdefault(path[:end], line)
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, one in inner:
            self._note((*path, name), one, line)


def _statements(text: str) -> Iterator[tuple[int, dict[str, Any], bool]]:
    """A file's statements: on which line each begins, what it says by itself, and whether it is a table's header."""
    lines = text.replace("\r\n", "\n").split("\n")
    first = 0
    for end in range(1, len(lines) + 1):
        statement = "\n".join(lines[first:end])
        try:
            says = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # it goes on
        if says:
            yield first + 1, says, statement.lstrip().startswith("[")
        first = end
