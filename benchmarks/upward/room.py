"""The chat's messages: what a client says, and the event that the peers make of it, as large as Triolet's."""

from __future__ import annotations

import itertools
import json
import time

from benchmarks.fanout.payload import SIZE

__all__ = ["event", "said"]

_numbers = itertools.count(1)


def said(size: int = SIZE) -> bytes:
    """What a client says, so that the event fills ``size`` bytes on the wire; with room for the time."""
    bare = len(event(_message(""))) + 4
    return _message("x" * (size - bare)).encode()


def event(message: str) -> str:
    """The event of a message."""
    data = json.dumps(json.loads(message)["data"], separators=(",", ":"))
    cursor, now = f"0123abcd.{next(_numbers):04d}", time.time_ns() // 1_000_000
    return f'{{"type":"event","channel":"room","id":"{cursor}","event":"message","data":{data},"time":{now}}}'


def _message(pad: str) -> str:
    return f'{{"type":"message","data":{{"t":{" " * 18}0,"pad":"{pad}"}}}}'
