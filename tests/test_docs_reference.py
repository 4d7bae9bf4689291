"""The reference has all that there is, and no page names what there is not: options, limits, metrics, closings, tests.

Public names in Python are held by test_docs_facts.py, those in JavaScript by test_docs_client.py.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks import readme
from triolet import Command, Connection, Run, SyncPublisher, Triolet, client, policies
from triolet.admin.table import ROUTES
from triolet.closing import CATALOGUE
from triolet.limits import Keep, Limits

from .pages import DOCS, PAGES, drawing, text_of

TESTS = Path(__file__).parent

READ = {path.name: path.read_text(encoding="utf-8") for path in PAGES}

OTHERS = {
    "--data": "curl",
    "--data-binary": "curl",
    "--fail-with-body": "curl",
    "--now": "systemctl",
    "--only": "python -m benchmarks.…",
    "--preload": "gunicorn",
    "--processes": "python -m hunt",
    "--quick": "python -m benchmarks.…",
    "--seconds": "python -m hunt",
    "--seed": "python -m hunt",
    "--seeds": "python -m hunt",
    "--triolet-seed": "pytest",
    "--triolet-seeds": "pytest",
}
"""Options of other programs that pages show."""

PREFIXES = {"triolet_presence_": "presence.rst: all that begin so"}
"""What looks like a metric's name."""

SUFFIXES = ("_bucket", "_count", "_sum", "_created")
"""Of a histogram's series."""

UNKNOWN = {"1000": "also a number", "1010": "also a number", "4400": "from where on they are Triolet's own"}

SOUGHT = {
    "authentication": "identity.rst",
    "logout": "identity.rst",
    "token": "identity.rst",
    "docker": "deploy.rst",
    "migrate": "migrating.rst",
    "cors": "serving.rst",
    "reload": "serving.rst",
    "retention": "cursors.rst",
    "kafka": "sources.rst",
    "backpressure": "slow-clients.rst",
    "prometheus": "metrics.rst",
    "nginx": "serving.rst",
    "django": "publishing.rst",
    "typing": "channels.rst",
}
"""What people look for, and a page that answers it: the search finds words of texts, titles and keywords."""


def drawn(name: str) -> str:
    """What is drawn for a page, by the name of the module and its function."""
    return "\n".join(getattr(drawing(name), name)())


def long_options() -> set[str]:
    line = drawing("command_line")
    return {
        name
        for parser in line.parsers().values()
        for action in line.options(parser)
        for name in action.option_strings
        if name.startswith("--")
    }


def test_each_command_has_its_section_and_each_option_its_line_with_its_default() -> None:
    line, text = drawing("command_line"), drawn("command_line")
    for name, parser in line.parsers().items():
        section = re.search(rf"^triolet {name}\n-+\n(.*?)(?=^triolet |\Z)", text, re.MULTILINE | re.DOTALL)
        assert section is not None
        for action in line.options(parser):
            told = re.search(rf"``{re.escape(line._form(action)[0])}``.*\n   (.+)", section[1])
            assert told is not None, f"{name}: {action.dest}"
            if action.option_strings and action.default not in (None, False, "", ".", [], argparse.SUPPRESS):
                assert re.search(r"\(\S.*\)|If nothing is said", told[1]), f"{name}: the default of {action.dest}"


def test_every_command_and_option_that_a_page_names_exists() -> None:
    there, commands = long_options() | {"--help", "--version"} | OTHERS.keys(), drawing("command_line").parsers()
    for name, text in READ.items():
        unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)) - there
        assert not unknown, f"{name}: or say in OTHERS whose they are"
        named = set(re.findall(r"(?:\$ |``)triolet ([a-z]+)", text))
        assert named <= commands.keys(), name


def test_no_option_stands_for_another_program_that_no_page_shows() -> None:
    assert OTHERS.keys() <= {option for text in READ.values() for option in re.findall(r"--[a-z][a-z0-9-]+", text)}
    assert not OTHERS.keys() & long_options()


def test_every_limit_has_its_line_and_its_default() -> None:
    text = "\n".join(drawing("limits").settings())
    for field in fields(Limits):
        row = re.search(rf"- ``{field.name}``\n     - (.+)\n     - (.+)", text)
        assert row is not None, field.name
        assert row[2].strip(), field.name


def test_every_bound_has_its_line_once() -> None:
    rows = re.findall(r"- ``([A-Z0-9_]+)``\n     - .+\n     - \S", "\n".join(drawing("limits").bounds()))
    assert len(rows) == len(set(rows))
    assert set(rows) >= {name for name in drawing("words").DEFAULTS if name.isupper()}


def test_every_limit_that_a_page_names_exists() -> None:
    there = {field.name for field in fields(Limits)} | {f"keep.{field.name}" for field in fields(Keep)}
    for name, text in READ.items():
        assert set(re.findall(r"\blimits\.([a-z_]+)", text)) <= there, name
        given = [part for call in re.findall(r"\bLimits\(([^()]*)\)", text) for part in re.findall(r"(\w+)=", call)]
        assert set(given) <= there | {"keep"}, name


def test_every_metric_has_its_line() -> None:
    text = drawn("metrics")
    for family in drawing("metrics").families():
        row = re.search(rf"- ``{family.name}``\n     - (\w+)\n     - (.*)\n     - (.+)\n     - (.+)", text)
        assert row is not None
        assert (row[1], bool(row[2])) == (family.kind, bool(family.labels))


def test_every_metric_that_a_page_names_exists() -> None:
    there = {family.name for family in drawing("metrics").families()} | PREFIXES.keys()
    there |= {f"{family.name}{end}" for family in drawing("metrics").families() for end in SUFFIXES}
    for name, text in READ.items():
        assert set(re.findall(r"\btriolet_[a-z_]+", text)) <= there, name


def test_every_label_that_a_page_gives_a_metric_is_one() -> None:
    labels = {family.name: set(family.labels) for family in drawing("metrics").families()}
    for name, text in READ.items():
        for metric, told in re.findall(r"``(triolet_[a-z_]+)\{([a-z_,]+)\}``", text):
            assert set(told.split(",")) == labels[metric], f"{name}: {metric}"


def test_every_member_that_a_page_names_exists() -> None:
    scripts = {member.name for member in drawing("jsdoc").public("triolet-client")["Client"].members}
    clients = {*dir(client.Client), *dir(client.SyncClient), *scripts}
    owners = {
        "live": {*dir(Triolet), *dir(SyncPublisher), *clients},
        "policies": set(dir(policies)),
        "conn": set(dir(Connection)),
        "command": set(dir(Command)),
        "run": set(dir(Run)),
        "publisher": set(dir(SyncPublisher)),
    }
    for name, text in READ.items():
        for owner, members in owners.items():
            assert set(re.findall(rf"(?<![\w./-]){owner}\.(?!py\b)([a-zA-Z_]+)", text)) <= members, f"{name}: {owner}"


def test_every_variable_of_the_environment_that_a_page_names_is_read() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "src").rglob("*.py"))
    for name, text in READ.items():
        assert [one for one in set(re.findall(r"\bTRIOLET_[A-Z_]+", text)) if f'"{one}"' not in source] == [], name


def test_every_closing_has_its_line() -> None:
    text = drawn("closings")
    for closing in CATALOGUE:
        row = re.search(rf"- {closing.code}\n     - {re.escape(closing.reason)}\n     - (.+)\n     - (.+)", text)
        assert row is not None, closing
        assert row[2].strip(), closing


def test_every_code_that_a_page_names_is_a_closings() -> None:
    codes = {str(closing.code) for closing in CATALOGUE} | UNKNOWN.keys()
    for name, text in READ.items():
        assert set(re.findall(r"(?<![\d.,:-])(?:44\d\d|10[01]\d)(?![\d.:-]\d|\d)", text)) <= codes, name


def test_every_request_to_the_operators_listener_has_its_line() -> None:
    text = drawn("listener")
    assert [route for route in ROUTES if f"``{route.method} {route.path}``" not in text] == []


def test_every_example_is_told_of_and_has_its_command() -> None:
    text = drawn("examples")
    for path in (DOCS.parent / "examples").glob("*/app.py"):
        assert re.search(rf"^.+\n-+\n\n``make {path.parent.name}``: \S.*\.$", text, re.MULTILINE), path.parent.name


def test_all_that_can_be_drawn_is_on_one_page() -> None:
    drawable = re.findall(r'^    "([a-z-]+)": ', (DOCS / "_ext" / "drawn.py").read_text(encoding="utf-8"), re.MULTILINE)
    shown = [name for text in READ.values() for name in re.findall(r"^\.\. drawn:: (\S+)$", text, re.MULTILINE)]
    assert drawable
    assert sorted(shown) == sorted(drawable)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for named in re.findall(r":test:`([^`]+)`", READ[page.name]):
        file, _, name = named.partition("::")
        text = (TESTS / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE), named


def test_each_guarantee_names_a_test() -> None:
    promised = text_of("guarantees.rst").partition("What is not promised\n")[0]
    items = re.findall(r"^- .+\n(?:  .+\n)*", promised, re.MULTILINE)
    assert len(items) > 40
    assert [item for item in items if ":test:`" not in item] == []


def test_each_page_is_in_llms_txt_with_what_it_is_about() -> None:
    text = drawing("llms").listing()
    assert re.match(r"# Triolet\n\n> .+\n\n## ", text)
    listed = re.findall(r"^- \[(.+)\]\(([\w/-]+)\.html\): (.+)$", text, re.MULTILINE)
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES} - {"index"}
    assert {name for _, name, _ in listed} == pages
    assert [about for _, _, about in listed if not re.search(r"[.?!]$", about) or ":`" in about] == []


@pytest.mark.parametrize(("word", "page"), SOUGHT.items(), ids=SOUGHT)
def test_the_search_finds_what_people_look_for(word: str, page: str) -> None:
    found = re.findall(rf"\b{word}\w*", text_of(page), re.IGNORECASE)
    assert len(found) > 1, "in its keywords, and where it says something of it"


def test_every_page_says_what_it_is_about_and_what_it_is_found_by() -> None:
    meta = r"\A(?:\.\. _\w+:\n\n)?.+\n=+\n\n\.\. meta::\n   :description: \S.*\n   :keywords: \S"
    assert [name for name, text in READ.items() if not re.match(meta, text)] == []


def test_the_figures_of_the_readme_are_those_that_were_measured() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert "| **Triolet** |" in text
    assert readme.put(text) == text, "python -m benchmarks.readme"


def test_whoever_is_faster_is_named_in_the_readme() -> None:
    ahead = readme.lines()[-1]
    assert ahead.startswith("**Ahead of Triolet**: in ")
    assert "in CPU of a short poll nchan, Starlette" in ahead, "they ask no app"


@pytest.mark.parametrize("paper", ["README.md", "CONTRIBUTING.md"])
def test_what_a_paper_says_make_can_do_it_can(paper: str) -> None:
    text = (DOCS.parent / paper).read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z-]*):", (DOCS.parent / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"(?:`|\$ |^)make ([a-z][a-z-]*)", text, re.MULTILINE)
    assert named
    assert set(named) - set(listed()) <= set(targets)


def listed() -> list[str]:
    """The examples in the README's list."""
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `make ([a-z]+)` \|", text, re.MULTILINE)


def test_every_example_is_in_the_readmes_list() -> None:
    assert {path.parent.name for path in (DOCS.parent / "examples").glob("*/app.py")} <= set(listed())
