"""The way to one server: all that a connection needs to know of it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import trio

from ..wire.address import Base
from .choice import Choice
from .credentials import Credentials
from .dial import Dial, secure, through_proxy
from .errors import STOPS, Ended, one_of
from .heartbeat import Heartbeat
from .http import BROKEN, Answer, Http, refusal
from .line import Line

__all__ = ["Way", "connected", "lost", "next_try"]


@dataclass(frozen=True)
class Way:
    """What is the same for all connections of a client.

    Attributes:
        base: where the server is.
        tls: what TLS is checked with.
        dial: a network of one's own; None: TCP, and the environment's proxies.
        http: its requests.
        credentials: who the client is.
        library: of WebSockets.
        choice: of the transport.
        silence: seconds without a word before a connection counts as lost.
        wait: seconds that a long poll may be held.
        random: 0 up to 1.
        acknowledge: seconds after which the server is told what was applied; None: it is not.
    """

    base: Base
    tls: ssl.SSLContext | bool
    dial: Dial | None
    http: Http
    credentials: Credentials
    library: str
    choice: Choice
    silence: float
    wait: float
    random: Callable[[], float]
    acknowledge: float | None = None

    async def stream(self) -> trio.abc.Stream:
        """Connect, with TLS where the base says so. Raises what :data:`BROKEN` names, and Ended."""
        base = self.base
        if self.dial is not None:
            stream = await self.dial(base.host, base.port)
        else:
            stream = await through_proxy(base.host, base.port, tls=base.tls)
        if not isinstance(self.tls, ssl.SSLContext):
            return stream
        try:
            return await secure(stream, base.host, self.tls)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def ask(self, name: str, body: dict[str, str]) -> Answer:
        """Ask Triolet itself, at ``/triolet/<name>``, with the credential that is good now.

        Raises:
            Ended: it says no, or is not there.
        """
        headers = {**await self.credentials.headers(), "content-type": "application/json"}
        url = self.base.url(self.base.target(f"/triolet/{name}"))
        try:
            with trio.fail_after(self.silence):
                answer = await self.http.ask("POST", url, headers, msgspec.json.encode(body))
        except trio.TooSlowError:
            raise Ended("silent") from None
        except BROKEN as error:
            raise lost(error) from None
        if not 200 <= answer.status < 300:
            raise refusal(answer)
        return answer


def next_try(way: Way, line: Line, beat: Heartbeat, ended: Ended) -> float | None:
    """Return when to try again after a connection has ended: in seconds, at once by another transport; None: never."""
    renewable = way.credentials.renewable
    cut = beat.reached and not beat.heard_any and ended.retry == "backoff"
    if not (ended.expired and renewable) and way.choice.fails(beat.transport, ended, cut=cut):
        return 0.0
    retry = line.after(ended, trio.current_time(), renewable=renewable)
    if retry is None:
        way.choice.refused()
    return retry


async def connected(beat: Heartbeat, talk: Callable[[trio.Nursery], Awaitable[object]]) -> Ended:
    """One connection, from its first byte to its end: a nursery with its reader (``talk``) and its heartbeat. Return
    why it ended.
    """
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat.run)
            await talk(nursery)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = one_of(group)
        if isinstance(error, STOPS):
            raise error from None
        await trio.lowlevel.checkpoint_if_cancelled()
        if isinstance(error, Ended):
            return error
        if isinstance(error, BROKEN):
            return lost(error)
        raise
    return Ended("the connection ended")


def lost(error: BaseException) -> Ended:
    """Why nothing comes: a library's error as ours."""
    said = str(error) or str(error.__cause__ or "")
    return Ended(f"{type(error).__name__}{f': {said}' if said else ''}"[:200])
