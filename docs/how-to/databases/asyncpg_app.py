"""Orders in PostgreSQL by asyncpg, which runs on asyncio alone."""

import os

import asyncpg
from asyncio_thread import AsyncioThread
from quart import abort
from quart_trio import QuartTrio

from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app)
aio = AsyncioThread()
pool: asyncpg.Pool  # from start on


async def connect() -> asyncpg.Pool:
    return await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=5)


@app.before_serving
async def start() -> None:
    global pool
    await app.nursery.start(aio.run)
    pool = await aio.call(connect)
    await aio.call(pool.execute, "CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY, state text NOT NULL)")


@app.post("/orders/<order_id>/<state>")
async def advance(order_id: str, state: str) -> dict[str, str]:
    sql = "INSERT INTO orders VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET state = excluded.state"
    await aio.call(pool.execute, sql, order_id, state)
    event = await live.publish(f"orders/{order_id}", {"state": state}, name="order-status")
    return {"id": str(event.cursor)}


@app.get("/orders/<order_id>")
async def show(order_id: str) -> dict[str, str]:
    row = await aio.call(pool.fetchrow, "SELECT state FROM orders WHERE id = $1", order_id)
    if row is None:
        abort(404)
    return dict(row)


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"
