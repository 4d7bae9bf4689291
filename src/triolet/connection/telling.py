"""What is only for now (``live.tell``): written once, to whoever is there, and never instead of an event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
import trio

from ..bounds import TELLS_WAITING, WRITES_BETWEEN_CHECKPOINTS
from ..event import Draft, Event, encode_json
from ..hub import Audience, Follower, State
from ..identity.control import NowControl
from ..wire.codec import Codec
from ..wire.messages import Bracket, Tell
from ..wire.rate_limit import Rate
from .context import Context
from .subscriptions import Subscriptions

__all__ = ["Telling"]

Say = Callable[[Mapping[str, Any]], object]
"""Says something to all processes, this one among them."""


class Telling:
    """Writes what is told to the clients of this process, whichever process has told it.

    A client is written it only where nothing waits for it: one that catches up, or does not read, is passed over. So
    nothing that is told ever stands before an event, and it costs no memory of a slow client's.

    Args:
        context: what the connections share.
        control: tells the other processes; None where there are none.

    Bounds: ``limits.tells_per_second`` of what this process tells; ``TELLS_WAITING`` that wait to be written, of all
    processes. What is more is dropped, and counted.
    """

    def __init__(self, context: Context, control: NowControl | None) -> None:
        self._context = context
        self._rate = Rate(context.limits.tells_per_second, 2 * context.limits.tells_per_second)
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._some = trio.Event()
        self._say: Say = self.hear
        if control is not None:
            control.on("tell", self.hear)
            self._say = control.say

    def tell(self, channel: str, draft: Draft) -> None:
        """Tell something to all who are there, in this process and all others. It waits for nothing."""
        if not self._rate.admits(trio.current_time()):
            self._context.metrics.tells["dropped"] += 1
            return
        # Encoded, as it was checked: what the app does with its data while this waits to be written is its own affair.
        data = msgspec.Raw(draft.json)
        self._say({"type": "tell", "channel": channel, "name": draft.name, "data": data, "key": draft.key})

    def hear(self, told: Mapping[str, Any]) -> None:
        """Take something that is told, by whichever process, to be written."""
        if len(self._waiting) >= TELLS_WAITING:
            self._context.metrics.tells["dropped"] += 1
            return
        self._waiting.append(told)
        self._some.set()

    async def run(self) -> None:
        """Write what is told, for ever."""
        while True:
            while not self._waiting:
                self._some = trio.Event()
                await self._some.wait()
            told = self._waiting.popleft()
            audience = self._context.hub.windows.find(told["channel"])
            if audience is not None:
                event = Event(
                    audience.window.cursor,
                    told["channel"],
                    told["name"],
                    encode_json(told["data"]),
                    told["key"],
                    self._context.now(),
                )
                await self._write(audience, event)

    async def _write(self, audience: Audience, event: Event) -> None:
        context, listeners = self._context, audience.listeners
        said = Tell(event.channel, event.name, msgspec.Raw(event.json), event.key)
        batches: dict[Codec, Any] = {}
        written = audience.tell(event)
        for at, follower in enumerate(audience.present):
            if at % WRITES_BETWEEN_CHECKPOINTS == 0:
                if at:
                    await trio.lowlevel.checkpoint()
                context.deadlines.enforce()
                context.turn.end()  # what was said before goes before it
            if follower.filter is not None and not follower.filter.allows(event):
                listeners -= 1  # it is not for this one
                continue
            batch = batches.get(follower.codec)
            if batch is None:
                batch = batches[follower.codec] = follower.codec.say(said)
            written += _write_one(follower, batch)
        context.metrics.tells["written"] += written
        context.metrics.tells["skipped"] += max(0, listeners - written)


def _write_one(follower: Follower, batch: Any) -> bool:
    """Write it to one client, if nothing waits for that. Return whether it was."""
    outlet = follower.outlet
    owner = cast(Subscriptions, follower.owner)
    if follower.state is not State.LIVE:
        # Of those that stand at the head all the same, beside a live one of their channel, each has a name.
        subs = owner.followings.subs_of(follower)
        if not subs or not follower.announced or follower.state is State.ENDED:
            return False
        batch = follower.codec.concat([follower.codec.say(Bracket(subs, 1)), batch])
    if not outlet.empty or outlet.pending or outlet.closed:
        return False
    owner.by_a_word = True
    outlet.write(batch)
    owner.by_a_word = False
    return True
