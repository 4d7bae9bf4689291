"""An identity: who a client is, as the app's ``@live.identify`` says."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ..errors import DataError
from ..event import plain
from .bounds import SUBJECT_BYTES, TOKEN_LAST_SECOND

__all__ = ["Identity", "check_part"]

NO_CLAIMS: Final[Mapping[str, Any]] = MappingProxyType({})


class Identity(msgspec.Struct, frozen=True, eq=True):
    """Who a client is, and until when.

    Attributes:
        subject: the user, account or device: 1 to 255 bytes of text without control characters. What is revoked, and
            under which a command's answer is kept.
        session: the login, of which a subject may have several; the same bounds. None is none.
        expires_at: when it ends, in seconds since 1970, till the year 9999; None is never.
        claims: what else the app knows of the client, for its own views, handlers and checks. It is not copied.

    Raises:
        DataError: a part is out of its bounds. The message does not quote it.
    """

    subject: str
    session: str | None = None
    expires_at: float | None = None
    claims: Mapping[str, Any] = msgspec.field(default=NO_CLAIMS)

    def __post_init__(self) -> None:
        for part in ("subject", "session"):
            text = getattr(self, part)
            if text is not None or part == "subject":
                msgspec.structs.force_setattr(self, part, check_part(part, text))
        expires = self.expires_at
        if expires is not None and (
            isinstance(expires, bool)
            or not isinstance(expires, int | float)
            or not -TOKEN_LAST_SECOND <= expires <= TOKEN_LAST_SECOND
        ):
            raise DataError("an identity's expires_at is a number of seconds since 1970, till the year 9999, or None")
        if not isinstance(self.claims, Mapping):
            raise DataError("an identity's claims are a mapping")

    def __repr__(self) -> str:
        return f"Identity({self.subject!r})"  # claims may hold what belongs in no log line


def check_part(part: str, text: Any) -> str:
    """Return a subject or session, of a subclass of text the text. Raises DataError, which does not quote it: it is out
    of its bounds."""
    try:
        size = len(text.encode()) if isinstance(text, str) else 0
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= SUBJECT_BYTES:
        raise DataError(f"an identity's {part} is a text of 1 to {SUBJECT_BYTES} bytes")
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text):
        raise DataError(f"an identity's {part} has no control characters")
    return plain(text)
