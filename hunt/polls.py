"""Clients that poll: they ask again when they are told to, with the cursor and the tag they were given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import h11

from .client import Client, CutShortError, Talk
from .history import Answered, Asked, Ended
from .plan import ClientPlan
from .wires import MalformedError

if TYPE_CHECKING:
    from .world import World

__all__ = ["PollClient"]


class PollClient(Client):
    """Asks, each time on a connection of its own; a long poll, or a short one with the last answer's tag."""

    def __init__(self, world: World, plan: ClientPlan, address: str) -> None:
        super().__init__(world, plan, address)
        self._long = plan.transport == "long poll"
        self._tag: str | None = None
        self._answered = False

    @property
    def at_once(self) -> bool:
        return self._answered

    def ask(self, number: int) -> Asked:
        plan, now = self.plan, self.world.history.now
        wait = self.world.plan.limits.wait_seconds if self._long else 0
        tag = None if self._long else self._tag
        after = self.cursors[self.channel]
        return Asked(now, number, plan.name, self.server, plan.transport, self.channel, plan.route, after, wait, tag)

    @property
    def caught_up(self) -> bool:
        return self.cursors[self.channel] == str(self.world.head(self.channel))

    def go_on_from(self, channel: str, cursor: str | None) -> None:
        super().go_on_from(channel, cursor)
        self._tag = None

    async def converse(self, talk: Talk) -> None:
        self._answered = False
        http = h11.Connection(h11.CLIENT)
        asked = talk.asked
        query = [f"after={asked.after}"] if asked.after is not None else []
        query += ["wait="] if self._long else []
        target = f"/r{self.plan.route}/{self.channel}?{'&'.join(query)}"
        headers = [("host", "test")] + ([("if-none-match", asked.tag)] if asked.tag else [])
        request = http.send(h11.Request(method="GET", target=target, headers=headers)) or b""
        await self.send(talk, request + (http.send(h11.EndOfMessage()) or b""))
        answer, body = await self._answer(talk, http)
        if self.talk is not talk:
            return
        if answer is None:
            raise CutShortError("an answer" if body else "nothing")
        history = self.world.history
        history.add(Answered(history.now, talk.number, answer.status_code))
        if answer.status_code == 304:
            self.away_until = history.now + self.world.plan.limits.poll_seconds
            self.hear({"type": "not modified"})
        elif answer.status_code == 200:
            self._answered = True
            self._take(talk, dict(answer.headers.raw_items()), body)
        else:
            self.away_until = history.now + 1
        history.add(Ended(history.now, talk.number, "answered"))
        talk.over = True
        talk.end.reset()

    def _take(self, talk: Talk, headers: dict[bytes, bytes], body: bytes) -> None:
        found = {name.lower(): value for name, value in headers.items()}
        try:
            page = json.loads(body)
            self._tag = found[b"etag"].decode("ascii")
        except (ValueError, KeyError) as error:
            raise MalformedError(f"no page: {error!r}") from None
        self.hear({**page, "type": "page"})
        self.cursors[self.channel] = page["cursor"]
        self.had.append(page["cursor"])
        self.away_until = self.world.history.now + page["retry"] / 1000

    async def _answer(self, talk: Talk, http: h11.Connection) -> tuple[h11.Response | None, bytes]:
        answer, body = None, b""
        try:
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    data = await self.read(talk)
                    if not data:
                        return None, body
                    http.receive_data(data)
                elif isinstance(event, h11.Response):
                    answer = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    return answer, body
        except h11.RemoteProtocolError as error:
            raise MalformedError(str(error)) from None
