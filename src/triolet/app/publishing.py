"""What an app may publish: checked where it is said, before anything is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ChannelNameError, ConfigError, DataError, repr_of
from ..event import OWN_PREFIX, Draft, check_channel
from ..limits import Limits
from ..log import EventLog

__all__ = ["check_drafts", "drafts_of", "ending_of", "publishable"]


def publishable(channel: str) -> str:
    """Return the name of a channel that an app may publish to.

    Raises:
        ChannelNameError: no channel can be called so, or it is Triolet's own.
    """
    channel = check_channel(channel)
    if channel.startswith(OWN_PREFIX):  # it would say who is present, or which process is alive
        raise ChannelNameError(channel, f"what begins with {OWN_PREFIX!r} is Triolet's own")
    return channel


def drafts_of(items: Sequence[Any], limits: Limits) -> list[Draft]:
    """Make drafts of what is published: of data, or of drafts that the app has made.

    Raises:
        DataError: the app's fault; they are no list, or one of them is no JSON value, or too large.
    """
    if isinstance(items, bytes | Mapping) or not isinstance(items, Iterable):
        raise DataError(f"what is published together is a list of data and drafts, not {repr_of(items)}")
    drafts = [item if isinstance(item, Draft) else Draft.of(item) for item in items]
    check_drafts(drafts, limits)
    return drafts


def check_drafts(drafts: Iterable[Draft], limits: Limits) -> None:
    """Refuse events that are too large. Raises DataError."""
    for draft in drafts:
        if len(draft.json) > limits.event_bytes:
            raise DataError(f"{len(draft.json)} bytes of JSON are more than limits.event_bytes")


def ending_of(log: EventLog, data: Any) -> Draft:
    """Make the last event of a channel.

    Raises:
        ConfigError: the app's fault; this log knows no ends.
        DataError: the app's fault; it is no JSON value.
    """
    if not log.can_end:
        raise ConfigError(f"{type(log).__name__} knows no ends: see triolet.log.EventLog.delete")
    return Draft.ending(data)
