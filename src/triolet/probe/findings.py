"""What was looked at, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from ..client.choice import Transport

__all__ = ["CHECKS", "Check", "Fault", "Finding", "Heard", "Report", "broken", "unknown", "well"]

Check = Literal[
    "server",
    "http version",
    "websocket",
    "sse",
    "compression",
    "long poll",
    "silence",
    "cache",
    "last-event-id",
    "origin",
    "cors",
]
"""What is looked at, in the order in which it is told."""

CHECKS: Final[tuple[Check, ...]] = Check.__args__  # type: ignore[attr-defined]  # of a Literal, which typeshed hides

Fault = Literal[
    "upgrade",
    "http/1.0",
    "buffering",
    "compression",
    "idle",
    "cache",
    "last-event-id",
    "origin",
    "cors",
    "unlisted origin",
    "refused",
]
"""What may be broken. For each there is a cure, but for ``refused``: its status says what it was."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at.

    Attributes:
        check: what.
        state: ``ok``, ``broken``, or ``unknown`` where it could not be told.
        says: what was seen, in a sentence.
        fault: what is broken.
    """

    check: Check
    state: Literal["ok", "broken", "unknown"]
    says: str
    fault: Fault | None = None


class Report(msgspec.Struct, frozen=True):
    """What was found between here and a channel's URL.

    Attributes:
        url: the channel's.
        seconds: how long it took.
        proxy: the last proxy on the way, where an answer's headers name one that is known here.
        findings: in the order of :data:`CHECKS`.
        transports: of each whether it works.
        chosen: the transport that Triolet's clients would choose.
    """

    url: str
    seconds: float
    proxy: str | None
    findings: list[Finding]
    transports: Mapping[Transport, bool]
    chosen: Transport

    @property
    def faults(self) -> list[Fault]:
        """What is broken, each once, in the order in which it was found."""
        return list(dict.fromkeys(finding.fault for finding in self.findings if finding.fault is not None))

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.faults


class Heard(NamedTuple):
    """What came over one transport.

    Attributes:
        works: whether what the server says at once has come in time.
        cut: where the way was cut: after how many seconds, and how many of these were silent.
        quiet: the longest silence, in seconds, that was followed by a word.
    """

    works: bool
    cut: tuple[float, float] | None = None
    quiet: float = 0.0


def well(check: Check, says: str) -> Finding:
    """A finding that all is well."""
    return Finding(check, "ok", says)


def broken(check: Check, fault: Fault, says: str) -> Finding:
    """A finding that something is broken."""
    return Finding(check, "broken", says, fault)


def unknown(check: Check, says: str) -> Finding:
    """A finding that it could not be told."""
    return Finding(check, "unknown", says)
