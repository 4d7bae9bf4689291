"""The app that others publish to: it only serves. As ``triolet serve publishing.app:app``."""

from __future__ import annotations

import os

from quart_trio import QuartTrio

from triolet import Triolet

__all__ = ["app", "live"]

app = QuartTrio(__name__)
live = Triolet(app, log=os.environ["E2E_LOG"])


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"
