"""Revocations: what the app has taken back, from clients that are there and from those that are being let in.

What is open when a revocation is told is ended by whoever holds it: a connection's subscriptions, a poll that waits.
What is only being opened cannot be: the app has said who a client is, or its view has said yes, and nothing of that can
be seen yet. So each way in notes its *position*, how many revocations were known here, before it asks the app anything,
and looks when its answer takes effect whether one that came since then speaks of it. Whichever of both is first, a yes
that is older than a revocation never outlives it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
import trio

from ..bounds import FOLLOW_URL_CHARACTERS
from ..closing import RESTARTING, REVOKED, Closing
from ..errors import ConfigError, DataError
from ..event import check_channel, plain
from ..pattern import Patterns
from .bounds import CLOCKS_APART_SECONDS, REVOCATIONS_KEPT, REVOKED_PATTERNS
from .grant import Grant
from .identity import Identity, check_part

__all__ = ["LOST", "Revocation", "Revocations", "WaitingPoll", "WaitingPolls"]

Waiting = TypeVar("Waiting", bound="WaitingPoll")


class Revocation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom and what is revoked: all that is named must be so.

    Attributes:
        subject: an identity's; None is anybody, also a client that is nobody.
        session: an identity's, likewise.
        channel: a channel that is followed; with ``channels``, None is all of a connection.
        url: the path of the URL that was followed, or that a connection was opened at, as the app's rules have it.
        channels: patterns, of which one matches what is followed.
        lost: it is not known what is revoked: so it is everybody with an identity, who is to come back and be asked.
    """

    subject: str | None = None
    session: str | None = None
    channel: str | None = None
    url: str | None = None
    channels: Patterns | None = None
    lost: bool = False

    @classmethod
    def of(
        cls,
        subject: str | None = None,
        session: str | None = None,
        channel: str | None = None,
        url: str | None = None,
        channels: str | Iterable[str] | None = None,
    ) -> Revocation:
        """Make one of what an app gives.

        Raises:
            ConfigError: nothing is given, and that is nobody and not everybody.
            ChannelNameError, DataError: something is given that nobody can have.
        """
        if subject is session is channel is url is channels is None:
            raise ConfigError("live.revoke needs at least one of subject=, session=, channel=, channels= and url=")
        if subject is not None:
            subject = check_part("subject", subject)
        if session is not None:
            session = check_part("session", session)
        if channel is not None:
            channel = check_channel(channel)
        if url is not None:
            url = _check_url(url)
        return cls(subject, session, channel, url, None if channels is None else _patterns(channels))

    @property
    def named(self) -> dict[str, Any]:
        """What it names, as JSON: :meth:`of` makes it of that again."""
        patterns = None if self.channels is None else list(self.channels.texts)
        said = {"subject": self.subject, "session": self.session, "channel": self.channel, "url": self.url}
        return {part: value for part, value in (*said.items(), ("channels", patterns)) if value is not None}

    @property
    def of_channels(self) -> bool:
        """Whether it takes away what is followed, and no connection as a whole."""
        return self.channel is not None or self.channels is not None

    @property
    def closing(self) -> Closing:
        """With what those are ended that it speaks of."""
        return RESTARTING if self.lost else REVOKED

    def names(self, identity: Identity | None) -> bool:
        """Whether it speaks of a client, if that is where it speaks of."""
        if identity is None:
            return not self.lost and self.subject is None and self.session is None
        return (self.subject is None or identity.subject == self.subject) and (
            self.session is None or identity.session == self.session
        )

    def ends(self, identity: Identity | None, channel: str | None, paths: Collection[str]) -> bool:
        """Whether it speaks of a client there.

        Args:
            identity: the client's; None is nobody.
            channel: what it follows; None asks for the connection as a whole.
            paths: under which names its URL's path is known.
        """
        if not self.names(identity) or (self.channel is not None and channel != self.channel):
            return False
        if self.channels is not None and (channel is None or not self.channels.matches(channel)):
            return False
        # Also as ``url_for`` writes it, with what is not ASCII in percent-encoding.
        return self.url is None or self.url in paths or ("%" in self.url and unquote(self.url) in paths)


LOST = Revocation(lost=True)
"""What others have revoked did not all come, and cannot be read."""


class WaitingPoll:
    """A poll between its admission and the end of its answer.

    Args:
        grant: what it was let in with.
        channel: what it asks for.
        path: its URL's.

    Attributes:
        closing: why it is not to be answered with events; None while it is.
        stop: what ends it where it is now.
    """

    __slots__ = ("_channel", "_grant", "_path", "closing", "stop")

    def __init__(self, grant: Grant | None, channel: str, path: str) -> None:
        self._grant = grant
        self._channel = channel
        self._path = path
        self.closing: Closing | None = None
        self.stop: Callable[[], None] = _do_nothing

    def revoke(self, revocation: Revocation) -> bool:
        """End it, if a revocation speaks of it, and return whether that is so."""
        identity = None if self._grant is None else self._grant.identity
        if self.closing is not None or not revocation.ends(identity, self._channel, (self._path,)):
            return False
        self.closing = revocation.closing
        self.stop()
        return True


class WaitingPolls(WaitingPoll):
    """A poll of many channels: what is revoked of some of them leaves it the others.

    Args:
        grant: what it was let in with.
        path: its URL's.
        follows: its channels, and under which names the path of each URL is known.

    Attributes:
        taken: the channels that were taken from it.
    """

    __slots__ = ("_follows", "taken")

    def __init__(self, grant: Grant | None, path: str, follows: Mapping[str, Collection[str]]) -> None:
        super().__init__(grant, "", path)
        self._follows = dict(follows)
        self.taken: list[str] = []

    def revoke(self, revocation: Revocation) -> bool:
        if self.closing is not None:
            return False
        if not revocation.of_channels and super().revoke(revocation):
            return True
        identity = None if self._grant is None else self._grant.identity
        lost = [channel for channel, paths in self._follows.items() if revocation.ends(identity, channel, paths)]
        for channel in lost:
            self.take(channel, revocation.closing)
        return bool(lost)

    def take(self, channel: str, closing: Closing) -> None:
        """Take a channel from it; with the last one it ends."""
        del self._follows[channel]
        self.taken.append(channel)
        if not self._follows:
            self.closing = closing
        self.stop()


class Revocations:
    """The revocations that are known in this process, the latest of them, and the polls that they may end.

    Args:
        seconds: how long it may be at most from when something is decided until it takes effect.

    Attributes:
        position: how many were ever known here.
        polls: those that are not answered yet.

    Bounds: ``REVOCATIONS_KEPT``, and those of the last ``seconds`` whenever another one comes.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._seconds = seconds
        self._began = trio.current_time() if seconds < math.inf else -math.inf
        self._kept: deque[tuple[float, Revocation]] = deque(maxlen=REVOCATIONS_KEPT)
        self.position = 0
        self.polls: dict[WaitingPoll, None] = {}

    def add(self, revocation: Revocation) -> None:
        """Know one more: it is in force for all that was decided before, and takes effect later."""
        now = trio.current_time()
        while self._kept and self._kept[0][0] < now - self._seconds:
            self._kept.popleft()
        self._kept.append((now, revocation))
        self.position += 1

    def since(
        self, position: int, identity: Identity | None, channel: str | None, paths: Collection[str]
    ) -> Closing | None:
        """Why what was decided at a position may not take effect now; None where it may.

        Where more has come since than is kept it is not known, and the client is to come back and be asked anew.

        Args:
            position: :attr:`position` before the app was asked.
            identity: the client's.
            channel: what it is to follow; None is a connection that follows nothing by itself.
            paths: under which names its URL's path is known.
        """
        new = self.position - position
        if new > len(self._kept):
            return RESTARTING
        for _, revocation in islice(reversed(self._kept), new):
            if revocation.ends(identity, channel, paths):
                return revocation.closing
        return None

    def before(self, seconds: float) -> int:
        """Return the position of so many seconds ago, as another process has measured them, whose clock may be another
        one by ``CLOCKS_APART_SECONDS``. Where it is not known, for this process did not listen then or keeps none so
        old, it is one since which nothing may take effect."""
        since = trio.current_time() - seconds
        newer = sum(1 for at, _ in self._kept if at >= since - CLOCKS_APART_SECONDS)
        if since < self._began or (newer == len(self._kept) == REVOCATIONS_KEPT) or seconds > self._seconds:
            return -1
        return self.position - newer

    def poll(self, grant: Grant | None, channel: str, path: str) -> AbstractContextManager[WaitingPoll]:
        """Have a poll ended by what is revoked in the time of a block."""
        return self.holding(WaitingPoll(grant, channel, path))

    @contextmanager
    def holding(self, poll: Waiting) -> Iterator[Waiting]:
        """Have a poll that was made ended by what is revoked in the time of a block."""
        self.polls[poll] = None
        try:
            yield poll
        finally:
            del self.polls[poll]


def _patterns(channels: Any) -> Patterns:
    if isinstance(channels, str):
        channels = (channels,)
    if not isinstance(channels, Iterable) or not 1 <= len(texts := list(channels)) <= REVOKED_PATTERNS:
        raise DataError(
            f"live.revoke(channels=…) takes a pattern such as 'rooms/7/*', or 1 to {REVOKED_PATTERNS} of them, "
            f"not {channels!r:.60}"
        )
    return Patterns(map(check_channel, texts))


def _check_url(url: Any) -> str:
    if not isinstance(url, str) or not url.startswith("/") or len(url) > FOLLOW_URL_CHARACTERS or "?" in url:
        raise DataError(
            f"live.revoke takes a URL's path, like '/orders/A123/events', of at most {FOLLOW_URL_CHARACTERS} "
            "characters and without a query"
        )
    return plain(url)


def _do_nothing() -> None:
    """What ends a poll that waits for nothing: it looks when it goes on."""
