"""Orders in any database that SQLAlchemy knows. An event is a row of the same transaction, until it is out."""

import logging
import os
from typing import Any
from uuid import uuid4

import trio
from quart import abort
from quart_trio import QuartTrio
from sqlalchemy import JSON, String, create_engine, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from triolet import LogError, Triolet

app = QuartTrio(__name__)
live = Triolet(app)
engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///rows.db"))  # never the file of a log in SQLite
logger = logging.getLogger(__name__)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    state: Mapped[str] = mapped_column(String(40))


class Outgoing(Base):
    """An event that is to be published."""

    __tablename__ = "outgoing"
    id: Mapped[int] = mapped_column(primary_key=True)
    dedupe: Mapped[str] = mapped_column(String(32), default=lambda: uuid4().hex)  # an id may be given again
    channel: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(40))
    data: Mapped[Any] = mapped_column(JSON)


def store(order_id: str, state: str) -> None:
    """Both, or neither. It runs in a thread."""
    with Session(engine) as session, session.begin():
        session.merge(Order(id=order_id, state=state))
        session.add(Outgoing(channel=f"orders/{order_id}", name="order-status", data={"state": state}))


def read(order_id: str) -> str | None:
    with Session(engine) as session:
        order = session.get(Order, order_id)
        return None if order is None else order.state


def outgoing() -> list[Outgoing]:
    with Session(engine, expire_on_commit=False) as session:
        return list(session.scalars(select(Outgoing).order_by(Outgoing.id).limit(100)))


def remove(row: Outgoing) -> None:
    with Session(engine) as session, session.begin():
        session.execute(delete(Outgoing).where(Outgoing.id == row.id))


async def publish_outgoing() -> None:
    """Publish what is in the table, in order: again after a crash, and by ``dedupe`` once all the same."""
    while True:
        for row in await trio.to_thread.run_sync(outgoing):
            try:
                await live.publish(row.channel, row.data, name=row.name, dedupe=row.dedupe)
            except LogError:
                logger.exception("the log is away; it is tried again")
                break
            await trio.to_thread.run_sync(remove, row)
        await trio.sleep(0.2)


@app.before_serving
async def start() -> None:
    await trio.to_thread.run_sync(Base.metadata.create_all, engine)
    app.nursery.start_soon(publish_outgoing)


@app.post("/orders/<order_id>/<state>")
async def advance(order_id: str, state: str) -> dict[str, str]:
    await trio.to_thread.run_sync(store, order_id, state)
    return {"state": state}


@app.get("/orders/<order_id>")
async def show(order_id: str) -> dict[str, str]:
    state = await trio.to_thread.run_sync(read, order_id)
    if state is None:
        abort(404)
    return {"state": state}


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"
