"""Who has logged in, and what moderators have decided: events of the channel ``desk``, which every process reads."""

import re
import unicodedata
from typing import Any

import trio

from triolet import Event, Identity, Triolet
from triolet.clock import wall_time

LOGIN_SECONDS = 12 * 3600
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Desk:
    def __init__(self, live: Triolet) -> None:
        self.live = live

    async def begin(self, nursery: trio.Nursery) -> None:
        """Read what was written before, and go on reading: nobody is served before this returns."""
        self.logins: dict[str, Identity] = {}
        self.banned: set[str] = set()
        self.removed: set[tuple[str, str]] = set()
        self.read_up_to, self.moved = 0, trio.Event()
        nursery.start_soon(self.read)
        await self.write("begun", None)

    async def read(self) -> None:
        async with self.live.follow("desk", after=0) as events:
            async for event in events:
                if isinstance(event, Event):
                    self.take(event)
                    self.read_up_to = event.offset
                    self.moved.set()
                    self.moved = trio.Event()

    async def write(self, name: str, data: Any, dedupe: str | None = None) -> None:
        """When this returns, all that was written up to here is in force in this process."""
        event = await self.live.publish("desk", data, name=name, dedupe=dedupe)
        while self.read_up_to < event.offset:
            await self.moved.wait()

    def take(self, event: Event) -> None:
        match event.name, event.data:
            case "login", [id, name, moderator]:
                until = event.published_at + LOGIN_SECONDS
                self.logins[id] = Identity(name, session=id, expires_at=until, claims={"moderator": moderator})
            case "logout", id:
                self.logins.pop(id, None)
            case "removed", [channel, id]:
                self.removed.add((channel, id))
            case "banned", [_, name]:
                self.banned.add(name.casefold())
                self.logins = {id: who for id, who in self.logins.items() if who.subject != name}

    def problem(self, name: str) -> str | None:
        """Why nobody can log in by a name."""
        if not name:
            return "A name has 1 to 24 letters that can be seen."
        here = {who.subject.casefold() for who in self.logins.values() if (who.expires_at or 0) > wall_time()}
        taken = name.casefold() in here | self.banned
        return "Somebody is here by this name, or was banned: choose another." if taken else None


def name_of(text: str) -> str:
    """A name as it is shown, or nothing: with letters that are not seen it would pass for another's."""
    name = " ".join(unicodedata.normalize("NFKC", text).split())
    return name if name.isprintable() and len(name) <= 24 else ""


def text_of(data: Any) -> str:
    """The text of a message, without control characters; nothing where there is none."""
    text = data.get("text") if isinstance(data, dict) else None
    return CONTROLS.sub("", text).strip() if isinstance(text, str) else ""
