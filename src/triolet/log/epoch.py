"""What an epoch is called: one life of a log, in each of its cursors."""

from __future__ import annotations

import secrets
from typing import Final

__all__ = ["draw_epoch"]

_LETTERS: Final = str.maketrans("0123456789-_", "abcdefghijkl")


def draw_epoch() -> str:
    """Draw the name of a new life: eight characters of ``A-Z a-z 0-9 _ -``, the first of them a letter.

    People type cursors on command lines and paste them into tables: one that begins with a minus is taken for an
    option or a formula there, and ``12345678.3`` for a number. (Older logs have such epochs, which stay good.)
    """
    name = secrets.token_urlsafe(6)
    return name[0].translate(_LETTERS) + name[1:]
