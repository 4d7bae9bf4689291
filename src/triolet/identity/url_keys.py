"""Keys of a URL, kept and fetched again.

A client never decides how often they are fetched, and waits for a fetch only where the keys at hand cannot say yes:

===================================  ==========================  ==========================
the keys at hand                     a key that they know        a key that they do not
===================================  ==========================  ==========================
none, or older than a day            waits; else ``keys_away``   waits; else ``keys_away``
younger than the age for a refresh   goes on                     waits; else ``key``
older, and in use all the time       goes on, fetches beside     waits; else ``key``
older than twice that (no token)     waits, goes on              waits; else ``key``
older, and the last fetch failed     goes on, fetches beside     waits; else ``keys_away``
===================================  ==========================  ==========================

To wait is to wait for the one fetch that is under way, or that may begin, as the last one is long enough ago; where
none is and none may, nobody waits. A fetch runs in a system task of Trio's, as it is nobody's: the client for which it
was begun may go, and others wait for it as well. It is bounded in seconds and raises nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence

import trio

from ..errors import BadToken
from ..wire.address import without_secrets
from .bounds import JWKS_ASK_SECONDS, JWKS_AWAY_SECONDS, JWKS_BYTES, JWKS_RETRY_SECONDS, JWKS_SECONDS
from .keys import ALGORITHMS, BadKeys, Key, KeySet, read_set, reason_of, told_of

__all__ = ["Fetch", "UrlKeys"]

logger = logging.getLogger("triolet.identity")

Fetch = Callable[[str], Awaitable[bytes]]
"""Fetches the JWKS that a URL names."""


class UrlKeys:
    """Keys that are fetched, and fetched again.

    Args:
        url: of a JWKS.
        fetch: fetches it; here it is bounded in seconds and bytes.
        refresh: the age at which they are fetched again, in seconds.

    Bounds: one fetch at a time, and ``JWKS_ASK_SECONDS`` between two, after a failure ``JWKS_RETRY_SECONDS``. Keys
        that could not be fetched anew serve on for ``JWKS_AWAY_SECONDS``.
    """

    __slots__ = ("_fetch", "_refresh", "_runs", "_url")

    def __init__(self, url: str, fetch: Fetch, refresh: float) -> None:
        self._url = url
        self._fetch = fetch
        self._refresh = refresh
        self._runs: trio.lowlevel.RunVar[_Fetched] = trio.lowlevel.RunVar("keys of a URL")

    @property
    def algorithms(self) -> frozenset[str]:
        return frozenset(ALGORITHMS) - {"HS256"}

    @property
    def told(self) -> str:
        return without_secrets(self._url)

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        state = self._state()
        age = state.age()
        if age > JWKS_AWAY_SECONDS:
            await self._wait_for_newer(state)
            if state.age() > JWKS_AWAY_SECONDS:
                raise BadToken("keys_away")
        elif age > 2 * self._refresh and not state.failed:
            await self._wait_for_newer(state)
        elif age > self._refresh:
            self._begin(state)
        try:
            return state.keys.find(kid, algorithm)
        except BadToken:
            await self._wait_for_newer(state)
        try:
            return state.keys.find(kid, algorithm)
        except BadToken:
            if state.failed:  # newer keys might well have it
                raise BadToken("keys_away") from None
            raise

    def _state(self) -> _Fetched:
        try:
            return self._runs.get()
        except LookupError:
            state = _Fetched()
            self._runs.set(state)
            return state

    async def _wait_for_newer(self, state: _Fetched) -> None:
        """Wait for the fetch that is under way, or may begin now; or do not wait."""
        self._begin(state)
        if state.under_way is not None:
            await state.under_way.wait()

    def _begin(self, state: _Fetched) -> None:
        pause = JWKS_RETRY_SECONDS if state.failed else JWKS_ASK_SECONDS
        if state.under_way is None and trio.current_time() - state.asked_at >= pause:
            trio.lowlevel.spawn_system_task(self._run, state, name=f"keys of {self.told}")
            state.under_way = trio.Event()

    async def _run(self, state: _Fetched) -> None:
        """Fetch the keys. It raises nothing: in a system task that would end everything."""
        try:
            body = b""
            with trio.move_on_after(JWKS_SECONDS) as scope:
                body = await self._fetch(self._url)
            if scope.cancelled_caught:
                raise BadKeys(f"no answer in {JWKS_SECONDS} s")
            if not isinstance(body, bytes) or len(body) > JWKS_BYTES:
                raise BadKeys(f"it is more than {JWKS_BYTES} bytes, or no bytes")
            keys = read_set(body, secrets=False)
        except Exception as error:
            if not state.failed:
                logger.warning("%s: no keys to be had, the last ones serve on: %s", self.told, reason_of(error))
            state.failed = True
        else:
            if state.failed:
                logger.info("%s: keys are fetched again", self.told)
            if (faults := told_of(keys)) != state.faults:
                state.faults = faults
                if faults:
                    logger.warning("%s: %s", self.told, faults)
            state.keys, state.fetched_at, state.failed = keys, trio.current_time(), False
        finally:
            assert state.under_way is not None
            state.asked_at = trio.current_time()
            state.under_way.set()
            state.under_way = None


class _Fetched:
    """What one run of Trio has of a URL."""

    __slots__ = ("asked_at", "failed", "faults", "fetched_at", "keys", "under_way")

    def __init__(self) -> None:
        self.keys = KeySet(())
        self.fetched_at = self.asked_at = -math.inf
        self.failed = False
        self.faults = ""  # that the log was told of
        self.under_way: trio.Event | None = None

    def age(self) -> float:
        return trio.current_time() - self.fetched_at
