"""How events look in a route's plain event streams: the app's function, asked about each once, and held to a text."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from ..errors import ConfigError, only_exceptions, where
from ..event import Event
from ..limits import Limits
from ..wire.codec import Rendered

__all__ = ["rendering"]

logger = logging.getLogger("triolet")


def rendering(render: Any, limits: Limits) -> Rendered | None:
    """Return the codecs of a route with a ``render=``; None where it has none. Raises ConfigError."""
    if render is None:
        return None
    if not callable(render) or iscoroutinefunction(render):
        raise ConfigError(
            f"render= is an ordinary function of an event, which returns a text or None, not {render!r:.80}"
        )
    return Rendered.by(partial(_text_of, render, limits.event_bytes))


def _text_of(render: Callable[[Event], Any], most: int, event: Event) -> bytes | None:
    """Ask the app's function. Where it fails the event is left out: it is called in the pump, between the writes to
    clients, and what it raises would end that."""
    try:
        with only_exceptions():
            answer = render(event)
            if answer is None:
                return None
            if not isinstance(answer, str):
                raise TypeError(f"it returned no text, but {type(answer).__name__}")
            text = answer.encode()
    except Exception as error:
        logger.error("a render= function failed on an event, which is left out: %s", where(error, with_message=False))
        return None
    if len(text) > most:
        logger.error(
            "a render= function made %d bytes of an event: it is left out, as limits.event_bytes says", len(text)
        )
        return None
    return text
