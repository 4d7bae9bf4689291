"""Each key of a TOML file is found on its line, whatever form it is written in."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from triolet.standalone.lines import Lines

FILE = '''\
# a comment
log = "memory:"          # 2

  indented = 1
dotted.key.a = 1         # 5
dotted.key.b = 2
"quoted.key" = 1
'single' . "bare" = 1    # 8
text = """
[channels]
log = 1
"""
literal = \'\'\'[[x]]
\'\'\'                      # 14
list = [
    1,  # one
    [2, { a = 1 }],
]
inline = { a = 1, b.c = [{ d = 2 }] }  # 19

[limits]                 # 21
connections = 7

[ tables . "of tables" ]
x = 1                    # 25
[tables.other]

[[channels]]             # 28
url = "/a"
keep = { events = 1 }
[channels.follow]        # 31
claim = "x"
[[channels.rungs]]
a = 1
[[channels.rungs]]       # 35
a = 2

[[channels]]
url = "/b"
[[channels.rungs]]       # 40
a = 3
[channels.rungs.inner]
z = 1
'''

PLACES: dict[tuple[str | int, ...], int] = {
    ("log",): 2,
    ("indented",): 4,
    ("dotted",): 5,
    ("dotted", "key", "a"): 5,
    ("dotted", "key", "b"): 6,
    ("quoted.key",): 7,
    ("single", "bare"): 8,
    ("text",): 9,
    ("literal",): 13,
    ("list",): 15,
    ("list", 1, 1, "a"): 15,
    ("inline", "b", "c", 0, "d"): 19,
    ("limits",): 21,
    ("limits", "connections"): 22,
    ("limits", "not there"): 21,
    ("tables",): 24,
    ("tables", "of tables", "x"): 25,
    ("tables", "other"): 26,
    ("channels", 0): 28,
    ("channels", 0, "url"): 29,
    ("channels", 0, "keep", "events"): 30,
    ("channels", 0, "follow"): 31,
    ("channels", 0, "follow", "claim"): 32,
    ("channels", 0, "rungs"): 33,
    ("channels", 0, "rungs", 1): 35,
    ("channels", 0, "rungs", 1, "a"): 36,
    ("channels", 1): 38,
    ("channels", 1, "url"): 39,
    ("channels", 1, "rungs", 0): 40,
    ("channels", 1, "rungs", 0, "a"): 41,
    ("channels", 1, "rungs", 0, "inner", "z"): 43,
    ("not there",): 1,
    (): 1,
}


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_a_key_is_found_on_its_line(end: str) -> None:
    lines = Lines(FILE.replace("\n", end))
    assert {path: lines[path] for path in PLACES} == PLACES


def test_every_key_that_tomllib_reads_has_a_line() -> None:
    lines = Lines(FILE)
    assert all(path in lines._lines for path in _paths(tomllib.loads(FILE)))


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for name, one in inner for found in ((*path, name), *_paths(one, (*path, name)))]
