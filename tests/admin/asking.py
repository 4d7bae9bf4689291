"""The operator's listener in memory: a request over a pair of streams, and its answer."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import trio
from trio.testing import memory_stream_pair

from triolet.admin.alone import Alone
from triolet.admin.contract import Staff
from triolet.admin.guard import Guard, Key
from triolet.admin.listener import Office
from triolet.server.worker import Worker

KEY = "0123456789abcdef"
NDJSON = "application/x-ndjson"


class Told(NamedTuple):
    """An answer: its status, its headers by name in lower case, its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def office(staff: Staff | Worker, key: str = "") -> Office:
    """A listener on the loopback, without a key where none is given."""
    asked = Alone(staff) if isinstance(staff, Worker) else staff
    return Office(asked, Guard(Key(None, {"TRIOLET_ADMIN_KEY": key})))


async def raw(asked: Office, request: bytes) -> bytes:
    """Send bytes, and read all that is answered."""
    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.serve, server)
        await client.send_all(request)
        return b"".join([bytes(part) async for part in client])


def read(answer: bytes) -> Told:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return Told(int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body)


async def ask(asked: Office, method: str, path: str, body: bytes | Any = b"", kind: str = "", **headers: str) -> Told:
    """Ask once. A body that is no bytes is sent as JSON. Of a header's name an underscore is a hyphen."""
    if not isinstance(body, bytes):
        body, kind = json.dumps(body).encode(), kind or "application/json"
    said = {"host": "localhost:9100", **{name.replace("_", "-"): text for name, text in headers.items()}}
    if kind:
        said["content-type"] = kind
    if body:
        said["content-length"] = str(len(body))
    lines = "".join(f"{name}: {text}\r\n" for name, text in said.items())
    return read(await raw(asked, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body))


async def get(asked: Office, path: str, **headers: str) -> Told:
    return await ask(asked, "GET", path, **headers)
