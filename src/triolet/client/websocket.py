"""One WebSocket over a stream that we have dialled, by one of two libraries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final, cast

import trio

from ..errors import ConfigError
from .errors import STOPS, one_of
from .socket import Socket

__all__ = ["check_library", "open_socket"]

LIBRARIES: Final = {"trio-websocket": "by_trio_websocket", "websockets": "by_websockets"}
"""Which file of ours speaks by which library."""


class _Sheltered:
    """A nursery's face for a library: what it starts outlives a cancellation, so that it hears the answer to our close
    frame. It is ended by :meth:`end`, at the latest ``CLIENT_GOODBYE_SECONDS`` after that."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: list[trio.CancelScope] = []

    def start_soon(self, call: Callable[..., Any], *args: Any, name: object = None) -> None:
        scope = trio.CancelScope(shield=True)
        self._scopes.append(scope)
        self._nursery.start_soon(self._run, scope, call, args, name=name or call)

    def end(self) -> None:
        for scope in self._scopes:
            scope.cancel()

    async def _run(self, scope: trio.CancelScope, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        with scope:
            await call(*args)


@asynccontextmanager
async def open_socket(
    library: str,
    stream: trio.abc.Stream,
    authority: str,
    target: str,
    headers: dict[str, str],
    heard: Callable[[], bool],
) -> AsyncIterator[Socket]:
    """Open a WebSocket, and say goodbye at the end of the block, if that may be ``heard``.

    Raises:
        Ended: it is refused, or it ends within the block; with what was said about coming back.
    """
    open_one = import_module(f".{LIBRARIES[library]}", __package__).open_one
    try:
        async with trio.open_nursery() as nursery:
            sheltered = _Sheltered(nursery)
            try:
                async with open_one(cast(trio.Nursery, sheltered), stream, authority, target, headers, heard) as socket:
                    yield socket
            finally:
                sheltered.end()
                await trio.aclose_forcefully(stream)
    except BaseExceptionGroup as group:
        error = one_of(group)
        if not isinstance(error, STOPS):
            await trio.lowlevel.checkpoint_if_cancelled()
        raise (error or group) from None


def check_library(name: str) -> str:
    """Return the name of a library that there is. Raises ConfigError."""
    if name not in LIBRARIES:
        raise ConfigError(f"websocket={name!r:.60}: one of {', '.join(LIBRARIES)}")
    try:
        import_module(f".{LIBRARIES[name]}", __package__)
    except ModuleNotFoundError as error:
        raise ConfigError(f"websocket={name!r} needs {error.name}, which is not installed") from None
    return name
