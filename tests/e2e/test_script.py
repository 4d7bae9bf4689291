"""The page's client, ``triolet.js``, in Node: dialogues with fakes, no socket, no waiting."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

from tests.pages import kept
from triolet import Limits
from triolet.bounds import FOLLOW_URL_CHARACTERS, NAME_CHARACTERS, PLACE_CHARACTERS
from triolet.client.bounds import CLIENT_GATHER_SECONDS, CLIENT_MANY_CHARACTERS
from triolet.closing import CATALOGUE, NORMAL

from .needs import NODE_MODULES, needs, program

SCRIPT = Path(__file__).parent / "script"
ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src" / "triolet" / "static"


@needs("node")
def test_the_pages_client_keeps_its_word() -> None:
    command = [program("node"), "--test", "--test-reporter=spec", *map(str, sorted(SCRIPT.glob("*.test.mjs")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]


@needs("node", "npm:esbuild")
def test_what_a_page_is_given_of_the_package_is_small() -> None:
    """Bundled and minified as an app's build does it, with what only some pages need left in files of their own."""
    names = set(re.findall(r'= (?:await )?import\("\./(\w+\.js)"\)', sources()))
    late = [f"--external:./{name}" for name in sorted(names)]
    assert len(late) == 7
    bundle = [str(NODE_MODULES / ".bin" / "esbuild"), "--bundle", "--minify", "--format=esm", *late]
    given = f'export {{ connect }} from "{STATIC / "triolet.js"}";'
    done = subprocess.run(bundle, input=given.encode(), capture_output=True, check=True)
    assert len(gzip.compress(done.stdout, 9, mtime=0)) <= 14 * 1024


def sources() -> str:
    return "".join(path.read_text() for path in STATIC.glob("*.js"))


def test_the_pages_client_has_the_catalogue_of_closings() -> None:
    """But a 1000 without a bye is somebody on the way who tidies up: our server says bye first."""
    found = re.search(r"FINAL_CODES = new Set\(\[([\d, ]+)\]\)", (STATIC / "transports.js").read_text())
    assert found is not None
    final = {closing.code for closing in CATALOGUE if closing.retry is None} - {NORMAL.code}
    assert {int(code) for code in found[1].split(",")} == final


def test_the_pages_client_writes_no_markup_and_evaluates_nothing() -> None:
    for script in [*STATIC.glob("*.js"), *ROOT.glob("examples/*/static/*.js")]:
        forbidden = re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script.read_text()
        )
        assert forbidden is None, f"{script.name}: {forbidden}"


@needs("node")
def test_the_tests_that_the_documentation_shows_pass(tmp_path: Path) -> None:
    """As a reader has them: with the package among the others of a project."""
    shutil.copytree(STATIC, tmp_path / "node_modules" / "triolet-client")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for path in kept("pages").glob("*.js"):
        shutil.copy(path, tmp_path)
    command = [program("node"), "--test", "--test-reporter=spec", "order.test.js"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    assert "pass 9" in done.stdout


def numbers_in(*names: str) -> dict[str, int]:
    """The constants of some scripts."""
    source = "".join((STATIC / name).read_text() for name in names)
    found = re.findall(r"^const ([A-Z_]+) = ([\d_]+);", source, re.MULTILINE)
    return {name: int(text.replace("_", "")) for name, text in found}


def test_what_the_pages_follows_share_has_the_bounds_of_the_python_clients() -> None:
    assert numbers_in("bundle.js") == {
        "GATHER": CLIENT_GATHER_SECONDS * 1_000,
        "LONGEST": FOLLOW_URL_CHARACTERS,
        "LONGEST_TOGETHER": CLIENT_MANY_CHARACTERS,
        "PLACE": PLACE_CHARACTERS,
    }


def test_the_fake_server_has_the_bounds_of_the_real_one() -> None:
    found = numbers_in("fake-connection.js", "fake-poll.js", "fake-many.js")
    limits = Limits()
    assert {name: found[name] for name in ("BEAT", "WARNING", "POLL_RETRY")} == {
        "BEAT": limits.beat_seconds * 1_000,
        "WARNING": limits.expiry_warning_seconds * 1_000,
        "POLL_RETRY": limits.poll_seconds * 1_000,
    }
    assert (found["LONGEST_WAIT"], found["PAGE"]) == (limits.wait_seconds, limits.page_events)
    assert found["FOLLOWS"] == limits.follows
    assert f"keep = {limits.keep_events:_}" in (STATIC / "fake.js").read_text()
    assert f"NAME_CHARACTERS = {NAME_CHARACTERS};" in (STATIC / "fake-log.js").read_text()
