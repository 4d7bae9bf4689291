"""The path to a server that is made of a file: its channels ask a callback, which stands for the table's app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.paths.app import LIMITS, add_the_rest
from tests.standalone.made import Backend, made
from triolet import Limits
from triolet.testing.server import MemoryServer

__all__ = ["serve_standalone"]

FILE = """
socket = "/many"
[callback]
url = "http://backend.example/may"
[[channels]]
url = "/cells/<cell>/events"
channel = "cells/{cell}"
follow = "callback"
presence = "/cells/<cell>/presence"
[limits]
"""


class CellsBackend(Backend):
    """Says of each cell what the table's app says."""

    def __init__(self) -> None:
        super().__init__()
        self.says = self._says_of_a_cell

    async def _says_of_a_cell(self) -> dict[str, Any]:
        if self.last["values"]["cell"] == "forbidden":
            return {"allow": False}
        (name,) = parse_qs(urlsplit(self.last["url"]).query).get("as", [None])
        return {"allow": True, "subject": name}


@asynccontextmanager
async def serve_standalone() -> AsyncIterator[MemoryServer]:
    """Serve it, with what else the dialogues need: it is an app as any other."""
    changed = {field.name: getattr(LIMITS, field.name) for field in fields(Limits) if field.name != "keep"}
    text = FILE + "".join(f"{name} = {value}\n" for name, value in changed.items())
    with TemporaryDirectory() as folder:
        async with made(Path(folder), text, CellsBackend(), add_the_rest) as server:
            yield server
