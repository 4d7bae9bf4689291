"""Programs that use the Python client, the real one: they take what it gives them, keep cursors, send commands, are
slow, are killed, and begin anew. What they were given is recorded; what passed over their connections is not."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from functools import partial
from math import inf
from typing import Any

import trio

from triolet.client import Client, ClientError, End, Event, Events, Fault, Gap, Item, Live, Unanswered, open_client
from triolet.errors import ConfigError
from triolet.testing.network import Line
from triolet.testing.seed import current

from .history import Left, Message, Weather
from .identities import token_of
from .plan import ClientPlan, channel_name, silence_of, url_path
from .program_history import (
    Became,
    Began,
    Ceased,
    Commits,
    Committed,
    Did,
    Faulted,
    Followed,
    Gone,
    NotAnswered,
    Saved,
    Took,
    Unfollowed,
)
from .program_store import Disk, DiskError, Handle
from .program_wire import Wire
from .setting import World
from .steps import Talk

__all__ = ["Program", "message_of"]

BASE = "http://hunt.test"
AGAIN_SECONDS = 0.1
"""After which a program that has ended begins anew."""
REFUSED_SECONDS = 0.5
"""After which what is over is followed again."""
PATIENCE_SECONDS = 3.0
"""How long a program waits for an item before it looks around, and asks again."""
SEND_SECONDS = 60.0
COMMIT_EVERY = 3
MOST_FOLLOWS = 4


class _Follow:
    """One follow of a program's, whichever of its lives that is in.

    Attributes:
        cursor: where it begins next time. ``events``: what it holds now. ``scope``: ends it. ``ended``: where the end
            of the channel is, if that was the last item.
    """

    def __init__(self, name: str, number: int, url: str, start: str | None) -> None:
        self.name, self.channel, self.url = name, channel_name(number), url
        self.cursor = start
        self.events: Events | None = None
        self.ended: str | None = None
        self.scope = trio.CancelScope()

    @property
    def place(self) -> str | None:
        """Where it stands."""
        if self.events is None:
            return self.cursor
        return None if self.events.cursor is None else str(self.events.cursor)

    def is_at(self, head: str) -> bool:
        """Whether it is up to date with a channel whose newest event is there."""
        return self.ended == head or (self.events is not None and self.events.state == "live" and self.place == head)


class _Life:
    """One life of a program. When it is ``dead``, it was killed: what still runs of it does nothing any more."""

    def __init__(self, disk: Disk | None) -> None:
        self.handle = None if disk is None else Handle(disk)
        self.scope = trio.CancelScope()
        self.wires: list[Wire] = []
        self.client: Client | None = None
        self.nursery: trio.Nursery | None = None
        self.how = "it is stopped"
        self.dead = False

    @property
    def goes_on(self) -> bool:
        """Whether it does."""
        return not (self.dead or self.scope.cancel_called)


class Program:
    """One program, as long as the play lasts. It is a station of the network: faults can be about it.

    Attributes:
        follows: by name. ``had``: all cursors that it was given.
        begins_at: when it begins anew. ``reachable_at``: when its network is there again. ``stalled_until``: when it
            takes items again. ``pause``: after each. ``is_calm``: its tokens last for ever from now on.
        remains: what is to be gone when its clients are.
    """

    command_seconds = SEND_SECONDS + 10
    line = None
    """It has many connections, or none."""

    def __init__(self, world: World, plan: ClientPlan, address: str) -> None:
        self.world, self.plan, self.address = world, plan, address
        self.history, self.network = world.history, world.network
        self.server = plan.server
        self.had: list[str] = []
        self.begins_at, self.pause = plan.comes_at, plan.pause
        self.reachable_at = self.stalled_until = 0.0
        self.is_calm = False
        self.remains: list[weakref.ref[Any]] = []
        self.follows: dict[str, _Follow] = {}
        self._count = 0
        self._chance = current().random(f"program {plan.name}")
        self._life: _Life | None = None
        self.disk = self._new_disk()
        for number in plan.channels:
            self._new_follow(number, plan.start)
        if plan.program.twin:
            self._new_follow(plan.channels[0], "0" if plan.start is None else None)

    # --- what others see of it

    @property
    def cursors(self) -> dict[str, str | None]:
        """By channel, where its follows stand."""
        places: dict[str, str | None] = {}
        for follow in self.follows.values():
            before = places.get(follow.channel)
            places[follow.channel] = follow.place if before is None else f"{before}, {follow.place}"
        return places

    def behind(self, untold: Collection[str]) -> list[str]:
        """The channels in which it is not up to date, but for some of which nobody tells."""
        heads = {channel: str(self.world.head(channel)) for channel in self.cursors if channel not in untold}
        follows = self.follows.values()
        return [at for at, head in heads.items() if not all(one.is_at(head) for one in follows if one.channel == at)]

    # --- its lives

    async def live(self) -> None:
        """Run, and begin anew whenever that is over."""
        while True:
            await self._until("begins_at")
            await self._run()
            self.begins_at = max(self.begins_at, self.history.now + AGAIN_SECONDS)

    async def _run(self) -> None:
        """One life."""
        life = self._life = _Life(self.disk)
        token, until = self._token()
        self.history.add(Began(self.history.now, self.plan.name, until))
        try:
            with life.scope:
                async with open_client(BASE, token=token, **self._options(life)) as client:
                    self.remains.append(weakref.ref(client))
                    await self._work(life, client)
        except* DiskError:
            life.how = "its store fails"
        finally:
            self._life = None
            if not life.dead:
                self.history.add(Ceased(self.history.now, self.plan.name, life.how))
            self._look_at_what_is_left(life)

    async def _work(self, life: _Life, client: Client) -> None:
        life.client = client
        try:
            async with trio.open_nursery() as life.nursery:
                for follow in self.follows.values():
                    life.nursery.start_soon(self._follow, life, client, follow)
        finally:
            life.client = life.nursery = None

    def _options(self, life: _Life) -> dict[str, Any]:
        limits, program = self.world.plan.limits, self.plan.program
        return {
            "transports": program.transports,
            # Where it speaks no WebSocket its follows share a stream or polls.
            "socket": "/talk" if program.shares else None if "websocket" in program.transports else "/many",
            "store": life.handle,
            "dial": partial(self._dial, life),
            "websocket": program.library,
            "silence": silence_of(self.world.plan),
            "wait": limits.wait_seconds,
            "random": self._chance.random,
        }

    def _token(self) -> tuple[Any, float]:
        """A token, or who gives one; and until when it is good, if it is the only one."""
        plan = self.plan
        if not plan.subject:
            return None, inf
        if plan.lasts and plan.renews is not None:
            return self._slow_token if plan.renews else self._new_token, inf
        until = self.history.now + plan.lasts if plan.lasts and not self.is_calm else None
        return token_of(plan.subject, plan.name, until), inf if until is None else until

    def _new_token(self) -> str:
        until = None if self.is_calm else self.history.now + self.plan.lasts
        return token_of(self.plan.subject, self.plan.name, until)

    async def _slow_token(self) -> str:
        await trio.sleep(self.plan.renews or 0)
        return self._new_token()

    async def _dial(self, life: _Life, host: str, port: int) -> Wire:
        await trio.lowlevel.checkpoint()
        if life.dead or self.history.now < self.reachable_at:
            raise OSError("the network is unreachable")
        if self.plan.roams:
            self.server = (self.server + 1) % self.world.plan.servers
        place = self.world.hosts[self.server]
        if place.server is None or place.server.worker.draining.is_set():
            raise ConnectionRefusedError("the connection is refused")
        plan, program = self.plan, self.plan.program
        halves = max(1, plan.kernel - plan.kernel // 2), max(1, plan.kernel // 2)
        line = Line(plan.latency, plan.bandwidth or inf, *halves)
        wall = program.wall if self.history.now >= program.wall_at else ""
        wire = Wire(place.connect(address=self.address, line=line), wall)
        life.wires = [*(one for one in life.wires if not one.closed), wire]
        return wire

    def _look_at_what_is_left(self, life: _Life) -> None:
        """Record what is there although the client's block has ended."""
        opened = sum(not wire.closed for wire in life.wires)
        tasks = len(trio.lowlevel.current_task().child_nurseries)
        for what, count in (("streams of a client", opened), ("tasks of a client", tasks)):
            if count:
                self.history.add(Left(self.history.now, -1, what, count))

    # --- one follow

    async def _follow(self, life: _Life, client: Client, follow: _Follow) -> None:
        """Follow, and again whenever that is over."""
        with trio.CancelScope() as follow.scope:
            while follow.name in self.follows:
                kind = await self._listen(life, client, follow)
                if kind == "expired":  # the program has one token: with another it begins anew
                    life.how = "its token has expired"
                    life.scope.cancel()
                await trio.sleep(REFUSED_SECONDS)

    async def _listen(self, life: _Life, client: Client, follow: _Follow) -> str:
        after, name = follow.cursor, follow.name
        kept = None if self.disk is None else self.disk.cursors.get(name)
        stored = None if kept is None else kept.partition(" ")[0]  # behind it stands the channel
        events = client.follow(
            follow.url,
            after=after,
            name=name,
            auto_commit=self.plan.program.store != "explicit",
            on_state=partial(self._became, life, follow),
            on_fault=partial(self._faulted, life, follow),
        )
        self.remains.append(weakref.ref(events))
        try:
            async with events:
                follow.events = events
                self._note(life, Followed, follow, follow.channel, after, stored)
                return await self._take_all(life, follow, events)
        finally:
            if not life.dead and follow.events is not None:
                self._stopped(life, follow)

    async def _take_all(self, life: _Life, follow: _Follow, events: Events) -> str:
        """Take items, and do what a program does with them. Return the kind of its end."""
        count, keeps = 0, self.plan.program.store
        while True:
            item: Item | None = None
            with trio.move_on_after(PATIENCE_SECONDS):
                try:
                    item = await anext(events)
                except StopAsyncIteration:
                    return self._gone(life, follow, "done", "")
                except ClientError as error:
                    return self._gone(life, follow, error.kind, str(error))
            if item is None:
                continue
            if not life.dead:
                self._took(life, follow, item)
            count += 1
            await self._until("stalled_until")
            if self.pause:
                await trio.sleep(self.pause)
            if keeps == "explicit" and (count % COMMIT_EVERY == 0 or isinstance(item, Live)):
                self._note(life, Commits, follow)
                await events.commit()
                self._note(life, Committed, follow)
            elif keeps == "auto":
                self._note(life, Did, follow)

    def _took(self, life: _Life, follow: _Follow, item: Item) -> None:
        message = message_of(item)
        self._note(life, Took, follow, message)
        place = message.get("id") or message.get("to") or message["cursor"]
        follow.ended = place if isinstance(item, End) else None
        self.had.append(place)

    def _gone(self, life: _Life, follow: _Follow, kind: str, why: str) -> str:
        self._note(life, Gone, follow, kind, why)
        return kind

    def _stopped(self, life: _Life, follow: _Follow, *, killed: bool = False) -> None:
        """It is over: without a store the program itself knows where it would go on."""
        place = follow.place
        if self.disk is None:
            follow.cursor = place
        self._note(life, Unfollowed, follow, place, killed)
        follow.events = None

    def _became(self, life: _Life, follow: _Follow, events: Events) -> None:
        self._note(life, Became, follow, events.state, events.reason)

    def _faulted(self, life: _Life, follow: _Follow, events: Events, fault: Fault) -> None:
        self._note(life, Faulted, follow, fault.kind, str(fault.after), str(fault.to))

    def _note(self, life: _Life, kind: Any, follow: _Follow, *what: Any) -> None:
        if not life.dead:
            self.history.add(kind(self.history.now, self.plan.name, follow.name, *what))

    def _new_follow(self, number: int, start: str | None) -> _Follow:
        self._count += 1
        name = f"{self.plan.name}{self._count} {channel_name(number)}"
        self.follows[name] = follow = _Follow(name, number, url_path(self.plan, number), start)
        return follow

    def _new_disk(self) -> Disk | None:
        program = self.plan.program
        if not program.store:
            return None

        def saved(name: str, cursor: str) -> None:
            self.history.add(Saved(self.history.now, self.plan.name, name, cursor.partition(" ")[0]))

        return Disk(program.save_seconds, program.fails, lambda: self._chance.random() < 0.5, saved)

    async def _until(self, name: str) -> None:
        """Wait until a time of ours, which may be put off, or moved closer, meanwhile."""
        # Any step of the world may move the time meanwhile.
        while (rest := getattr(self, name) - self.history.now) > 1e-6:  # noqa: ASYNC110
            await trio.sleep(min(rest, 1))

    # --- what befalls it

    def kill(self, seconds: float, *, clean: bool = False) -> None:
        """End it: at once, wherever it is, or so that it leaves its blocks (``clean``). It begins anew after a time."""
        life = self._life
        self.begins_at = self.history.now + seconds
        if life is None or not life.goes_on:
            return
        if not clean:
            for follow in self.follows.values():
                if follow.events is not None:
                    self._stopped(life, follow, killed=True)
            self.history.add(Ceased(self.history.now, self.plan.name, "it is killed", killed=True))
            life.dead = True
            if life.handle is not None:
                life.handle.dead = True
            for wire in life.wires:
                wire.lose("reset")
        life.scope.cancel()

    def go_on_from(self, channel: str, cursor: str | None) -> None:
        """Begin anew, from somewhere else; its store, if it has one, knows better."""
        self.kill(0)
        if self.disk is None:
            for follow in self.follows.values():
                if follow.channel == channel:
                    follow.cursor = cursor

    def leave(self, how: str, seconds: float) -> None:
        """Lose the network, in some way and for some time."""
        self.reachable_at = self.history.now + seconds
        felt = self.reachable_at + (silence_of(self.world.plan) if how == "silent" else 0)
        self.history.add(Weather(self.history.now, self.plan.name, f"its network goes ({how})", felt))
        for wire in self._life.wires if self._life is not None else ():
            wire.lose(how)

    def stall(self, seconds: float) -> None:
        """Take nothing for so long."""
        self.stalled_until = self.history.now + seconds
        self.history.add(Weather(self.history.now, self.plan.name, "stall", self.stalled_until))

    def brighten(self) -> None:
        """From now on there is nothing to keep it from taking what comes."""
        self.stalled_until = self.reachable_at = self.begins_at = self.history.now
        self.pause = 0
        self.is_calm = True
        if self.disk is not None:
            self.disk.fails = 0

    async def talk(self, step: Talk) -> None:
        """Follow a channel (once more), or leave one; one follow stays."""
        life, channel = self._life, channel_name(step.channel)
        if life is None or life.nursery is None or life.client is None or not life.goes_on:
            return
        if step.what == "follow" and len(self.follows) < MOST_FOLLOWS:
            follow = self._new_follow(step.channel, self.plan.start)
            life.nursery.start_soon(self._follow, life, life.client, follow)
        elif step.what == "unfollow" and len(self.follows) > 1:
            names = [follow.name for follow in self.follows.values() if follow.channel == channel]
            if names:
                self.follows.pop(names[-1]).scope.cancel()

    async def command(self, id: str, url: str, data: Any) -> Message | None:
        """Ask for a command. None: there is no client, or no answer."""
        life, began = self._life, self.history.now
        if life is None or life.client is None:
            return None
        try:
            reply = await life.client.send(url, data, id=id, timeout=SEND_SECONDS)
        except Unanswered as error:
            if life.goes_on and life.client is not None:
                told = (int(id[1:]), began, error.sent)
                self.history.add(NotAnswered(self.history.now, self.plan.name, *told))
            return None
        except ConfigError:  # under this id it is asked already
            return None
        return None if life.dead else {"status": reply.status, "data": reply.data, "repeated": reply.repeated}


def message_of(item: Item) -> Message:
    """An item as the message that brought it."""
    if isinstance(item, Gap):
        told: Message = {"type": "gap", "from": str(item.after), "to": str(item.to)}
        return {**told, "missed": item.missed, "reason": item.reason}
    if isinstance(item, Live):
        return {"type": "live", "cursor": str(item.cursor)}
    if isinstance(item, End):
        return {"type": "end", "cursor": str(item.cursor), "data": item.data}
    assert isinstance(item, Event)
    named = {name: value for name in ("key", "fold") if (value := getattr(item, name)) is not None}
    told = {"type": "event", "channel": item.channel, "id": str(item.cursor), "event": item.name}
    return {**told, "data": item.data, **named}
