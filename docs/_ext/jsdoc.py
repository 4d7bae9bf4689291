"""The reference of the JavaScript client, from the JSDoc of its sources: what is there is on the page, as it is there.

Of the sources it takes what prettier would leave as it is: a class ends where a line begins with ``}``, and its members
are indented by two spaces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["ENTRIES", "STATIC", "Comment", "Tag", "Thing", "parse", "public", "reference"]

STATIC = Path(__file__).parents[2] / "src" / "triolet" / "static"

PACKAGE: dict[str, Any] = json.loads((STATIC / "package.json").read_text(encoding="utf-8"))

ENTRIES: dict[str, Path] = {
    PACKAGE["name"] + name.removeprefix("."): STATIC / target["default"]
    for name, target in PACKAGE["exports"].items()
    if isinstance(target, dict)
}
"""By what is written in an import: the files that the package gives."""

SHAPES = STATIC / "api.js"
"""Whose types are those of the first entry."""

TAG = re.compile(r"(?<!\S)@(type|typedef|property|param|returns|throws|template|extends|overload|internal|import)\b")
NAMED = {"typedef", "property", "param", "template"}
"""Tags whose type is followed by a name."""

BLOCK = re.compile(r"/\*\*(.*?)\*/", re.DOTALL)
CODE = re.compile(r"(``.+?``|`[^`]+`|\{@link [^}]+\})", re.DOTALL)


@dataclass(frozen=True)
class Tag:
    """``@param {string} [name=default]  text``, with ``name`` without its brackets."""

    kind: str
    type: str
    name: str
    text: str
    is_optional: bool


@dataclass(frozen=True)
class Comment:
    """A JSDoc comment: its text, up to the first tag, and its tags."""

    text: str
    tags: tuple[Tag, ...]

    def all(self, kind: str) -> list[Tag]:
        """Return the tags of one kind."""
        return [tag for tag in self.tags if tag.kind == kind]

    @property
    def is_internal(self) -> bool:
        """Whether it is of what is no part of the public face."""
        return bool(self.all("internal"))


@dataclass(frozen=True)
class Thing:
    """Something that has a comment: a ``function``, ``class``, ``type``, ``method`` or ``attribute``."""

    kind: str
    name: str
    comment: Comment
    members: tuple[Thing, ...] = ()
    made: Comment | None = None
    """Of a class that an app makes: its constructor's."""


def parse(raw: str) -> Comment:
    """Return what stands between ``/**`` and ``*/``, in parts."""
    text, *found = TAG.split(re.sub(r"^[ \t]*\* ?", "", raw, flags=re.MULTILINE).strip())
    return Comment(text.strip(), tuple(_tag(*pair) for pair in zip(found[::2], found[1::2], strict=True)))


def _tag(kind: str, said: str) -> Tag:
    type_, rest = _braced(said.strip())
    name, is_optional = "", False
    if kind in NAMED:
        match = re.match(r"(\[)?([\w$]+)(?(1)[^\]]*\])", rest)
        if match is None:
            raise ValueError(f"@{kind} without a name: {said:.80}")
        name, is_optional, rest = match[2], match[1] is not None, rest[match.end() :]
    return Tag(kind, type_, name, " ".join(rest.split()), is_optional)


def _braced(text: str) -> tuple[str, str]:
    """Return the type with which a tag's text begins, on one line, and the rest."""
    if not text.startswith("{"):
        return "", text
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return " ".join(text[1:place].split()), text[place + 1 :].lstrip()
    raise ValueError(f"a type that has no end: {text:.80}")


# --- what the sources have


@cache
def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _comments(path: Path) -> dict[int, Comment]:
    """By where the code begins that they are for."""
    text, space = _source(path), re.compile(r"\s*")
    found, said = {}, ""
    for block in BLOCK.finditer(text):
        code, comment = space.match(text, block.end()), parse(block[1])
        assert code is not None
        said = comment.text or said
        if not comment.all("overload"):  # its text is also that of what it is another shape of
            found[code.end()], said = replace(comment, text=said), ""
    return found


def _types(path: Path) -> list[Thing]:
    """The typedefs of a file. One comment may have many: then the text of each stands behind its name."""
    found = []
    for comment in map(parse, BLOCK.findall(_source(path))):
        starts = [place for place, tag in enumerate(comment.tags) if tag.kind == "typedef"]
        for start, end in zip(starts, [*starts, len(comment.tags)][1:], strict=True):
            text = comment.text if len(starts) == 1 else ""
            said = " ".join(part for part in (text, comment.tags[start].text) if part)
            tags = [*comment.all("template"), *(tag for tag in comment.tags[start:end] if tag.kind != "template")]
            found.append(Thing("type", comment.tags[start].name, Comment(said, tuple(tags))))
    return found


def _exports(path: Path, only: str = r"\w+") -> list[Thing]:
    """What a file exports, of its own and of others; or of that what has one name."""
    text, comments = _source(path), _comments(path)
    found = []
    for names in re.findall(r"^export \{([^}]*)\};", text, re.MULTILINE):
        for name in filter(None, map(str.strip, names.split(","))):
            found += _exports(_home(path, name), name) if re.fullmatch(only, name) else []
    for declared in re.finditer(rf"^export (?:async )?(function|class|const) ({only})\b", text, re.MULTILINE):
        comment = comments.get(declared.start())
        if comment is None:
            raise ValueError(f"{path.name}: {declared[2]} has no comment")
        if declared[1] == "class":
            found.append(_class(path, declared[2], declared.end(), comment))
        else:
            found.append(Thing(declared[1].replace("const", "function"), declared[2], comment))
    return found


def _home(path: Path, name: str) -> Path:
    """The file from which one imports a name."""
    for names, home in re.findall(r'^import \{([^}]*)\} from "\./([\w.]+)";', _source(path), re.MULTILINE):
        if name in map(str.strip, names.split(",")):
            return STATIC.joinpath(home)
    raise ValueError(f"{path.name} exports {name}, and imports it from nowhere")


def _class(path: Path, name: str, start: int, comment: Comment) -> Thing:
    text, comments = _source(path), _comments(path)
    end = text.index("\n}", start)
    found: dict[str, Thing] = {}
    made = None
    member = r"^  (?:async |(get ))?(\w+|\[Symbol\.\w+\])\(|^  (\w+)(?: = |;)|^    this\.(\w+) = "
    for match in re.compile(member, re.MULTILINE).finditer(text, start, end):
        called = match[2] or match[3] or match[4]
        said = comments.get(match.start() + len(match[0]) - len(match[0].lstrip()))
        if called == "constructor":
            made = None if said is None or said.is_internal else said
        elif said is not None and not said.is_internal:
            kind = "method" if match[2] and not match[1] else "attribute"
            found.setdefault(called, Thing(kind, called, said))
        elif said is None and called not in found and not match[4]:
            raise ValueError(f"{path.name}: {name}.{called} has no comment")
    return Thing("class", name, comment, tuple(found.values()), made)


@cache
def public(entry: str) -> dict[str, Thing]:
    """Return what an entry of the package gives, by name: functions, classes and types.

    Raises:
        KeyError: there is no such entry.
        ValueError: something of it has no comment, or a comment is none.
    """
    path = ENTRIES[entry]
    found = {thing.name: thing for thing in _exports(path)}
    for thing in [*_types(path), *(_types(SHAPES) if entry == PACKAGE["name"] else ())]:
        meant = _meant(thing)
        if meant is not None:
            found.setdefault(thing.name, meant)
    return found


def _meant(thing: Thing) -> Thing | None:
    """A type that is a class of another file is that class; one that only gives on one of the shapes is none."""
    (defined,) = thing.comment.all("typedef")
    elsewhere = re.fullmatch(r'import\("\./([\w.-]+)"\)\.(\w+)', defined.type)
    if elsewhere is None:
        return thing
    return next(iter(_exports(STATIC / elsewhere[1], elsewhere[2])), None)


# --- the page


def reference(entry: str, names: Iterable[str] = ()) -> list[str]:
    """Return the lines of a page, in reStructuredText, for those that are named of an entry; for all, if none is.

    Raises:
        KeyError: there is no such entry, or it has no such name.
    """
    things = public(entry)
    return [line for name in (list(names) or things) for line in (*_shown(things[name]), "")]


def _shown(thing: Thing) -> list[str]:
    if thing.kind == "class":
        head = f".. js:class:: {thing.name}{_signature(thing.made)}" if thing.made else f".. js:made:: {thing.name}"
        extended = [f"Extends {_literal(tag.type)}." for tag in thing.comment.all("extends")]
        body = [*_text(thing.comment.text), *extended, "", *(_fields(thing.made) if thing.made else [])]
        return [head, "", *_indented([*body, *(line for member in thing.members for line in (*_shown(member), ""))])]
    if thing.kind == "type":
        return [f".. js:type:: {thing.name}", "", *_indented(_type(thing.comment))]
    if thing.kind == "attribute":
        (type_,) = thing.comment.all("type")
        said = [f"{_literal(type_.type)} – {_rst(type_.text or thing.comment.text)}".rstrip(" –")]
        return [f".. js:attribute:: {thing.name}", "", *_indented(said)]
    name = thing.name.strip("[]")
    head = f".. js:{thing.kind}:: {name}{_signature(thing.comment)}"
    return [head, "", *_indented([*_text(thing.comment.text), *_fields(thing.comment)])]


def _type(comment: Comment) -> list[str]:
    """A shape, with each of its properties; or another type, as it is written."""
    (defined,) = comment.all("typedef")
    lines = _text(comment.text)
    properties = comment.all("property")
    if not properties:
        of = ", ".join(tag.name for tag in comment.all("template"))
        written = f"type {defined.name}{f'<{of}>' if of else ''} = {defined.type}"
        return [*lines, ".. code-block:: text", "", f"   {written}", ""]
    for tag in properties:
        lines += [f"{_literal(tag.name)} : {_literal(tag.type)}{' *optional*' if tag.is_optional else ''}"]
        lines += _indented([_rst(tag.text) or "\\ "])
    return [*lines, ""]


def _fields(comment: Comment) -> list[str]:
    lines = []
    for tag in comment.all("param"):
        lines += [f":param {tag.name}: {_rst(tag.text)}".rstrip(), f":type {tag.name}: {_literal(tag.type)}"]
    for tag in comment.all("returns"):
        lines += [f":returns: {_rst(tag.text)}"] if tag.text else []
        lines += [f":rtype: {_literal(tag.type)}"]
    for tag in comment.all("throws"):
        lines += [f":throws{' ' if tag.type else ''}{tag.type}: {_rst(tag.text)}".rstrip()]
    return [*lines, ""] if lines else []


def _signature(comment: Comment) -> str:
    """As Sphinx wants it: ``(url[, options])``."""
    said = closed = ""
    for tag in comment.all("param"):
        comma = ", " if said else ""
        said += f"[{comma}{tag.name}" if tag.is_optional else f"{comma}{tag.name}"
        closed += "]" if tag.is_optional else ""
    return f"({said}{closed})"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"   {line}" if line else "" for line in lines]


def _text(text: str) -> list[str]:
    return [line for part in re.split(r"\n\s*\n", text) if part.strip() for line in (_rst(part), "")]


def _literal(text: str) -> str:
    """Of types that have a ` at an end there is none as an inline literal: those have a line of their own."""
    return f"``{text}``"


def _rst(text: str) -> str:
    """A comment's text on one line, with what is code as an inline literal."""
    said = ""
    for place, part in enumerate(CODE.split(" ".join(text.split()))):
        if place % 2:
            code = part.removeprefix("{@link ").removesuffix("}") if part.startswith("{") else part.strip("`")
            said += ("\\ " if said[-1:].isalnum() else "") + f"``{code}``"
        else:
            said += ("\\ " if place and part[:1].isalnum() else "") + re.sub(r"([\\*|`]|_\b)", r"\\\1", part)
    return said.strip()
