"""What a program holds of a channel that it follows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

import trio

from ..closing import NORMAL
from ..errors import printable
from ..event import Cursor, Event, Gap
from .bounds import CLIENT_GOODBYE_SECONDS, CLIENT_ITEMS
from .commands import CLOSED, Commands
from .committing import Committing, place
from .cursors import distance, is_newest
from .errors import Ended
from .following import Following
from .hooks import Hooks, call
from .items import Fault, Item, Tell
from .link import Link
from .reading import Reading
from .reasoned import Reasoned
from .store import Store
from .track import State, Track
from .way import Way

__all__ = ["Events"]

logger = logging.getLogger("triolet.client")


class Events(Reasoned):
    """The events of one channel, as an async context manager and an async iterator; of ``live.follow(url)``.

    It gives every :class:`Event` after the cursor once and in order, a :class:`Gap` for what will never come, and a
    :class:`Live` each time that the program is up to date, whatever the network does; and where the program has asked
    for it, the channel's state as a :class:`Snapshot`. With :class:`End` it ends, or where the server says that it is
    done (close code 1000).

    Bounds: ``CLIENT_ITEMS`` items wait for the program. While more are there, no more is read; over a shared
    WebSocket the follow goes on with a connection of its own.

    Cancellation: nothing is lost; go on with the cursor.
    """

    def __init__(
        self,
        way: Way,
        link: Link | None,
        commands: Commands,
        nursery: trio.Nursery,
        url: str,
        asked: str,
        after: Cursor | None,
        store: Store | None,
        name: str,
        *,
        auto_commit: bool,
        on_state: Callable[[Events], object] | None,
        on_fault: Callable[[Events, Fault], object] | None,
        on_tell: Callable[[Events, Tell], object] | None,
    ) -> None:
        super().__init__(url)
        self._hooks = Hooks(nursery, on_state, on_fault, on_tell)
        self._track = Track(asked, after, self._faulty)
        self._out, self._in = trio.open_memory_channel[Item](CLIENT_ITEMS)
        told = partial(self._hooks.told, self)
        self._following = Following(way, link, commands, self._track, self._out, self._changed, self._moved, told)
        self._committing = None if store is None else Committing(store, name, auto=auto_commit)
        self._reading = Reading(way.acknowledge, self._following.say, auto=auto_commit or store is None)
        self._taken: Cursor | None = self._track.began
        self._taken_in: str | None = None
        self._began = trio.Event()
        self._head: Cursor | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    # --- what it says of itself

    @property
    def cursor(self) -> Cursor | None:
        """Up to here the program has taken everything: go on from here after a restart. None: it was told nothing
        yet.
        """
        track = self._track
        if self._following.given > self._reading.got:
            return track.began if self._taken is None else self._taken
        return track.cursor

    @property
    def channel(self) -> str | None:
        """The channel's name, once the server has said it."""
        return self._track.channel

    @property
    def filtered(self) -> bool:
        """Whether the server keeps events back that this client may not see."""
        return self._track.filtered

    @property
    def state(self) -> State:
        """The connection's: ``connecting`` (none yet, or between two), ``behind`` (catching up), ``live``, ``gone``.
        What has come may still wait for the program: see :attr:`behind`, and :class:`Live`.
        """
        return self._track.state

    @property
    def behind(self) -> int:
        """Events that are known to be there and that the program has not taken; see :meth:`expect`. Of a filtered
        channel it counts those as well that are for others.
        """
        here = self.cursor
        heads = [head for head in (self._track.cursor, self._head) if head is not None]
        return 0 if here is None else max((distance(here, head) or 0 for head in heads), default=0)

    def expect(self, cursor: Cursor | str) -> None:
        """Tell of an event that is known from elsewhere (the answer to a command), so that :attr:`behind` counts it."""
        at = cursor if isinstance(cursor, Cursor) else Cursor.parse(cursor)
        step = None if self._head is None else distance(self._head, at)
        if step is None or step > 0:
            self._head = at

    def retry(self) -> None:
        """Try again at once, if it waits to: the program knows that the network is there again."""
        self._following.retry()

    # --- for the program

    async def commit(self) -> None:
        """Keep :attr:`cursor` in the client's store: of the item that was taken last, or further, where what came after
        it was not for this client. When this returns it is kept.

        Raises:
            RuntimeError: the client has no store.
            ConfigError: the file of a :class:`FileStore` cannot be written; of another store what that raises.

        Cancellation: it is kept, or an earlier one is; events may come again, and none is lost.
        """
        if self._committing is None:
            raise RuntimeError("nothing can be committed: the client has no store=")
        cursor = self.cursor
        if cursor is not None and not is_newest(cursor):
            waits = self._following.given > self._reading.got
            channel = self._taken_in if waits else None
            await self._committing.now(place(cursor, channel or self._track.channel))
        self._reading.done()

    def __aiter__(self) -> Self:
        """Iterate over the items."""
        return self

    async def __anext__(self) -> Item:
        """The next item. What was taken before is done with, and is committed, unless the program does that itself.

        Raises:
            ClientError: nothing more will come, and why.
            RuntimeError: it is not entered (``async with live.follow(url) as events``) or was left, or another task
                waits for its next item.

        Cancellation: nothing is lost.
        """
        with self._reading.one():
            item = await self._next()
        self._reading.took(item)
        return item

    async def _next(self) -> Item:
        if self._committing is not None:
            await self._commit(self._committing)
        try:
            item = await self._in.receive()
        except trio.EndOfChannel:
            ended = self._following.ended
            if ended is None:  # the server has not said so: a store fails, say, and who is in the block is cancelled
                await self._ended.wait()
                await trio.lowlevel.checkpoint_if_cancelled()
                raise RuntimeError(CLOSED) from None
            if ended.code == NORMAL.code:
                raise StopAsyncIteration from None
            raise ended.as_error(self.url) from None
        except trio.ClosedResourceError:
            raise RuntimeError("this follow is over: its block has been left") from None
        if not isinstance(item, Gap):
            self._taken = item.cursor
        elif item.reason != "conflated":  # of those the newest of each key are still to come
            self._taken = item.to
        if isinstance(item, Event):
            self._taken_in = item.channel
        elif isinstance(item, Gap) or self._taken_in is None:
            self._taken_in = self._track.channel  # by a gap the URL may have come to be another one
        return item

    async def __aenter__(self) -> Self:
        """Begin.

        Raises:
            ConfigError: what the store has kept is no cursor, or cannot be read.
            RuntimeError: it was entered before, or the client is closed.
        """
        if self._reading.begun:
            raise RuntimeError("a follow is entered once: call live.follow again")
        self._reading.begun = True
        if self._committing is not None:
            start = await self._committing.load()
            if start is not None:
                self._track.resume(*start)
                self._taken, self._taken_in = start
        if self._following.is_closed:
            raise RuntimeError(CLOSED)
        self._hooks.nursery.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Unfollow. What was done with is committed first, also where the block is cancelled: for a second at most.
        Where that fails, and the block has raised an error of its own, the log has it.
        """
        try:
            await self._leave()
        except Exception as failure:
            if error is None:
                raise
            logger.warning("%s: what was done with is not kept: %s", self.url, printable(str(failure)))

    async def _leave(self) -> None:
        try:
            if self._committing is not None:
                with trio.move_on_after(CLIENT_GOODBYE_SECONDS, shield=True):  # slower: it comes again
                    await self._committing.flush()
        finally:
            self._scope.cancel()
            self._in.close()
            with trio.move_on_after(2 * CLIENT_GOODBYE_SECONDS, shield=True):  # of its connection
                await self._ended.wait()

    # --- inside

    async def _commit(self, committing: Committing) -> None:
        """What was taken is done with. "From now on" is another place in the next life, in which what was in hand first
        would not come again: so its place is kept before anything is given.
        """
        if self._taken is None:
            await self._began.wait()
            if self._track.began is not None:
                await committing.now(place(self._track.began, self._track.channel))
                self._taken = self._track.began
        else:
            committing.done_with(place(self._taken, self._taken_in or self._track.channel))

    async def _run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    if self._committing is not None:
                        nursery.start_soon(self._committing.run)
                    nursery.start_soon(self._reading.run)
                    await self._following.run()
                    await trio.sleep_forever()  # what is committed may still be kept
        except trio.BrokenResourceError:
            pass
        finally:
            self._out.close()
            self._began.set()
            self._ended.set()

    def _moved(self, items: list[Item]) -> None:
        """The position has moved. Where that is no item, and the program waits for one, it has taken all before."""
        if items:
            self._began.set()  # also with a state, before which there is no place that could be kept
        elif self._committing is not None and self._track.cursor and self._in.statistics().tasks_waiting_receive:
            self._committing.done_with(place(self._track.cursor, self._track.channel))

    def _changed(self, state: State, why: Ended | None) -> None:
        self._why = why
        if self._track.began is not None or state == "gone":
            self._began.set()
        if why is not None:
            logger.log(
                logging.WARNING if state == "live" else logging.INFO, "%s: %s: %s", self.url, state, printable(str(why))
            )
        if self._hooks.on_state is not None:
            call(self._hooks.nursery, self._hooks.on_state, self)

    def _faulty(self, fault: Fault) -> None:
        if self._hooks.on_fault is not None:
            call(self._hooks.nursery, self._hooks.on_fault, self, fault)
        else:
            logger.warning("%s: a %s after %s, at %s", self.url, fault.kind, fault.after, fault.to)
