"""The declarations of the npm package for TypeScript, as tsc makes them from the JSDoc of its sources.

They are committed, in a folder of their own beside the sources. So a clone, the wheel, and what ``npm pack`` makes of
either have them without TypeScript, and a change of the public face is seen in a diff. ``make types`` writes them anew;
a test fails while they are old.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from .needs import NODE_MODULES, program

__all__ = ["ENTRIES", "STATIC", "TYPES", "declarations", "tsc"]

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src" / "triolet" / "static"
TYPES = STATIC / "types"
PROJECT = Path(__file__).parent / "types" / "tsconfig.json"

ENTRIES = [
    Path(target["default"]).stem
    for target in json.loads((STATIC / "package.json").read_text(encoding="utf-8"))["exports"].values()
    if isinstance(target, dict)
]
"""The files that the package gives, without their ending."""

SHAPES = 'export type * from "./api.js";\n'
"""Types of the first entry that its script has no reason to name: JSDoc knows no way to give them on."""

IDLE = re.compile(
    r"^/\*\*(?:\n \*)? @import .*(?:\n \* @import .*)*(?:\n)? \*/\n|^import \"\./[\w-]+\.js\";\n", re.MULTILINE
)
"""What declares nothing: a comment whose names are imported above it, and the import of a file for what it does."""

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
NAMED = re.compile(r"""["']\./([\w-]+)\.js["']""")


def tsc(*arguments: str, folder: Path = ROOT, version: str = "typescript") -> subprocess.CompletedProcess[str]:
    """Run TypeScript's compiler, of one of its npm packages, and return what it said."""
    command = [program("node"), str(NODE_MODULES / version / "bin" / "tsc"), "--pretty", "false", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def declarations() -> dict[str, str]:
    """Return the declarations of all that is exported, and of what they name, by file.

    Raises:
        AssertionError: the sources have errors, which it shows.
    """
    with TemporaryDirectory() as folder:
        done = tsc("--project", str(PROJECT), "--outDir", folder)
        assert done.returncode == 0, done.stdout
        made = {path.name: IDLE.sub("", path.read_text(encoding="utf-8")) for path in Path(folder).glob("*.d.ts")}
    made[f"{ENTRIES[0]}.d.ts"] += SHAPES
    wanted = [f"{entry}.d.ts" for entry in ENTRIES]
    for name in wanted:  # it grows as we go
        named = [f"{found}.d.ts" for found in NAMED.findall(COMMENT.sub("", made[name]))]
        wanted += [one for one in dict.fromkeys(named) if one not in wanted]
    return {name: made[name] for name in sorted(wanted)}


def main() -> None:
    """Write them."""
    made = declarations()
    TYPES.mkdir(exist_ok=True)
    for old in TYPES.glob("*.d.ts"):
        old.unlink()
    for name, text in made.items():
        (TYPES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
