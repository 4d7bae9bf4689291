"""Plays the cases of this folder against an adapter. Standard library only; see README.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
GROUPS = (
    ("connect",),
    ("say",),
    ("post",),
    ("event", "end", "snapshot", "gap", "message"),
    ("fault",),
    ("tell",),
    ("untold",),
    ("state", "gone"),
    ("reply",),
    ("left",),
)
"""Within which order counts."""

Step = dict[str, Any]


class Failed(Exception):
    """The client did something else."""


def cases(only: str = "") -> Iterator[tuple[str, Step]]:
    """Every case on each of its transports, with its name."""
    for path in sorted(HERE.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            listed = case["transport"]
            for transport in [listed] if isinstance(listed, str) else listed:
                name = f"{path.stem}: {case['name']} ({transport})"
                if only in name:
                    yield name, {**case, "transport": transport}


def play(case: Step) -> Generator[Step, list[Step], None]:
    """A case as a dialogue: it yields what happens to the client, and is sent what the client did.

    Raises:
        Failed: that was something else.
    """
    known: dict[str, Any] = {}
    states: dict[Any, str] = {}
    yield {"begin": {"transport": case["transport"], "options": {"random": 0.5, **case.get("options", {})}}}
    steps = case["steps"]
    at = 0
    while at < len(steps):
        done = yield _filled(steps[at], known)
        at += 1
        expected = []
        while at < len(steps) and "did" in steps[at]:
            expected.append(steps[at])
            at += 1
        done = [step for step in done if _is_news(step, states)]
        _compare(expected, done, known, f"after step {at - len(expected)}, {json.dumps(steps[at - len(expected) - 1])}")


def _compare(expected: list[Step], done: list[Step], known: dict[str, Any], where: str) -> None:
    for group in GROUPS:
        wanted = [step for step in expected if step["did"] in group]
        found = [step for step in done if step["did"] in group]
        if group == ("left",):
            found = [step for step in found if any(_matches(want, step, dict(known)) for want in wanted)]
        if all("as" in step for step in wanted):  # one follow's order says nothing of another's
            wanted, found = (sorted(steps, key=lambda step: str(step.get("as"))) for steps in (wanted, found))
        if all("follows" in step for step in wanted):  # nor one stream's of another's
            wanted, found = (sorted(steps, key=lambda step: str(step.get("follows"))) for steps in (wanted, found))
        fits = len(wanted) == len(found) and all(
            _matches(want, step, known) for want, step in zip(wanted, found, strict=True)
        )
        if not fits:
            raise Failed(f"{where}\n  expected {_told(wanted)}\n  but came {_told(found)}\n  of all   {_told(done)}")


def _is_news(step: Step, states: dict[Any, str]) -> bool:
    """Whether it counts: not an ack, and not a state as it was."""
    if step["did"] != "state":
        return not (step["did"] == "say" and step.get("type") == "ack")
    before = states.get(step.get("as"), "connecting")
    states[step.get("as")] = step["state"]
    return bool(step["state"] != before)


def _matches(want: Any, found: Any, known: dict[str, Any]) -> bool:
    if isinstance(want, dict):
        return isinstance(found, dict) and all(_matches(want[key], found.get(key), known) for key in want)
    if isinstance(want, list):
        same = isinstance(found, list) and len(want) == len(found)
        return same and all(_matches(one, other, known) for one, other in zip(want, found, strict=True))
    if isinstance(want, str) and want.startswith("$"):
        return bool(known.setdefault(want, found) == found) and found is not None
    return bool(want == found)


def _filled(step: Any, known: dict[str, Any]) -> Any:
    if isinstance(step, dict):
        return {_filled(key, known): _filled(value, known) for key, value in step.items()}
    if isinstance(step, list):
        return [_filled(value, known) for value in step]
    return known.get(step, step) if isinstance(step, str) else step


def _told(steps: list[Step]) -> str:
    return ", ".join(map(json.dumps, steps)) or "nothing"


class Adapter:
    """A program that plays the client."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, step: Step) -> list[Step]:
        """Let something happen, and return what the client did."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        done: list[Step] = []
        for line in self._process.stdout:
            said = json.loads(line)
            if said.get("idle"):
                return done
            done.append(said)
        raise Failed(f"the adapter has ended: {done}")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def run(adapter: Adapter, case: Step) -> None:
    """Play one case. Raises Failed."""
    dialogue = play(case)
    step = next(dialogue)
    while True:
        done = adapter.do(step)
        try:
            step = dialogue.send(done)
        except StopIteration:
            break
    adapter.do({"end": True})


def main() -> int:
    """Run the command. Returns the exit code: how many cases failed, 100 at most."""
    parser = argparse.ArgumentParser(description="Play the conformance cases against an adapter.")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their names")
    parser.add_argument("adapter", nargs="+", help="the adapter's command")
    options = parser.parse_args()
    adapter, failed, played = Adapter(options.adapter), 0, 0
    for name, case in cases(options.only):
        played += 1
        try:
            run(adapter, case)
        except Failed as error:
            failed += 1
            sys.stdout.write(f"FAILED {name}\n  {error}\n")
            adapter.close()
            adapter = Adapter(options.adapter)
    adapter.close()
    sys.stdout.write(f"{played} played, {failed} failed\n")
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
