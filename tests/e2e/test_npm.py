"""The npm package, as users get it: what is in it, and that an app can import it, shake it and have its types."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from .declaring import ENTRIES, STATIC, TYPES, declarations, tsc
from .needs import NODE_MODULES, needs, program

ROOT = Path(__file__).parents[2]
PACKAGE = json.loads((STATIC / "package.json").read_text(encoding="utf-8"))
EXAMPLES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (Path(__file__).parent / "types").iterdir()
    if path.suffix != ".json"
}

RESOLUTIONS = {
    "bundler": {"module": "esnext", "moduleResolution": "bundler"},
    "node16": {"module": "node16", "moduleResolution": "node16"},
    "nodenext": {"module": "nodenext", "moduleResolution": "nodenext"},
}
"""How TypeScript may be told to look for packages."""

EXPECTED = re.compile(r"// @ts-expect-error (\d+): ")


def run(*command: str, folder: Path, given: str | None = None) -> str:
    """Run a program, and return what it said."""
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """What ``npm pack`` makes of the folder, and the names of the files in it."""
    folder = tmp_path_factory.mktemp("packed")
    said = json.loads(run(program("npm"), "pack", str(STATIC), "--json", "--ignore-scripts", folder=folder))
    [made] = said if isinstance(said, list) else said.values()
    return folder / made["filename"], {file["path"] for file in made["files"]}


@pytest.fixture(scope="module")
def app(packed: tuple[Path, set[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app's folder, where the package is installed: without a network, so it needs nothing else."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "package.json").write_text('{"name": "app", "private": true, "type": "module"}')
    install = (program("npm"), "install", str(packed[0]), "--offline", "--no-audit", "--no-fund", "--ignore-scripts")
    run(*install, folder=folder)
    for peer in (*PACKAGE["peerDependencies"], "@types/react"):
        (folder / "node_modules" / peer).parent.mkdir(exist_ok=True)
        (folder / "node_modules" / peer).symlink_to(NODE_MODULES / peer)
    return folder


def check(
    app: Path, sources: dict[str, str], resolution: str = "bundler", version: str = "typescript", **more: Any
) -> list[str]:
    """TypeScript's errors in these files of an app."""
    folder = app / "sources"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    options = {"strict": True, "noEmit": True, "target": "es2022", "types": [], "jsx": "react-jsx"}
    options |= {"skipDefaultLibCheck": True}  # TypeScript's own declarations; of ours and React's all are checked
    options |= RESOLUTIONS[resolution] | more
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": list(sources)}))
    done = tsc("--project", str(folder), folder=folder, version=version)
    assert (done.returncode == 0) is (not done.stdout), done.stdout + done.stderr
    return done.stdout.splitlines()


# --- what is in it


@needs("node", "npm")
def test_the_package_holds_its_scripts_their_types_and_papers_alone(packed: tuple[Path, set[str]]) -> None:
    scripts = {path.name for path in STATIC.glob("*.js")}
    types = {f"types/{path.name}" for path in TYPES.glob("*.d.ts")}
    assert packed[1] == scripts | types | {"package.json", "README.md", "LICENSE"}
    assert {path.name for path in STATIC.iterdir()} == scripts | {"types", "package.json", "README.md", "LICENSE"}


def test_the_package_has_the_servers_name_version_and_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (PACKAGE["name"], PACKAGE["version"]) == ("triolet-client", project["version"])
    assert PACKAGE["license"] == project["license"]
    assert (STATIC / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@needs("node", "npm:typescript")
def test_the_declarations_are_what_typescript_makes_of_the_sources() -> None:
    """Which it finds to be without an error, all of them, by its strict rules."""
    found = {path.name: path.read_text(encoding="utf-8") for path in TYPES.iterdir()}
    assert found == declarations(), "`make types` makes them anew"


# --- an app that imports it


@needs("node", "npm", "npm:react")
@pytest.mark.parametrize("entry", ENTRIES)
def test_node_imports_what_the_package_says_that_it_gives(app: Path, entry: str) -> None:
    name = PACKAGE["name"] + ("" if entry == ENTRIES[0] else f"/{entry}")
    code = f'import("{name}").then((all) => console.log(JSON.stringify(Object.keys(all))))'
    names = json.loads(run(program("node"), "--input-type=module", "-e", code, folder=app))
    declared = (TYPES / f"{entry}.d.ts").read_text(encoding="utf-8")
    exported = re.findall(r"^export (?:declare )?(?:class|function|const) (\w+)", declared, re.MULTILINE)
    again = ",".join(re.findall(r"^export \{([^}]*)\};", declared, re.MULTILINE)).split(",")
    assert set(names) == {*exported, *filter(None, map(str.strip, again))}


@needs("node", "npm", "npm:esbuild")
@pytest.mark.parametrize(
    ("given", "most"),
    [
        ('import "triolet-client";', 0),
        ('import { offsetOf } from "triolet-client"; console.log(offsetOf("a.1"));', 200),
        ('import { EventStreamParser } from "triolet-client"; console.log(new EventStreamParser());', 2_000),
    ],
    ids=["nothing", "a function", "a class"],
)
def test_a_bundler_leaves_out_what_an_app_does_not_use(app: Path, given: str, most: int) -> None:
    command = (str(NODE_MODULES / ".bin" / "esbuild"), "--bundle", "--minify", "--format=esm", "--log-level=error")
    assert len(run(*command, folder=app, given=given)) <= most


# --- its types


@needs("node", "npm", "npm:typescript", "npm:typescript-5", "npm:@types/react")
@pytest.mark.parametrize("version", ["typescript", "typescript-5"], ids=["the newest", "the oldest"])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_what_an_app_may_write_compiles_and_nothing_that_it_may_not(app: Path, resolution: str, version: str) -> None:
    """Of what is bad each line that it says must not compile does not: were there one, TypeScript would say so."""
    assert check(app, EXAMPLES, resolution, version) == []


@needs("node", "npm", "npm:typescript", "npm:@types/react")
@pytest.mark.parametrize("name", sorted(name for name in EXAMPLES if "bad" in name))
def test_what_must_not_compile_does_not_for_the_reason_that_is_given(app: Path, name: str) -> None:
    lines = EXAMPLES[name].splitlines()
    expected = {place + 2: int(match[1]) for place, line in enumerate(lines) if (match := EXPECTED.search(line))}
    found = check(app, {name: "\n".join(EXPECTED.sub("// ", line) for line in lines)})
    errors = [re.match(r"\w+\.tsx?\((\d+),\d+\): error TS(\d+):", line) for line in found if not line.startswith(" ")]
    assert {int(error[1]): int(error[2]) for error in errors if error} == expected
    assert len(expected) >= 5


@needs("node", "npm", "npm:typescript")
@pytest.mark.parametrize("paper", ["docs/how-to/pages.rst", "src/triolet/static/README.md"])
def test_the_typescript_that_the_papers_show_compiles(app: Path, paper: str) -> None:
    text = (ROOT / paper).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:ts|typescript)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"^\.\. code-block:: typescript\n\n((?: +.*\n|\n)+)", text, re.MULTILINE)
    assert blocks
    stage = "declare function show(...what: unknown[]): void;\ndeclare function reload(): void;\n"
    assert check(app, {f"block{number}.ts": stage + block for number, block in enumerate(blocks)}) == []


@needs("node", "npm", "npm:typescript")
def test_a_page_that_imports_from_the_server_has_the_types_too(app: Path) -> None:
    code = 'import { connect } from "/triolet/triolet.js";\nexport const state: string = connect().state;\n'
    paths = {"/triolet/*": [str(TYPES / "*")]}
    assert "TS2307" in "".join(check(app, {"page.ts": code}))
    assert check(app, {"page.ts": code}, paths=paths) == []
    wrong = code.replace("string", "number")
    assert "TS2322" in "".join(check(app, {"page.ts": wrong}, paths=paths))
