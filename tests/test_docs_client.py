"""What the page "Follow from a program" shows is tried out, and the reference of the JavaScript client is whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet.testing import serve

from .pages import DOCS, PAGES, drawing
from .test_docs import load
from .test_docs_identity import KEY, token

TYPES = DOCS.parent / "src" / "triolet" / "static" / "types"


async def test_the_program_of_the_page_picks_what_is_paid_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_TOKEN_KEY", KEY)
    app, program = load("app", "identity"), load("pick", "programs")
    options: dict[str, Any] = {"token": lambda: token("ann")}
    async with serve(app.app, log="memory:") as server:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return server.connect()

        async def run() -> list[str]:
            with trio.move_on_after(20):
                await program.main(dial=dial, **options)
            return capsys.readouterr().out.splitlines()

        assert await run() == ["up to date"]
        await app.live.publish("orders/A1", {"state": "paid"}, name="order-status")
        told = await run()
        assert "orders/A1 picked: 200" in told
        assert told[-1].startswith("orders/A1 {") or told[-1] == "up to date"
        assert not any("picked: 200" in line for line in await run()), "its store knows that this is done"


# --- the reference of the JavaScript client

JSDOC = """
 * Follows a channel by its URL: `x`s too. `live.socket` | it is *not* over.
 *
 * And so on.
 *
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @param {string | URL} url  of `{@link Follow}`
 * @param {{after?: string, on: () => {a: 1}}} [options]  what
 *     else
 * @returns {Follow<Events>} takes it off
 * @throws {Ended} when it is over
 """


@pytest.fixture
def jsdoc() -> Any:
    """The reader of JSDoc that stands beside the pages."""
    return drawing("jsdoc")


def on_pages() -> dict[str, list[str]]:
    """Of each entry of the npm package what pages name; nothing where one shows all of it."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        directive = r"^\.\. javascript:: (\S+)\n(?:   :names: ((?:.+\n)(?:      .+\n)*))?"
        for entry, names in re.findall(directive, text, re.MULTILINE):
            found.setdefault(entry, []).extend(names.replace(",", " ").split())
    return found


def declared(name: str) -> dict[str, set[str]]:
    """What TypeScript has found in a source, by name, with its properties and methods."""
    text = (TYPES / f"{name}.d.ts").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    each = re.compile(r"^export (?:declare )?(\w+) (\w+)(.*?)(?=^export |^import |\Z)", re.MULTILINE | re.DOTALL)
    for kind, called, body in each.findall(text):
        if re.match(r'(?:<.*>)? = import\("\./api\.js"\)\.\w+;', body):
            continue  # it only gives on what is described with the first entry
        inner = body.partition("{\n")[2].rpartition("\n}")[0] if kind == "class" or re.search(r"= \{\n", body) else ""
        bare = re.sub(r"/\*.*?\*/", "", inner, flags=re.DOTALL)
        members = re.findall(r"^    (?:get |readonly )?([\w$]+|\[Symbol\.\w+\])\??[(<:]", bare, re.MULTILINE)
        found[called] = set(members) - {"constructor"}
    for names, home in re.findall(r'^import \{([^}]*)\} from "\./([\w-]+)\.js"', text, re.MULTILINE):
        again = set(re.findall(r"\w+", " ".join(re.findall(r"^export \{([^}]*)\}", text, re.MULTILINE))))
        found |= {one: declared(home)[one] for one in map(str.strip, names.split(",")) if one in again}
    for home in re.findall(r'^export type \* from "\./([\w-]+)\.js"', text, re.MULTILINE):
        found = declared(home) | found
    return found


def test_the_reference_of_the_javascript_client_has_all_that_typescript_finds_in_it(jsdoc: Any) -> None:
    shown = on_pages()
    assert shown.keys() == jsdoc.ENTRIES.keys()
    for entry, path in jsdoc.ENTRIES.items():
        things, found = jsdoc.public(entry), declared(path.stem)
        assert things.keys() == found.keys()
        assert set(shown[entry] or things) == found.keys()
        assert len(shown[entry]) == len(set(shown[entry])), "each has one place"
        for name, members in found.items():
            properties = {tag.name for tag in things[name].comment.all("property")}
            assert {member.name for member in things[name].members} | properties >= members, name


def test_all_of_the_reference_says_something(jsdoc: Any) -> None:
    silent = [
        name if member is None else f"{name}.{member.name}"
        for entry in jsdoc.ENTRIES
        for name, thing in jsdoc.public(entry).items()
        for member in (None, *thing.members)
        if not (member or thing).comment.text and not any(tag.text for tag in (member or thing).comment.tags)
    ]
    assert silent == []


def test_a_comment_is_read_as_it_is_written(jsdoc: Any) -> None:
    read = jsdoc.parse(JSDOC)
    assert read.text == "Follows a channel by its URL: `x`s too. `live.socket` | it is *not* over.\n\nAnd so on."
    assert [(tag.kind, tag.type, tag.name, tag.text, tag.is_optional) for tag in read.tags] == [
        ("template", "Record<string, any>", "Events", "", True),
        ("param", "string | URL", "url", "of `{@link Follow}`", False),
        ("param", "{after?: string, on: () => {a: 1}}", "options", "what else", True),
        ("returns", "Follow<Events>", "", "takes it off", False),
        ("throws", "Ended", "", "when it is over", False),
    ]


def test_what_is_read_is_shown(jsdoc: Any) -> None:
    told = jsdoc.reference("triolet-client", ["offsetOf", "State"])
    assert "\n".join(told).strip() == "\n".join(
        [
            ".. js:function:: offsetOf(cursor)",
            "",
            '   The number of an event within its channel: 1043 for "5f3a.1043".',
            "",
            "   :param cursor:",
            "   :type cursor: ``string``",
            "",
            "",
            ".. js:type:: State",
            "",
            "   Of a follow: no stream yet, or between two, or paused; catching up; up to date; over.",
            "",
            "   .. code-block:: text",
            "",
            '      type State = "connecting" | "behind" | "live" | "gone"',
        ]
    )


@pytest.mark.parametrize(
    ("source", "trouble"),
    [
        ("export function nothing() {}\n", "nothing has no comment"),
        (
            "/** Some. */\nexport class Some {\n  /** One. */\n  one() {}\n  other() {}\n}\n",
            "Some.other has no comment",
        ),
        ("export { one };\n", "exports one, and imports it from nowhere"),
        ("/** @param {{a: string} one */\nexport function a(one) {}\n", "a type that has no end"),
        ("/** @param {string} */\nexport function a(one) {}\n", "@param without a name"),
    ],
)
def test_what_is_public_and_says_nothing_is_an_error(
    jsdoc: Any, source: str, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some.js").write_text(source)
    monkeypatch.setitem(jsdoc.ENTRIES, trouble, tmp_path / "some.js")
    with pytest.raises(ValueError, match=re.escape(trouble)):
        jsdoc.public(trouble)
