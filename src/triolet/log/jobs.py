"""What a log is asked to store, as it waits: for logs that store together what waits together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from ..event import Draft

__all__ = ["Append", "Claim", "Commit", "Delete", "Job", "Release", "Writes", "weight_of", "writes_of"]

Writes: TypeAlias = Sequence[tuple[str, Sequence[Draft]]]
"""Channels, and what is to be appended to each."""


class Append(NamedTuple):
    """A call of ``append``: all of its drafts are stored, or none."""

    channel: str
    drafts: Sequence[Draft]


class Delete(NamedTuple):
    """A call of ``delete``."""

    channel: str


class Claim(NamedTuple):
    """A call of ``claim``."""

    key: bytes
    print: bytes
    holder: bytes
    seconds: float


class Commit(NamedTuple):
    """A call of ``commit``: all of its events and the answer are stored, or nothing."""

    key: bytes
    holder: bytes
    answer: bytes
    seconds: float
    writes: Writes


class Release(NamedTuple):
    """A call of ``release``."""

    key: bytes
    holder: bytes


Job: TypeAlias = Append | Claim | Commit | Delete | Release
"""One of them."""


def writes_of(job: Job) -> Writes:
    """Return what a job appends."""
    if isinstance(job, Append):
        return ((job.channel, job.drafts),)
    return job.writes if isinstance(job, Commit) else ()


def weight_of(job: Job) -> tuple[int, int]:
    """Return how much a job is: its drafts (one at least), and the bytes of data that it stores."""
    writes = writes_of(job)
    size = len(job.answer) if isinstance(job, Commit) else 0
    for _, drafts in writes:
        size += sum([len(draft.json) for draft in drafts])
    return max(1, sum([len(drafts) for _, drafts in writes])), size
