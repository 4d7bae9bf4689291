"""The client for programs without Trio: a thread runs it, and each call waits for that thread."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import trio

from ..event import Cursor
from ..sync.portal import Portal, PortalOver
from .bounds import CLIENT_COMMAND_SECONDS, CLIENT_GOODBYE_SECONDS
from .client import Client, open_client
from .commands import CLOSED
from .errors import ClientError
from .events import Events
from .items import Item, Reply, Said
from .messages import Messages
from .track import State

__all__ = ["SyncClient", "SyncEvents", "SyncMessages", "sync_client"]


class SyncClient:
    """A client for programs without Trio; of :func:`sync_client`. Any thread may use it, but the one it runs in;
    several at once, too. After a fork it is the parent's: open one in the child.
    """

    def __init__(self, portal: Portal[Client]) -> None:
        self._portal = portal
        self._client = portal.opened()

    @property
    def transport(self) -> str:
        """The transport that is used now."""
        return self._client.transport

    def follow(
        self,
        url: str,
        *,
        after: Cursor | str | int | None = None,
        name: str | None = None,
        snapshot: bool = False,
        fold: bool = False,
        auto_commit: bool = True,
    ) -> SyncEvents:
        """Follow the channel behind a URL: ``for item in live.follow(url)``, or as a context manager, which unfollows
        at its end. See :meth:`Client.follow`.
        """
        options: dict[str, Any] = {"name": name, "snapshot": snapshot, "fold": fold, "auto_commit": auto_commit}
        return SyncEvents(self, self._client.follow(url, after=after, **options))

    def send(
        self, url: str, data: Any = None, *, id: str | None = None, timeout: float = CLIENT_COMMAND_SECONDS
    ) -> Reply:
        """Ask for a command, and wait for its answer. See :meth:`Client.send`, and for its errors too.

        Raises:
            RuntimeError: the client is closed, is another process's, or this is called in a task of Trio's.
        """
        reply: Reply = self._call(self._client.send, url, data, id=id, timeout=timeout)
        return reply

    def messages(self) -> SyncMessages:
        """Listen to what the app's handler says on the shared socket: ``for said in live.messages()``, or as a context
        manager, which ends that. See :meth:`Client.messages`.
        """
        return SyncMessages(self, self._client.messages())

    def tell(self, data: Any) -> None:
        """Say something to the app's handler. See :meth:`Client.tell`; raises as :meth:`send` besides."""
        self._call(self._client.tell, data)

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        if os.getpid() != self._portal.process:
            raise RuntimeError("the client is another process's, and has no thread here: open one after the fork")
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("the calls of a sync_client wait, which a task of Trio's must not: there is open_client")
        try:
            return self._portal.call(function, *args, **options)
        except PortalOver:
            raise RuntimeError(CLOSED) from None


T = TypeVar("T")


class _Hand(Generic[T]):
    """Takes one thing after the other from an iterator of the client's thread. What was taken when Ctrl-C came, and was
    not given, is given to whoever asks next.

    Attributes:
        left: what was not given; almost always empty.
    """

    def __init__(self, client: SyncClient, source: AsyncIterator[T]) -> None:
        self._client = client
        self._source = source
        self.left: deque[T] = deque()

    def take(self) -> T | None:
        """The next; None: there are no more."""
        if self.left:
            return self.left.popleft()
        taken: list[T] = []

        async def take() -> None:
            async for one in self._source:
                taken.append(one)
                return

        try:
            self._client._call(take)
            return taken[0] if taken else None
        except BaseException:
            self.left.extend(taken)
            raise


class _Block:
    """A block of the client's thread, that is entered and left from another: by ``with``, or by what needs it."""

    def __init__(self, client: SyncClient, block: Events | Messages) -> None:
        self._client = client
        self._block = block
        self._entered = False

    @property
    def state(self) -> State:
        """The connection's state."""
        return self._block.state

    @property
    def reason(self) -> str | None:
        """Why the connection's state is as it is; None: nothing is wrong."""
        return self._block.reason

    @property
    def error(self) -> ClientError | None:
        """The same as an error, with its ``kind``, ``status`` and ``code``."""
        return self._block.error

    def close(self) -> None:
        """Follow, or listen, no longer."""
        if self._entered:
            self._client._call(self._block.__aexit__, None, None, None)

    def __enter__(self) -> Self:
        """Begin."""
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Follow, or listen, no longer."""
        self.close()

    def _enter(self) -> None:
        if not self._entered:
            self._client._call(self._block.__aenter__)
            self._entered = True


class SyncEvents(_Block):
    """The events of one channel, as an iterator. See :class:`Events`."""

    def __init__(self, client: SyncClient, events: Events) -> None:
        super().__init__(client, events)
        self._events = events
        self._hand = _Hand[Item](client, events)
        self._given = events.cursor

    @property
    def cursor(self) -> Cursor | None:
        """Up to here the program has taken everything."""
        return self._given if self._hand.left else self._events.cursor

    @property
    def behind(self) -> int:
        """Events that are known to be there and that the program has not taken."""
        return self._events.behind

    def commit(self) -> None:
        """Keep the cursor of the item that was taken last. See :meth:`Events.commit`."""
        if not self._hand.left:  # else this is an item that the program does not have: what it has may come again
            self._client._call(self._events.commit)

    def __iter__(self) -> Iterator[Item]:
        """Iterate over the items; whatever ends the loop, the client's block at the latest unfollows."""
        self._enter()
        while True:
            if not self._hand.left:
                self._given = self._events.cursor
            item = self._hand.take()
            if item is None:
                return
            yield item


class SyncMessages(_Block):
    """What the app's handler says on the shared socket, as an iterator. See :class:`Messages`."""

    def __init__(self, client: SyncClient, messages: Messages) -> None:
        super().__init__(client, messages)
        self._messages = messages
        self._hand = _Hand[Said](client, messages)

    def ready(self) -> None:
        """Wait until the socket is open. See :meth:`Messages.ready`."""
        self._enter()
        self._client._call(self._messages.ready)

    def __iter__(self) -> Iterator[Said]:
        """Iterate over them; whatever ends the loop, the client's block at the latest ends this."""
        self._enter()
        while True:
            said = self._hand.take()
            if said is None:
                return
            yield said


@contextmanager
def sync_client(base: str, **options: Any) -> Iterator[SyncClient]:
    """Open a client for a program without Trio, for the time of a ``with`` block::

        with sync_client("https://shop.example", token="…") as live:
            for item in live.follow("/orders/A123/events"):
                print(item)

    Args:
        base: where the server is.
        options: those of :func:`open_client`. Functions among them are called in the client's own thread.

    Raises:
        ConfigError: an option that cannot work.
        Exception: what a function among the options has raised, or the store, at the end of the block.

    Bounds: one thread.

    Cancellation: Ctrl-C interrupts a wait, and loses nothing; the block's end waits for goodbyes, for some two seconds.
    """
    portal = Portal("triolet.client", partial(open_client, base, **options), CLIENT_GOODBYE_SECONDS)
    try:
        yield SyncClient(portal)
    finally:
        portal.close()
        if portal.failure is not None:
            raise portal.failure
