"""An auction: a page shows a lot's highest bid, and then every bid as it is made."""

from typing import Any

import trio
from quart_trio import QuartTrio

from triolet import EventLog, LogError, Triolet, policies


def make_app(log: str | EventLog = "memory:") -> QuartTrio:
    app = QuartTrio(__name__)
    live = Triolet(app, log=log)
    highest: dict[str, int] = {}
    bidding = trio.Lock()

    @live.channel("/lots/<lot>/bids", policy=policies.skip(events=100))
    async def bids(lot: str) -> str:
        return f"lots/{lot}"

    @app.post("/lots/<lot>/bids/<int:amount>")
    async def bid(lot: str, amount: int) -> Any:
        async with bidding:
            if amount <= highest.get(lot, 0):
                return {"error": "bid more"}, 409
            try:
                await live.publish(f"lots/{lot}", {"amount": amount}, name="bid")
            except LogError:
                return {"error": "try again"}, 503
            highest[lot] = amount
        return {"highest": amount}

    @app.get("/lots/<lot>")
    async def show(lot: str) -> Any:
        async with bidding:  # what changes together is read together
            amount = highest.get(lot, 0)
            cursor = await live.log.head(f"lots/{lot}")
        return {"highest": amount, "cursor": str(cursor)}

    return app
