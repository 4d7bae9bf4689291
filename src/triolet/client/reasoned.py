"""What a program is told of a connection that is not there, or not any more."""

from __future__ import annotations

from .errors import ClientError, Ended

__all__ = ["Reasoned"]


class Reasoned:
    """Something that needs a connection, and says why it has none.

    Attributes:
        url: where, as it was given.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._why: Ended | None = None

    @property
    def reason(self) -> str | None:
        """Why its state is as it is: why the last connection ended, or there was none, in words; None: nothing is
        wrong.
        """
        return None if self._why is None else str(self._why)

    @property
    def error(self) -> ClientError | None:
        """The same as an error, with its ``kind``, ``status`` and ``code``; nobody raises it before the state is
        ``gone``.
        """
        return None if self._why is None else self._why.as_error(self.url)
