"""A table of the file, read strictly: each key is known and of its kind, or its line is named with what is wrong."""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, NoReturn, TypeVar

from ..errors import ConfigError
from .lines import Lines, Path

__all__ = ["Source", "Table", "nearest", "read_file", "shown"]

T = TypeVar("T")

_AT_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)$")
_KINDS: Final[dict[type, str]] = {str: "a text", bool: "true or false", dict: "a table", list: "a list"}


class Source:
    """The file as a whole.

    Args:
        name: as it is called in messages.
        text: what is in it; tomllib can read it.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._text = text

    @cached_property
    def _lines(self) -> Lines:  # only where something is wrong: it reads the file once more
        return Lines(self._text)

    def mistake(self, path: Path, what: str) -> ConfigError:
        """Return the error about a key, with its line."""
        return ConfigError(f"{self.name}, line {self._lines[path]}: {what}")


def read_file(path: str, known: Iterable[str]) -> Table:
    """Read a file, and return its whole as a table of these keys.

    Raises:
        ConfigError: it is not there, is no TOML, or has another key.
    """
    name = os.path.basename(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is no text in UTF-8, as TOML is") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path!r}: {error.strerror or error}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        at = _AT_LINE.search(said)
        line = at[1] if at else text.count("\n") + 1
        raise ConfigError(f"{name}, line {line}: this is no TOML: {_AT_LINE.sub('', said)}") from None
    except RecursionError:
        raise ConfigError(f"{name} is nested too deep") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise ConfigError(f"{name} has a number that cannot be read: {error!s:.100}") from None
    return Table(Source(name, text), (), values, known, "the file")


class Table:
    """One table.

    Args:
        source: the file that it is in.
        path: the way to it.
        values: what is in it, as tomllib has read it.
        known: the keys that there can be.
        title: what it is called in messages.

    Raises:
        ConfigError: there is another key.
    """

    __slots__ = ("_source", "_title", "_values", "path")

    def __init__(self, source: Source, path: Path, values: Mapping[str, Any], known: Iterable[str], title: str) -> None:
        self.path = path
        self._source = source
        self._title = title
        self._values = values
        names = sorted(known)
        for name in values:
            if name not in names:
                raise self.mistake(name, f"{title} has no key {name!r:.60}{nearest(name, names)}")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def mistake(self, name: str | None, what: str) -> ConfigError:
        """Return the error about a key, or about the whole table, with its line."""
        return self._source.mistake(self.path if name is None else (*self.path, name), what)

    def value(self, name: str) -> Any:
        """What a key says, of whatever kind; None where it is not there."""
        return self._values.get(name)

    def missing(self, name: str, what: str) -> ConfigError:
        """Return the error about a key that has to be there."""
        return self.mistake(None, f"{self._title} has no {name!r}: {what}")

    def wrong(self, name: str, what: str) -> NoReturn:
        """Say that a key's value is something else than it has to be. Raises ConfigError."""
        raise self.mistake(name, f"{name} is {what}, not {shown(self._values[name])}")

    def text(self, name: str) -> str | None:
        """A text that is not empty; None where it is not there."""
        found: str | None = self._of(name, str)
        return found

    def flag(self, name: str) -> bool:
        """True or false; false where it is not there."""
        return bool(self._of(name, bool))

    def texts(self, name: str, example: str) -> list[str] | None:
        """A list of texts that are not empty, as the example is; None where it is not there."""
        found: list[str] | None = self._of(name, list)
        for one in found or ():
            if not isinstance(one, str) or not one:
                raise self.mistake(name, f"{name} is a list of texts, as {example}, and {shown(one)} is none")
        return found

    def number(self, name: str, least: float = 0) -> float | None:
        """A number of at least so much; None where it is not there."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= sys.float_info.max:
            self.wrong(name, f"a number of at least {least:g}")
        return float(value)

    def numbers(self, names: Iterable[str]) -> dict[str, Any]:
        """What those keys say that are there: numbers of any size, which whoever takes them knows better."""
        found = {name: self._values[name] for name in names if name in self._values}
        for name, value in found.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                self.wrong(name, "a number")
        return found

    def table(self, name: str, known: Iterable[str]) -> Table | None:
        """A table in this one; None where it is not there."""
        found = self._of(name, dict)
        return None if found is None else Table(self._source, (*self.path, name), found, known, name)

    def tables(self, name: str, known: Iterable[str]) -> list[Table]:
        """An array of tables in this one, as ``[[name]]`` makes it."""
        found = self._values.get(name, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self.mistake(name, f"each of the {name} has a header of its own, [[{name}]]")
        title, names = f"[[{name}]]", list(known)
        return [Table(self._source, (*self.path, name, number), one, names, title) for number, one in enumerate(found)]

    def element(self, name: str, number: int | None, value: Mapping[str, Any], known: Iterable[str]) -> Table:
        """An inline table: a key's value, or one in its list."""
        path = (*self.path, name) if number is None else (*self.path, name, number)
        return Table(self._source, path, value, known, name)

    def tried(self, name: str | None, make: Callable[[], T]) -> T:
        """Make something of what a key says. Raises ConfigError: it cannot be, with the key's line."""
        try:
            return make()
        except ConfigError as error:
            raise self.mistake(name, str(error)) from None

    def _of(self, name: str, kind: type) -> Any:
        value = self._values.get(name)
        if value is not None and (type(value) is not kind or value == ""):
            self.wrong(name, f"{_KINDS[kind]}{' that is not empty' if value == '' else ''}")
        return value


def nearest(name: str, known: Iterable[str]) -> str:
    """What else there is, the nearest first named: the end of a sentence about a name that is not known."""
    names = list(known)
    found = difflib.get_close_matches(name, names, 1)
    return f"{f', perhaps {found[0]!r}' if found else ''}; known are {', '.join(names)}"


def shown(value: Any) -> str:
    """A value as a file could say it, in short. Texts may be secrets that stand in the wrong place: not shown."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value!s:.40}"
    return "an empty text" if value == "" else _KINDS.get(type(value), f"a {type(value).__name__}")
