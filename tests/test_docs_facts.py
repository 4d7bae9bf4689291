"""What the pages state is what the code does: defaults of limits come from ``Limits``, options from the command."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import GenericAlias
from typing import Any

import pytest
from trio.testing import MockClock

from triolet import JWT, Identity, Triolet, bounds
from triolet.cli import main
from triolet.connection.history import History
from triolet.identity import bounds as identity_bounds
from triolet.limits import Limits
from triolet.log import MemoryLog
from triolet.plan import FIGURES
from triolet.testing import ScriptedLog, scripted
from triolet.testing.server import serve

from .pages import DOCS, PAGES, drawing, kept, text_of
from .test_docs import load

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "triolet"
PAPERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]

NAMED = re.compile(r"``?(?:limits\.)?([a-z_]+)``?")
DOC = re.compile(r":doc:`(?:[^`<]*<)?([^`>]+)>?`")
ROLE = re.compile(r":limit:`([A-Za-z_]+)`")
WORDS = (
    "two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|forty|fifty|sixty|a hundred|a thousand"
)
UNITS = "second|minute|hour|day|event|client|channel|connection|message|byte|KiB|MiB|level|fragment"
NUMBER = re.compile(rf"(?<![\w./-])\d[\d,.]*\d(?![\w/])|(?<![\w./-])\d(?![\w/])|\b(?:{WORDS}) (?:{UNITS})s?\b")
STATUS = re.compile("[1345]0[0-9]|10[01][0-9]|44[01][0-9]|[0-9]{4}")
"""Statuses of HTTP, codes of closings, and RFCs."""
NEAR = 60
"""So many characters from its name a number is taken for a limit's."""

NO_DEFAULTS = {
    ("metrics.rst", "keep_events", "60"): "from when on an operator is to be told",
    ("presence.rst", "event_bytes", "200"): "what the names around a member's info take",
    ("redis.rst", "keep_bytes", "50"): "what an event takes in Redis, besides its data",
    ("redis.rst", "keep_bytes", "200"): "at most",
    ("redis.rst", "keep_events", "50"): "what an event takes in Redis, besides its data",
    ("redis.rst", "keep_events", "200"): "at most",
    ("slow-clients.rst", "stall_seconds", "6"): "kB a second: what counts as slow",
    ("transports.rst", "beat_seconds", "10,000"): "so many clients, in this example",
    ("transports.rst", "wait_seconds", "30"): "a proxy's",
}
"""Numbers that stand near the name of a limit and are not its default: page, limit, number."""

STATED = {
    "SECURITY.md": [
        "| fragments, oversized frames | {message_bytes}, {message_fragments} fragments, {message_seconds}, checked",
        "| slow heads, slow reads, silent peers | {header_seconds} for a head;",
    ],
}
"""What papers say that Sphinx does not print, with limits in braces."""

BOUNDS = vars(bounds) | vars(identity_bounds) | {"REMEMBERED": scripted.REMEMBERED}
STATED_BY = [
    (Triolet.publish, "1 to {} bytes of text", "CHANNEL_BYTES"),
    (Triolet.channels, "from 1 to {:,}", "CHANNELS_LISTED"),
    (Triolet.unwatched, "forgotten after {:g} seconds", "WATCH_LEASE_SECONDS"),
    (Triolet.revoke, "up to {} of which one matches", "REVOKED_PATTERNS"),
    (Triolet.ticket, "at most {}: a URL", "TICKET_SECONDS"),
    (Identity, "1 to {} bytes of text", "SUBJECT_BYTES"),
    (JWT, "a key not known, at most every {} s", "JWKS_ASK_SECONDS"),
    (JWT, "by default {}", "JWKS_REFRESH_SECONDS"),
    (JWT, "may be off, 0 to {}", "TOKEN_LEEWAY_MOST_SECONDS"),
    (History, "the last {} happenings", "HAPPENINGS"),
    (MemoryLog.append, "at every {}th call", "MEMORY_APPENDS_IN_A_ROW"),
    (ScriptedLog, "the last {:,} events", "REMEMBERED"),
]
"""What docstrings say of bounds that are no limits: whose, what, and the bound."""


def in_words(name: str) -> str:
    """A limit's default as a page writes it, by the pages' own function."""
    told: str = drawing("words").in_words(name)
    return told


def measured(text: str) -> str:
    """A figure that was measured, as a page writes it, by the pages' own function."""
    told: str = drawing("words").measured(text)
    return told


def sentences(text: str) -> list[str]:
    """The sentences, items and cells of a page, without its examples of code."""
    text = re.sub(r"^( *)(?:\.\. code-block|::).*\n(?:\s*\n|\1 +.*\n)+", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"\n\s*\n|\n(?= *(?:\*|-|#\.|\d\.) )|(?<=[a-z`)][.:;?!]) +(?=[A-Z`*(])| \| |\n(?=``)", text)
    return [" ".join(part.split()) for part in parts]


def numbers_beside_limits(name: str, text: str) -> list[tuple[str, str, str]]:
    """Where a number is written by hand near the name of a limit, as (page, limit, number)."""
    limits, found = set(Limits.__dataclass_fields__), []
    for sentence in sentences(text):
        bare = ROLE.sub("", re.sub(r"``[^`]*``", lambda code: code[0] if NAMED.fullmatch(code[0]) else "", sentence))
        bare = re.sub(r"^(?:\d\.|[*-]) |\b\d (?=:src:)", "", bare)
        numbers = [found for found in NUMBER.finditer(bare) if not STATUS.fullmatch(found[0])]
        for named in NAMED.finditer(bare):
            near = [at[0] for at in numbers if named.start() - NEAR < at.end() and at.start() < named.end() + NEAR]
            found += [(name, named[1], number) for number in near if named[1] in limits]
    return found


def test_a_limit_is_written_as_people_write_it() -> None:
    told = {name: in_words(name) for name in Limits.__dataclass_fields__ if name != "keep"}
    assert told["keep_seconds"] == "7 days"
    assert told["keep_events"] == "10,000"
    assert told["replay_turn_seconds"] == "0.005 s"
    assert told["beat_seconds"] == "20 s"
    assert told["page_bytes"] == "256 KiB"
    assert told["memory_bytes"] == "512 MiB"
    assert told["leaves_per_second"] == "1,000"
    assert told["command_seconds"] == "1 day"
    assert in_words("TICKET_SECONDS") == "30 s"


def test_what_was_measured_is_written_as_people_write_it() -> None:
    memory, back = FIGURES["stream memory"].value, FIGURES["return"].value
    assert measured("stream memory") == f"{memory:.3g} kB"
    assert measured("1,000,000 x stream memory") == f"{memory:.2g} GB"
    assert measured("return") in (f"{back:.3g} µs", f"{back / 1000:.3g} ms")
    assert float(measured("return a second").replace(",", "")) == pytest.approx(1e6 / back, rel=0.05)
    with pytest.raises(KeyError):
        measured("stream")


def test_what_pages_name_of_it_is_there() -> None:
    named = [found for page in PAGES for found in re.findall(r":measured:`([^`]+)`", page.read_text(encoding="utf-8"))]
    assert len(named) >= 4
    assert all(map(measured, named))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_writes_a_limits_default_by_hand(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not [name for name in ROLE.findall(text) if not in_words(name)]
    by_hand = {found for found in numbers_beside_limits(page.name, text) if found not in NO_DEFAULTS}
    assert not by_hand, "write :limit:`name`, or say in NO_DEFAULTS what else the number is"


def test_every_exception_is_still_there() -> None:
    found = {place for page in PAGES for place in numbers_beside_limits(page.name, page.read_text(encoding="utf-8"))}
    assert NO_DEFAULTS.keys() <= found


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_what_a_paper_says_of_a_limit_is_its_default(paper: Path) -> None:
    text = paper.read_text(encoding="utf-8")
    wrong = [found for found in numbers_beside_limits(paper.name, text) if found[2] not in in_words(found[1])]
    assert not wrong
    for template in STATED.get(paper.name, ()):
        told = re.sub(r"\{(\w+)\}", lambda field: in_words(field[1]), template)
        assert told in text


def test_every_link_to_code_names_a_file() -> None:
    linked = {name for page in PAGES for name in re.findall(r":src:`([^`]+)`", page.read_text(encoding="utf-8"))}
    assert linked
    assert not [name for name in linked if not (PACKAGE / name).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_shows_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^ *\.\. (?:literalinclude|include|image|figure):: (\S+)$", text, re.MULTILINE)
    shown += re.findall(r":download:`(?:[^`<]*<)?([^`>]+)>?`", text)
    files = [DOCS / name[1:] if name.startswith("/") else page.parent / name for name in shown]
    assert not [str(file) for file in files if not (file.is_file() or "_build" in file.parts)]


def test_every_page_is_in_the_index() -> None:
    listed = re.findall(r"^   ((?:[a-z-]+/)?[a-z-]+)$", text_of("index.rst"), re.MULTILINE)
    pages = [path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES]
    assert sorted(listed) == sorted(set(pages) - {"index"})


def test_each_page_is_in_the_folder_of_its_kind_under_a_name_of_its_own() -> None:
    assert sorted(path for path in DOCS.rglob("*.rst") if "_build" not in path.parts) == sorted(PAGES)
    assert len({path.name for path in PAGES}) == len(PAGES)


def test_every_reference_to_a_page_is_by_its_name_alone() -> None:
    named = {name for path in PAGES for name in re.findall(DOC, path.read_text(encoding="utf-8"))}
    assert named <= {path.stem for path in PAGES}


@pytest.mark.parametrize("face", ["triolet", "triolet.client", "triolet.testing"])
def test_the_reference_has_every_public_name(face: str) -> None:
    text = text_of("api.rst") + text_of("python-client.rst")
    whole = re.findall(r"^\.\. automodule:: (\S+)", text, re.MULTILINE)
    missing = [
        name
        for name, thing in vars(importlib.import_module(face)).items()
        if name in importlib.import_module(face).__all__ and callable(thing) and not isinstance(thing, GenericAlias)
        if f":: {face}.{name}" not in text and thing.__module__ not in whole
    ]
    assert not missing
    members = re.search(r"autoclass:: triolet\.Triolet\n +:members: ([^:.]*?)\n\n", text)
    assert members is not None
    told = {name.strip() for name in members[1].split(",")}
    has = {name for cls in Triolet.__mro__[:-1] for name in vars(cls)}
    assert told == {name for name in has if not name.startswith("_")} - {"service"}


def docstrings() -> list[tuple[str, str]]:
    """All docstrings of the package, with the names of their files."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((path.name, inspect.cleandoc(ast.get_docstring(node) or "")))
    return found


def test_a_docstring_that_names_a_limit_states_no_other_default() -> None:
    wrong = [
        (name, sentence)
        for name, text in docstrings()
        for sentence in sentences(text)
        for limit, number in re.findall(r"``limits\.([a-z_]+)`` \((?:default )?([\d,.]+)[^)]*\)", sentence)
        if number not in in_words(limit)
    ]
    assert not wrong


@pytest.mark.parametrize(("thing", "says", "bound"), STATED_BY)
def test_what_a_docstring_says_of_a_bound_is_so(thing: object, says: str, bound: str) -> None:
    assert says.format(BOUNDS[bound]) in " ".join((inspect.getdoc(thing) or "").split())


def test_the_options_of_serve_are_those_on_the_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # argparse breaks lines within a name
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    offered = set(re.findall(r"(--[a-z][a-z0-9-]+)", capsys.readouterr().out)) - {"--help"} | {"--version"}
    told = set(re.findall(r"^``(--[a-z][a-z0-9-]+)", text_of("serving.rst"), re.MULTILINE))
    assert told == offered


async def test_a_scripts_events_are_heard_as_the_tutorial_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.chdir(tmp_path)
    app: Any = load("app").app
    script: dict[str, Any] = {}
    exec((kept("tutorial") / "deliver.py").read_text(encoding="utf-8").replace("trio.run(main)", ""), script)
    async with serve(app) as server:
        cookie = (await server.get("/login/ada")).headers["set-cookie"].partition(";")[0]
        async with server.sse("/orders/A123/events", headers={"cookie": cookie}) as page:
            await page.until("live")
            await script["main"]()
            assert (await page.until("event"))["data"] == {"state": "delivered"}
