"""An auction for members: they come with tokens, are asked again after an hour, and a bid counts once."""

from typing import Any

from quart import abort
from quart_trio import QuartTrio

from triolet import Command, EventLog, Identity, Triolet
from triolet.clock import wall_time

MEMBERS = {"token-of-ann": "ann", "token-of-ben": "ben"}


def make_app(log: str | EventLog = "memory:") -> QuartTrio:
    app = QuartTrio(__name__)
    live = Triolet(app, log=log)
    highest: dict[str, tuple[int, str]] = {}

    @live.identify
    async def identify(token: str | None) -> Identity | None:
        if token not in MEMBERS:
            return None
        return Identity(MEMBERS[token], expires_at=wall_time() + 3600)

    @live.channel("/lots/<lot>/bids")
    async def bids(lot: str) -> str:
        if await live.identity() is None:
            abort(401)
        return f"lots/{lot}"

    @live.command("/lots/<lot>/bid")
    async def bid(lot: str, command: Command) -> Any:
        if command.identity is None:
            abort(401)
        amount, (best, bid_by) = command.data["amount"], highest.get(lot, (0, ""))
        if amount <= best and bid_by != command.id:  # else it is this very bid, asked for again
            return {"error": "bid more"}, 409
        highest[lot] = amount, command.id
        await command.publish(f"lots/{lot}", {"amount": amount, "by": command.identity.subject}, name="bid")
        return {"highest": amount}

    return app
