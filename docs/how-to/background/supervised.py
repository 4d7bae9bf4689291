"""A server with a task that crashes now and then, and is begun again."""

import logging
from collections.abc import Awaitable, Callable
from itertools import count

import trio
from quart_trio import QuartTrio

from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app)
logger = logging.getLogger(__name__)

readings = count(1)


async def read_sensor() -> int:
    """Yours asks a device. This one fails at each fourth reading."""
    await trio.sleep(0.1)
    if (reading := next(readings)) % 4 == 0:
        raise OSError("the sensor does not answer")
    return reading


async def publish_readings() -> None:
    while True:
        await live.publish("sensors/7", await read_sensor(), name="reading")


async def forever(task: Callable[[], Awaitable[None]], longest: float = 60) -> None:
    """Run a task, and again when it has crashed: after 1, 2, 4 … seconds; after 1 again if it went well for long."""
    wait = 1.0
    while True:
        began = trio.current_time()
        try:
            await task()
            return
        except Exception:  # and not BaseException: a task that is cancelled ends
            logger.exception("a background task crashed")
        if trio.current_time() - began > longest:
            wait = 1.0
        await trio.sleep(wait)
        wait = min(2 * wait, longest)


@app.before_serving
async def start() -> None:
    app.nursery.start_soon(forever, publish_readings)


@live.channel("/sensors/<sensor>/events")
async def sensor_events(sensor: str) -> str:
    return f"sensors/{sensor}"
