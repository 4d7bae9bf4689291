"""An app whose socket has a handler that talks, on the in-memory network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from quart import abort
from quart_trio import QuartTrio

from triolet import Command, Connection, Limits, Triolet
from triolet.client import ChannelEnd, ChannelGap, Event, Message, Messages
from triolet.testing import MemoryServer, serve

__all__ = ["Talk", "hear", "talking"]


class Talk:
    """An app.

    Attributes:
        heard: what its handlers were told.
        handlers: how many there have been.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.app = QuartTrio("talk")
        self.live = live = Triolet(self.app, limits=limits)
        self.heard: list[Any] = []
        self.handlers = 0

        @live.channel("/orders/<order_id>/events")
        async def events(order_id: str) -> str:
            return f"orders/{order_id}"

        @live.command("/orders/<order_id>/pick")
        async def pick(order_id: str, command: Command) -> str:
            return order_id

        live.socket("/talk")(self.talk)

        @live.socket("/forbidden")
        async def forbidden(conn: Connection) -> None:
            raise AssertionError("nobody comes here")

        @self.app.before_request
        async def check() -> None:
            from quart import request

            if request.path == "/forbidden":
                abort(403)

    async def talk(self, conn: Connection) -> None:
        """Greet, and do what is said."""
        self.handlers += 1
        await conn.send({"hello": self.handlers})
        async for message in conn:
            self.heard.append(message)
            match message:
                case {"follow": channel}:
                    await conn.follow(channel, message.get("after"))
                case {"unfollow": channel}:
                    conn.unfollow(channel)
                case {"many": many, "size": size}:
                    for number in range(many):
                        await conn.send([number, "x" * size])
                case "end":
                    return
                case _:
                    await conn.send({"echo": message})


@asynccontextmanager
async def talking(limits: Limits | None = None) -> AsyncIterator[tuple[MemoryServer, Talk]]:
    """A served one."""
    talk = Talk(limits)
    async with serve(talk.app) as server:
        yield server, talk


async def hear(messages: Messages, count: int) -> list[Any]:
    """So many of what was said, in short: a message's data, an event's offset and data, where a gap leads and why, an
    end's offset and data."""
    found: list[Any] = []
    with trio.fail_after(600):
        while len(found) < count:
            said = await anext(messages)
            if isinstance(said, Message):
                found.append(said.data)
            elif isinstance(said, Event):
                found.append((said.channel, said.offset, said.data))
            elif isinstance(said, ChannelEnd):
                found.append((said.channel, "end", said.cursor.offset, said.data))
            else:
                assert isinstance(said, ChannelGap)
                found.append((said.channel, said.after.offset, said.to.offset, said.missed, said.reason))
    return found
