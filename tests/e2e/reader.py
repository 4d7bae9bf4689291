"""A reader of a page, who does all that it says: puts its files into a folder, types its commands, and compares.

A page is done from top to bottom, as it stands but for the ports:

- ``literalinclude`` or ``code-block`` with a ``:caption:`` that names a file: the file is put there, whole.
  Without a caption it shows a part of a file that is there, or is going to be.
- ``code-block:: console``: each ``$`` line is typed, and says what the page shows below it. What goes on (a server,
  ``curl -N``, ``triolet follow``) has a terminal of its own, and must come to say it.
- ``code-block:: text``: what one of these terminals says next.
- the comment ``.. reader: stops NAME`` (or ``kills``): Ctrl-C (or ``kill -9``) in the newest terminal that runs NAME.
- the comment ``.. not run: REASON``: the block below is not done, for this reason.

In what is shown ``…`` stands for anything; cursors are anybody's, and so are times in milliseconds.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .needs import program
from .ports import free_port
from .server import wait_for

__all__ = ["Block", "Reader", "blocks_of", "reading"]

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
GOES_ON = re.compile(r"\btriolet serve\b(?!.*; echo)|\bcurl -\w*N\b|\btriolet follow\b")
"""What is left running, in a terminal of its own."""
VARIES = re.compile(r"(?<![\w-])[\w-]{8}\.(?P<offset>\d+)\b|\b(?P<time>1[5-9]\d{11})\b|(?P<any>…)")
PORTS = re.compile(r"(?<=127\.0\.0\.1:)\d{4,5}|(?<=localhost:)\d{4,5}|(?<=--admin )\d{4,5}|(?<=--bind )\d{4,5}")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


@dataclass
class Block:
    """A thing to be done.

    Attributes:
        kind: ``file``, ``part``, ``console``, ``text``, or ``reader``: what the page's comment says.
        name: of a file, and of what a comment says.
        text: what stands in it, or where it is.
        line: of the page.
        skipped: why it is not done, where it is not.
    """

    kind: str
    name: str
    text: str
    line: int
    skipped: str = ""


def blocks_of(page: Path) -> list[Block]:
    """All that a page shows, in order. A block that nobody would do is an error."""
    found, reason = [], ""
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        comment = re.fullmatch(r"\.\. (reader|not run): (.+)", line)
        directive = re.fullmatch(r" *\.\. (literalinclude|code-block|parsed-literal|sourcecode):: *(.*)", line)
        if comment and comment[1] == "not run":
            reason = comment[2]
        elif comment:
            found.append(Block("reader", comment[2], "", number))
        elif directive:
            found.append(_block(page, directive[1], directive[2], _body(lines, number), number, reason))
            reason = ""
        elif line.endswith("::") and not line.lstrip().startswith(".."):
            raise AssertionError(f"{page.name}, line {number}: write a code-block, so that it can be run")
    assert not reason, f"{page.name}: nothing stands below «not run: {reason}»"
    return found


def _body(lines: list[str], after: int) -> list[str]:
    """The lines that belong to a directive, without their indentation."""
    margin = len(lines[after - 1]) - len(lines[after - 1].lstrip()) + 3
    body = []
    for line in lines[after:]:
        if line.strip() and not line.startswith(" " * margin):
            break
        body.append(line[margin:])
    return body


def _block(page: Path, directive: str, argument: str, body: list[str], number: int, reason: str) -> Block:
    options = {}
    while body and (option := re.fullmatch(r":([\w-]+): *(.*)", body[0])):
        options[option[1]] = option[2]
        del body[0]
    caption = options.get("caption", "")
    if directive == "literalinclude":
        source = (page.parent / argument).resolve()
        assert source.is_file(), f"{page.name}, line {number}: there is no {argument}"
        return Block("file" if caption else "part", caption, str(source), number, reason)
    text = "\n".join(body).strip("\n") + "\n"
    if argument in ("console", "text"):
        return Block(argument, "", text, number, reason)
    assert caption or reason, (
        f"{page.name}, line {number}: nobody runs this block; name a file, or say why it is not run"
    )
    return Block("text of a file", caption, text, number, reason)


def pattern_of(shown: str) -> str:
    """A regular expression for what a page shows."""
    parts, at = [], 0
    for found in VARIES.finditer(shown):
        parts.append(re.escape(shown[at : found.start()]))
        if found["any"]:
            parts.append(r"[\s\S]*?")
        else:
            parts.append(rf"[\w-]{{8}}\.{found['offset']}\b" if found["offset"] else r"\d{13}")
        at = found.end()
    return "".join([*parts, re.escape(shown[at:])])


@dataclass
class Terminal:
    """What runs in a terminal of its own, and what it has said."""

    typed: str
    process: subprocess.Popen[bytes]
    output: Path
    read: int = 0
    interrupted: bool = field(default=False)

    @property
    def text(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def says(self, shown: str) -> bool:
        """Whether it has said this, after what it was found to have said before."""
        found = re.compile(pattern_of(shown.strip())).search(self.text, self.read)
        if found:
            self.read = found.end()
        return found is not None

    def send(self, number: signal.Signals) -> int:
        """Send a signal to all that runs there, and wait for its end; return the exit code."""
        self.interrupted = True
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        return self.process.wait(30)


class Reader:
    """Somebody who does what a page says, in a folder of his own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.terminals: list[Terminal] = []
        self.ports: dict[str, str] = {}
        self.ended_badly: list[str] = []
        path = os.pathsep.join([str(_scripts(folder.parent)), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
        python = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": python, "COLUMNS": "80", **environment}

    def do(self, block: Block) -> None:
        """Do what a block says; raise AssertionError where it does not come out as shown."""
        match block.kind:
            case "file":
                target = self.folder / block.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(block.text, target)
            case "text of a file":
                (self.folder / block.name).write_text(self._here(block.text), encoding="utf-8")
            case "console":
                for typed, shown in commands(block.text):
                    self.type(typed, shown)
            case "text":
                self._until(self.terminals, block.text)
            case "reader":
                self._act(*block.name.split(" ", 1))

    def type(self, typed: str, shown: str) -> None:
        """Type a line, and compare what it says with what is shown."""
        if typed.startswith("pip install"):
            return check_is_installed(typed)
        line = self._here(typed)
        if "triolet serve" in line and "--bind" not in line and "-m triolet" not in line:
            line = re.sub(r"(triolet serve [\w.:]+)", rf"\1 --bind 127.0.0.1:{self.port('8000')}", line)
        if GOES_ON.search(typed):
            return self._open(line, typed, shown)
        run = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = run.stdout.decode(errors="replace")
        assert run.returncode == 0 or shown, f"$ {typed}\nexit code {run.returncode}\n{said}"
        if shown:
            ok = re.fullmatch(pattern_of(self._here(shown).strip()), said.strip())
            assert ok, f"$ {typed}\nthe page shows:\n{shown}\nit says:\n{said}"
        return None

    def _open(self, line: str, typed: str, shown: str) -> None:
        output = self.folder.parent / f"terminal-{len(self.terminals)}.txt"
        with output.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}" if "=" not in line.split(" ")[0] else line],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        terminal = Terminal(typed, process, output)
        self.terminals.append(terminal)
        waits_for = self._here(shown) if shown else "serving on" if "triolet serve" in typed else ""
        if waits_for:
            self._until([terminal], waits_for)

    def _act(self, what: str, name: str) -> None:
        terminal = next(terminal for terminal in reversed(self.terminals) if name in terminal.typed)
        code = terminal.send({"stops": signal.SIGINT, "kills": signal.SIGKILL}[what])
        if what == "stops" and "triolet serve" in terminal.typed and code != 0:
            self.ended_badly.append(f"{terminal.typed}: exit code {code}\n{terminal.text[-2000:]}")

    def port(self, number: str) -> str:
        """The port of this run that stands for one of the page's."""
        if number not in self.ports:
            self.ports[number] = str(free_port())
        return self.ports[number]

    def _here(self, text: str) -> str:
        return PORTS.sub(lambda port: self.port(port[0]), text)

    def _until(self, terminals: list[Terminal], shown: str) -> None:
        """Wait until one of them says what is shown; not for those that have ended."""
        said = False

        def is_said_or_over() -> bool:
            nonlocal said
            over = all(terminal.process.poll() is not None for terminal in terminals)
            said = any(terminal.says(shown) for terminal in terminals)
            return said or over

        with suppress(AssertionError):
            wait_for(is_said_or_over, "what is shown", START_SECONDS)
        if not said:
            heard = "\n".join(f"$ {terminal.typed}\n{terminal.text[-3000:]}" for terminal in self.terminals)
            raise AssertionError(f"the page shows:\n{shown}\nit says:\n{heard}")

    def leave(self) -> None:
        """Press Ctrl-C everywhere, the newest first; a server must end well."""
        for terminal in reversed(self.terminals):
            if not terminal.interrupted and terminal.process.poll() is None:
                code = terminal.send(signal.SIGINT)
                if "triolet serve" in terminal.typed and code != 0:
                    self.ended_badly.append(f"{terminal.typed}: exit code {code}\n{terminal.text[-2000:]}")
        assert not self.ended_badly, "\n".join(self.ended_badly)


def _scripts(folder: Path) -> Path:
    """The commands of the interpreter that runs the tests, whatever else this machine has of the same names."""
    scripts = folder / "scripts"
    scripts.mkdir(exist_ok=True)
    command = "-c 'import sys, triolet_command; sys.exit(triolet_command.main())'"  # what pip makes of it
    runs = {"triolet": command, "pytest": "-m pytest -p no:cacheprovider", "python": ""}
    for name, module in runs.items():
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return scripts


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console, each with what is shown below it."""
    typed: list[tuple[str, str]] = []
    for line in text.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            typed.append((line.removeprefix("$ "), ""))
        else:
            typed[-1] = (typed[-1][0], f"{typed[-1][1]}{line}\n")
    return typed


def check_is_installed(line: str) -> None:
    """Of a ``pip install``: that the extras of Triolet's exist, and that what else is named is known to our own."""
    known = {re.split(r"[\[<>=~!]", name)[0] for extra in EXTRAS.values() for name in extra}
    for name in shlex.split(line, comments=True)[2:]:
        package, _, extra = name.rstrip("]").partition("[")
        if package == "triolet":
            assert all(one in EXTRAS for one in extra.split(",") if one), line
        else:
            assert package in known, f"{line}: {package} is in no extra of pyproject.toml, so no test has it"


@contextmanager
def reading(folder: Path, **environment: str) -> Iterator[Reader]:
    """A reader for the time of a block; nothing that he has started outlives it."""
    place = folder / "shop"
    place.mkdir()
    program("curl")
    reader = Reader(place, environment)
    try:
        yield reader
        reader.leave()
    finally:
        for terminal in reader.terminals:
            if terminal.process.poll() is None:
                os.killpg(terminal.process.pid, signal.SIGKILL)
                terminal.process.wait()
