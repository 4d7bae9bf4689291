"""Triolet's side: a command that publishes one event and answers. The log is that of ``COMMANDS_LOG``."""

import os
from typing import Any

from quart_trio import QuartTrio

from triolet import Command, Triolet

app = QuartTrio(__name__)
live = Triolet(app, log=os.environ["COMMANDS_LOG"])
live.socket("/live")


@live.command("/orders/<order_id>/pick")
async def pick(order_id: str, command: Command) -> dict[str, Any]:
    await command.publish(f"orders/{order_id}", {"state": "packed"}, name="order-status")
    return {"picked": order_id}
