"""How far a SqliteLog has come in its file, and what is told of it: what was stored here, and by other processes."""

from __future__ import annotations

import logging
from functools import partial

import apsw
import trio

from ..errors import LogError, NotServingError, where
from ..log.tail import Tail
from .bounds import SQLITE_BLIND_SECONDS, SQLITE_REST_SECONDS
from .changes import read_news
from .file import begin_again
from .joining import is_open
from .life import LifeFile, LifeOver
from .thread import Connections
from .watch import ring, watching
from .writer import Written

__all__ = ["Hearing"]

logger = logging.getLogger("triolet.log")


class Hearing:
    """Announces what is committed to the file, by any process, in the order of the commits.

    Args:
        path: the file's path.
        tail: is told.
        life: knows whether the file is the one that it was.
        connections: to the file.
        known: the epoch, and the number of the last change, as the log opens.
        look_seconds: between two looks for what nothing told of.

    Attributes:
        known: the epoch, and the number of the change up to which has been announced.
    """

    def __init__(
        self,
        path: str,
        tail: Tail,
        life: LifeFile,
        connections: Connections,
        known: tuple[str, int],
        look_seconds: float,
    ) -> None:
        self._path = path
        self._tail = tail
        self._life = life
        self._connections = connections
        self._look_seconds = look_seconds
        # One at a time: the task that stores, and the one that hears others, must not read the same changes twice.
        self._announcing = trio.Lock()
        self._joined: dict[apsw.Connection, int] = {}  # how often each was, until its transaction was found to be over
        self._is_unmarked = False
        self._has_joined = trio.Event()
        self._trouble = ""  # why nothing can be read, as was logged
        self.known = known

    async def announce(self, written: Written) -> None:
        """Announce what was committed here, behind what other processes have committed before."""
        async with self._announcing:
            if self.known[1] < written.first - 1:
                await self._read_news(written.first - 1)
            if self.known[1] < written.last:  # else it was read as news
                self._has_come_to(written.last)
                self._tail.announce([event for outcome in written.stored for event in outcome.new])

    async def hear_others(self, scope: trio.CancelScope) -> None:
        """Announce what other processes commit, for ever."""
        with scope, watching(self._path) as watch:
            while True:
                await self._look()
                await trio.sleep(SQLITE_REST_SECONDS)
                if not watch.forget():
                    await self._look()  # what was written before may have been committed just now
                    with trio.move_on_after(self._look_seconds):
                        await watch.changed()

    def joined(self, connection: apsw.Connection) -> None:
        """Expect the commit of a transaction of the app's, on this connection."""
        self._joined[connection] = self._joined.get(connection, 0) + 1
        self._is_unmarked = True
        self._has_joined.set()

    async def is_held(self) -> bool:
        """Whether a transaction of the app's in this process, in which it has published, holds the file's lock."""
        for connection in list(self._joined):
            if await is_open(connection):
                return True
        return False

    async def ring_for_apps(self, scope: trio.CancelScope) -> None:
        """Ring the bell when a transaction of the app's is over, for ever.

        Its commit writes to the WAL, which all processes watch. But where the app waits for the disk in it, they have
        looked before it was done.
        """
        with scope:
            while True:
                await self._has_joined.wait()
                for connection, times in list(self._joined.items()):
                    if not await is_open(connection):
                        if self._joined[connection] == times:  # else it was joined anew meanwhile
                            del self._joined[connection]
                        ring(self._path)
                if not self._joined:
                    self._has_joined = trio.Event()
                await trio.sleep(SQLITE_BLIND_SECONDS)

    async def begin_again(self) -> None:
        """Go on in the epoch that the file is in now. Whoever listens is told that something was lost."""
        async with self._announcing:
            job = partial(begin_again, life=self._life, known=self.known)
            epoch, number = await self._connections.writer.run(job, to_its_end=True)
            if epoch == self.known[0]:
                return  # another task was here first
            logger.warning("%s was put back or replaced: epoch %s goes on as %s", self._path, self.known[0], epoch)
            self.known = epoch, number
            self._tail.lose()

    def _has_come_to(self, number: int) -> None:
        self.known = self.known[0], number

    def _mark(self, db: apsw.Connection, number: int) -> None:
        self._life.mark(self.known[0], number)

    async def _look(self) -> None:
        try:
            async with self._announcing:
                await self._read_news()
            return
        except LifeOver:
            pass
        try:
            await self.begin_again()
        except LogError as error:
            self._cannot_hear(error)

    async def _read_news(self, upto: int | None = None) -> None:
        """Announce the commits after those that were announced last. If they cannot be read, listeners are told so."""
        try:
            while upto is None or self.known[1] < upto:
                query = partial(read_news, epoch=self.known[0], seen=self.known[1], upto=upto)
                news = await self._connections.next_reader().run(partial(self._life.while_in_place, query))
                self._trouble = ""
                if news is None:
                    return
                if self._is_unmarked:  # what is in it may be of a transaction of the app's, which marks nothing itself
                    self._is_unmarked = bool(self._joined)
                    await self._connections.writer.run(partial(self._mark, number=news.seen))
                if news.lost:
                    self._tail.lose()
                self._has_come_to(news.seen)
                self._tail.announce(news.events)
        except NotServingError:
            pass  # the log is ending: its listeners are, too
        except LogError as error:
            self._cannot_hear(error)

    def _cannot_hear(self, error: LogError) -> None:
        if str(error) != self._trouble:  # it is looked at again and again
            self._trouble = str(error)
            logger.error("cannot read what other processes have stored: %s", where(error))
        self._tail.lose()
