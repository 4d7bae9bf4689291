"""A server with a task that crashes after a second: the server ends."""

import trio
from quart_trio import QuartTrio

from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app)


async def read_sensor() -> None:
    await trio.sleep(1)
    raise OSError("the sensor does not answer")


@app.before_serving
async def start() -> None:
    app.nursery.start_soon(read_sensor)
