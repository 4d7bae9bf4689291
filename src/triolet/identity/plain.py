"""An identity as JSON, for the log: another process makes the same of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import DataError
from ..event import encode_json
from .bounds import IDENTITY_BYTES
from .identity import Identity

__all__ = ["from_plain", "to_plain"]


def to_plain(identity: Identity) -> dict[str, Any]:
    """Return an identity as a JSON object.

    Raises:
        DataError: the app's fault; its claims are no JSON values that come back as they went in, or too large.

    Bounds: ``IDENTITY_BYTES``.
    """
    claims = dict(identity.claims)
    try:
        size = len(encode_json(claims))
    except DataError:
        raise DataError(
            "an identity that is told to other processes has JSON values as claims, and this has not"
        ) from None
    if size > IDENTITY_BYTES:
        raise DataError(f"an identity that is told to other processes has claims of at most {IDENTITY_BYTES} bytes")
    return {
        "subject": identity.subject,
        "session": identity.session,
        "expires_at": identity.expires_at,
        "claims": claims,
    }


def from_plain(plain: Mapping[str, Any]) -> Identity:
    """Return the identity that an object stands for.

    Raises:
        DataError: it stands for none.
    """
    try:
        return Identity(plain["subject"], plain["session"], plain["expires_at"], plain["claims"])
    except (KeyError, TypeError):
        raise DataError("this is no identity") from None
