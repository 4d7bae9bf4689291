"""A ticker: real prices of five shares, month by month, at the pace you choose, drawn as they come."""

import os
from pathlib import Path
from typing import Any

import trio
from prices import NAMES, read_months
from quart import Response, abort, request
from quart_trio import QuartTrio

from triolet import LogError, Triolet, policies

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
FASTEST, LAST_LOOK = 40.0, 24  # months a second; months that a finished chart stands still
MONTHS = read_months()
FIRST_MONTH = {symbol: next(at for at, (_, prices) in enumerate(MONTHS) if symbol in prices) for symbol in NAMES}

app = QuartTrio(__name__)
app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0  # or browsers keep pages and scripts for twelve hours
database = Path(os.environ.get("TICKER_DB") or Path(__file__).with_name("ticker.db")).resolve()
live = Triolet(app, log=f"sqlite:///{database}")
live.socket("/ticker")
a_month = trio.Lock()  # held while the prices of a month are published


class Pace:
    """How many months pass in a second: 0 stops the clock. A change is heard at once."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._changed = trio.Event()

    def set(self, rate: float) -> None:
        self.rate = rate
        self._changed.set()
        self._changed = trio.Event()

    async def month(self) -> None:
        """Wait until the next month is due."""
        began = trio.current_time()
        while True:
            due = began + 1 / self.rate if self.rate else float("inf")
            with trio.move_on_at(due):
                await self._changed.wait()
                continue
            return


pace = Pace(float(os.environ.get("TICKER_RATE") or 4))


@live.channel("/stocks/<symbol>/events")
@live.channel("/stocks/<symbol>/latest", endpoint="latest_price", policy=policies.latest(events=3))
async def share_prices(symbol: str) -> str:
    """The prices of one share: all of them; or the newest, for a client of its box that has missed more than three."""
    if symbol not in NAMES:
        abort(404)
    return f"stocks/{symbol}"


@app.before_serving
async def start() -> None:
    app.nursery.start_soon(publish_prices)


async def publish_prices() -> None:
    """Publish one month after another, for ever; after the last month of a round comes the first of the next.

    The log itself says where to go on. Killed between two shares of a month, a server publishes that month again:
    ``dedupe`` lets through what is missing, and nothing twice.
    """
    step = max(0, (await live.log.head("stocks/MSFT")).offset - 1)
    while True:
        lap, at = divmod(step, len(MONTHS))
        date, prices = MONTHS[at]
        try:
            async with a_month:
                for symbol, price in prices.items():
                    data = {"date": date, "price": price, "lap": lap}
                    await live.publish(f"stocks/{symbol}", data, name="price", key=symbol, dedupe=f"{lap}:{date}")
        except LogError as error:
            app.logger.error("a price could not be published, trying again: %s", error)
            await trio.sleep(1)
            continue
        step += 1
        for _ in range(LAST_LOOK if at == len(MONTHS) - 1 else 1):
            await pace.month()


@app.get("/")
async def index() -> Response:
    return await app.send_static_file("index.html")


@app.get("/state")
async def state() -> Any:
    """The shares, each with the cursors before the present round and before its newest price, and the pace."""
    shares = []
    for symbol, name in NAMES.items():
        head = await live.log.head(f"stocks/{symbol}")
        length = len(MONTHS) - FIRST_MONTH[symbol]
        begin = (head.offset - 1) // length * length if head.offset else 0
        first = MONTHS[FIRST_MONTH[symbol]][0] if FIRST_MONTH[symbol] else None
        after, newest = f"{head.epoch}.{begin}", f"{head.epoch}.{max(0, head.offset - 1)}"
        shares.append({"symbol": symbol, "name": name, "first": first, "after": after, "newest": newest})
    return {"shares": shares, "months": [date for date, _ in MONTHS], "rate": pace.rate, "fastest": FASTEST}


@app.post("/rate")
async def change_rate() -> Any:
    """``?value=8``: eight months a second from now on; 0 stops."""
    rate = request.args.get("value", type=float)
    if rate is None or not 0 <= rate <= FASTEST:
        return {"error": "rate", "message": f"a number from 0 to {FASTEST:g}"}, 400
    async with a_month:  # the pace changes between two months: a stop leaves all shares at the same one
        pace.set(rate)
    return {"rate": rate}


@app.after_request
async def harden(response: Response) -> Response:
    response.headers.update({"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})
    return response
