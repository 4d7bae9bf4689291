"""The ``Idempotency-Key`` header (draft-ietf-httpapi-idempotency-key-header): a String of RFC 9651 section 3.3.3."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["parse_key", "write_key"]

_STRING: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')
_BARE: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z:/=]+")
_ESCAPED: Final = re.compile(r"\\(.)")
_TEXT: Final = re.compile(r"[\x20-\x7e]+")


def parse_key(value: str) -> str | None:
    """Return the key that a header's value says; None where it says none.

    A String in its quotes. Without quotes it is taken too where it is one word, as a UUID is: many clients write it so.
    An empty one names nothing, and is none.
    """
    value = value.strip(" \t")
    if _BARE.fullmatch(value):
        return value
    quoted = _STRING.fullmatch(value)
    return None if quoted is None else _ESCAPED.sub(r"\1", quoted[1])


def write_key(key: str) -> str | None:
    """Return a header's value that says a key; None where none can: it is empty, or not printable ASCII."""
    if not _TEXT.fullmatch(key):
        return None
    return '"' + key.replace("\\", r"\\").replace('"', r"\"") + '"'
