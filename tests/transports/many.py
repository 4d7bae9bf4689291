"""The shop as it is asked for many channels at once."""

from __future__ import annotations

from quart_trio import QuartTrio

from tests.shop import make_shop
from triolet import Limits, Triolet
from triolet.log import MemoryLog
from triolet.testing.clients import POLLS

__all__ = ["SECRET", "WAYS", "A", "B", "C", "asked", "shop"]

WAYS = ("sse", *POLLS)
A, B, C = "/orders/A/events", "/orders/B/events", "/orders/C/events"
SECRET = "/orders/secret/events"


def shop(limits: Limits | None = None) -> tuple[QuartTrio, Triolet]:
    return make_shop(limits, log=MemoryLog(limits, epoch="e"))


def asked(*urls: str, **more: str) -> str:
    named = [f"follow={url}" for url in urls] + [f"{name}={text}" for name, text in more.items()]
    return f"/live?{'&'.join(named)}"
