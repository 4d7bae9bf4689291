"""Commands of a play's clients: over their WebSocket or by POST, again where nobody answers, elsewhere, and with other
data."""

from __future__ import annotations

from typing import Any

import trio

from triolet.testing.commands import post

from .history import History, Ordered, Replied
from .identities import token_of
from .plan import PYTHON, channel_name, letter
from .publisher import Publisher
from .steps import Order

__all__ = ["Orders"]

MOST_TIMES = 40
"""How often somebody asks: what is not answered by then is given up."""
AGAIN_SECONDS = 0.5


class Orders:
    """Asks for all commands of a play, one by one."""

    def __init__(self, history: History, publisher: Publisher, clients: list[Any], hosts: list[Any]) -> None:
        self._history = history
        self._publisher = publisher
        self._clients, self._hosts = clients, hosts

    async def order(self, step: Order) -> None:
        """Do what a step says: it is one command, however often it is asked for."""
        (number,) = self._publisher.new(1)
        channels = [channel_name(at) for at in range(step.channels)]
        data = {"channels": channels, "fails": step.fails, "seconds": step.seconds}
        history = self._history
        history.add(Ordered(history.now, number, letter(step.client), tuple(channels), step.fails))
        async with trio.open_nursery() as nursery:
            if step.twice:  # at the same time, at two servers
                nursery.start_soon(self._until_answered, step, number, data, step.server + 1, None, True)
            await self._until_answered(step, number, data, step.server, step.cut)
        await self._until_answered(step, number, data, step.server + 1, None)
        if step.other:
            await self._until_answered(step, number, {**data, "other": True}, step.server, None)

    async def _until_answered(
        self, step: Order, number: int, data: Any, server: int, cut: float | None, posts: bool = False
    ) -> None:
        """Ask until there is an answer. ``posts``: by POST, though the client be a program that could send it."""
        patience = self._clients[step.client].command_seconds
        for turn in range(MOST_TIMES):
            at, reply = (server + turn) % len(self._hosts), None
            with trio.move_on_after(patience if cut is None or turn else cut):
                reply = await self._ask(step, at, number, data, posts)
            if reply is not None:
                history = self._history
                told = (number, reply["status"], reply["data"], reply.get("repeated", False), "other" in data)
                history.add(Replied(history.now, *told))
                if "retry" not in reply:
                    return
            await trio.sleep(AGAIN_SECONDS)

    async def _ask(self, step: Order, server: int, number: int, data: Any, posts: bool) -> Any:
        client, host = self._clients[step.client], self._hosts[server]
        sends = client.plan.transport == PYTHON
        id, url = f"o{number}", f"/do/{number}"
        if (step.socket or sends) and not (sends and posts):
            asked = await client.command(id, url, data)
            if asked or sends:
                return asked
        if host.server is None:
            return None
        subject, end = client.plan.subject, host.connect(address=client.address)
        headers = {"authorization": f"Bearer {token_of(subject, client.plan.name, None)}"} if subject else {}
        try:
            return await post(end, url, headers, id, data)
        finally:
            end.reset()
