"""What a client raises, and why a connection ended.

::

    TrioletError
    └── ClientError           what is followed, or asked for, will not come; ``kind`` says why
        └── Unanswered          nobody knows whether a command happened, if it was ``sent``
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, Literal

import trio

from ..closing import CATALOGUE, EXPIRED, NORMAL
from ..errors import TrioletError, first_of
from ..wire.address import without_secrets

__all__ = ["FINAL_CODES", "STOPS", "ClientError", "Ended", "Kind", "Unanswered", "one_of"]

Kind = Literal["bad answer", "closed", "expired", "login", "network", "refused", "revoked", "unanswered"]
"""Why: ``refused`` (401, 403, 404 and other final statuses, or "refused" on a socket), ``expired`` (4401), ``revoked``
(4403), ``login`` (HTML or a redirect in place of the channel), ``bad answer`` (what no server of Triolet's says),
``closed`` (the server ended it for good), ``network`` (nobody is there), ``unanswered`` (a command)."""

FINAL_CODES: Final = frozenset({closing.code for closing in CATALOGUE if closing.retry is None} - {NORMAL.code})
"""Closings after which the server does not want to be asked again, for a close frame that came without its bye."""


STOPS: Final = (KeyboardInterrupt, SystemExit)
"""What is no error of a connection's, in whichever task it is raised: the program is to end."""


class ClientError(TrioletError):
    """What is followed or asked for will not come: asking again as before would change nothing.

    Attributes:
        kind: why, one of :data:`Kind`.
        status: the HTTP status that said so; None where it was no status.
        code: the WebSocket close code, or that of the ``bye``; None where there was none.
    """

    def __init__(self, message: str, kind: Kind, *, status: int | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.status = status
        self.code = code


class Unanswered(ClientError):
    """Nobody knows whether the command happened, if it was ``sent``. Asking again with the same ``id`` is safe.

    Attributes:
        id: the command's.
        sent: whether it may have reached the server.
    """

    def __init__(self, message: str, id: str, sent: bool) -> None:
        super().__init__(message, "unanswered")
        self.id = id
        self.sent = sent


class Ended(Exception):
    """Why one connection ended, and whether there is to be another.

    Attributes:
        kind: as of :class:`ClientError`.
        retry: seconds until the next try; None: there is none; 0: at once, in another way, which no server says;
            ``"backoff"``: as the client's own backoff says.
        code: of the close frame or the bye.
        status: of the answer.
        error: what the answer's JSON calls it.
        blames: whether the transport may be the cause, so that another one is worth a try.
        rides: whether it was said of a follow on a shared socket, and not of that connection.
        alone: whether the follow is to go on with a connection of its own.
        by_server: whether the server knows, and is told nothing.
    """

    def __init__(
        self,
        message: str,
        kind: Kind = "network",
        *,
        retry: float | Literal["backoff"] | None = "backoff",
        code: int | None = None,
        status: int | None = None,
        error: str | None = None,
        blames: bool = False,
        rides: bool = False,
        alone: bool = False,
        by_server: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.retry = retry
        self.code = code
        self.status = status
        self.error = error
        self.blames = blames
        self.rides = rides
        self.alone = alone
        self.by_server = by_server

    @property
    def expired(self) -> bool:
        """Whether a new credential may help."""
        return self.code == EXPIRED.code or self.status == HTTPStatus.UNAUTHORIZED

    def as_error(self, url: str) -> ClientError:
        """The same for the program: so a connection of what is at a URL has ended."""
        said = str(self) if self.code is None or self.status or str(self.code) in str(self) else f"{self} ({self.code})"
        return ClientError(f"{without_secrets(url)}: {said}", self.kind, status=self.status, code=self.code)


def one_of(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return one error of a group, out of all groups that it is in: that the program is to end, before any other. None:
    it was only cancelled.
    """
    _, errors = group.split(trio.Cancelled)
    if errors is None:
        return None
    stops, _ = errors.split(STOPS)
    return first_of(stops or errors)
