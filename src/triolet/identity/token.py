"""The form of a token: a JWS in its compact form (RFC 7515, section 7.1), whose JSON is read strictly.

All that is here comes from a client, and is signed by nobody yet.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

import msgspec

from ..errors import BadToken, DataError
from ..value import check_json
from .bounds import TOKEN_BYTES, TOKEN_HEAD_BYTES

__all__ = ["Token", "object_of"]

_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_TYPES: Final = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")
_BLANKS: Final = bytes.maketrans(b"\r\n", b"  ")
_decode: Final = msgspec.json.Decoder().decode


class Token(msgspec.Struct, frozen=True):
    """A token, taken apart.

    Attributes:
        algorithm: what its head says it was signed by, whatever that is.
        kid: the key that it names; None where it names none.
        signed: what the signature is of.
        payload: the claims, still as JSON: nothing of them is read before the signature is checked.
        signature: that.
    """

    algorithm: str
    kid: str | None
    signed: bytes
    payload: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "<Token>"  # of which nothing belongs in a log line

    @classmethod
    def parse(cls, text: str) -> Token:
        """Take a token apart.

        Of its head only ``alg``, ``kid`` and ``typ`` are looked at. What asks for more is refused: ``crit``, whose
        meaning has to be known; ``b64`` (RFC 7797); and a ``typ`` of something else, such as a logout token, which the
        same key has signed for another end (RFC 8725, section 3.11).

        Raises:
            BadToken: ``malformed``, or ``algorithm`` where it says none.

        Bounds: ``TOKEN_BYTES``, of which ``TOKEN_HEAD_BYTES`` for the head.
        """
        if not isinstance(text, str) or len(text) > TOKEN_BYTES or not _FORM.fullmatch(text):
            raise BadToken("malformed")
        signed, _, signature = text.encode().rpartition(b".")
        head_part, _, payload = signed.partition(b".")
        if len(head_part) > TOKEN_HEAD_BYTES:
            raise BadToken("malformed")
        try:
            head = object_of(_bytes_of(head_part))
            parts = signed, _bytes_of(payload), _bytes_of(signature)
        except ValueError:
            raise BadToken("malformed") from None
        algorithm, kid, kind = head.get("alg"), head.get("kid"), head.get("typ", "JWT")
        if not isinstance(algorithm, str):
            raise BadToken("algorithm")
        if "crit" in head or "b64" in head or not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise BadToken("malformed")
        if kid is not None and not isinstance(kid, str):
            raise BadToken("malformed")
        return cls(algorithm, kid, *parts)

    def claims(self) -> dict[str, Any]:
        """Read the claims. Their names and values are whatever was signed.

        Raises:
            BadToken: ``malformed``.
        """
        try:
            return object_of(self.payload)
        except ValueError:
            raise BadToken("malformed") from None


def _bytes_of(part: bytes) -> bytes:
    """Decode base64url as RFC 7515 has it: no padding, and one text only for the same bytes.

    Raises:
        ValueError: it is none.
    """
    decoded = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=") != part:
        raise ValueError("it is no base64url")
    return decoded


def object_of(json: bytes) -> dict[str, Any]:
    """Decode a JSON object in which no name stands twice: readers differ in which of two they take.

    Raises:
        ValueError: it is none, or is nested deeper than a published event may be. It quotes nothing.
    """
    try:
        check_json(json.translate(_BLANKS))  # line ends stand between values only, and are no fault here
    except DataError:  # which quotes it
        raise ValueError("it is no JSON, or a name stands twice in it, or it is nested too deep") from None
    value = _decode(json)
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value
