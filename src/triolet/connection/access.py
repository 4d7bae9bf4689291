"""Access: what a client was let in with, and by what it may ask for more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import unquote

from ..hub import Subscription
from ..identity import Grant, Identity

__all__ = ["Access", "AskAgain", "Decide"]

Decide: TypeAlias = Callable[[str], Awaitable[Subscription | None]]
"""Asks the view behind a URL what a client that follows it gets; None is a refusal."""

AskAgain: TypeAlias = Callable[[str | None], Awaitable[str | None]]
"""Asks the view behind a URL (None is the connection's own) which channel the client may follow now; None is no more.
Raises TrioletError where that cannot be said now."""


class Access:
    """What one client was let in with, and by what it may ask for more.

    Args:
        grant: who it is, and until when; None where nobody asks.
        path: of the connection's own URL, as the app's rules have it.
        root: what stands before that in URLs where the app lives below another path.
        decide: asks the view behind a URL; None if this client may not follow by URL.
        ask_again: asks a view again; None where no route wants that.

    Attributes:
        own: the channel of the connection's own URL; None where that is none.
        complete: whether it follows all that it ever can: where nothing is left of that, it ends.
    """

    __slots__ = ("ask_again", "complete", "decide", "grant", "own", "path", "root")

    def __init__(
        self,
        grant: Grant | None = None,
        path: str = "",
        root: str = "",
        decide: Decide | None = None,
        ask_again: AskAgain | None = None,
    ) -> None:
        self.grant = grant
        self.path = path
        self.root = root
        self.decide = decide
        self.ask_again = ask_again
        self.own: str | None = None
        self.complete = False

    @property
    def identity(self) -> Identity | None:
        """Who the client is now; None is nobody."""
        return None if self.grant is None else self.grant.identity

    def paths(self, url: str | None) -> tuple[str, ...]:
        """Under which names the path of a URL that is followed may be known.

        A client may write a path with what stands before it in URLs, or without, as a request for it could come.

        Args:
            url: as the client wrote it; None is the connection's own.
        """
        if url is None:
            return (self.path,)
        path = unquote(url.partition("?")[0])
        below = path.removeprefix(self.root)
        return (path, below) if below.startswith("/") else (path,)
