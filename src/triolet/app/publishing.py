"""What an app may publish: checked where it is said, before anything is stored."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ChannelNameError, DataError
from ..event import OWN_PREFIX, Draft, check_channel
from ..limits import Limits

__all__ = ["check_drafts", "publishable"]


def publishable(channel: str) -> str:
    """Return the name of a channel that an app may publish to.

    Raises:
        ChannelNameError: no channel can be called so, or it is Triolet's own.
    """
    channel = check_channel(channel)
    if channel.startswith(OWN_PREFIX):  # it would say who is present, or which process is alive
        raise ChannelNameError(channel, f"what begins with {OWN_PREFIX!r} is Triolet's own")
    return channel


def check_drafts(drafts: Iterable[Draft], limits: Limits) -> None:
    """Refuse events that are too large. Raises DataError."""
    for draft in drafts:
        if len(draft.json) > limits.event_bytes:
            raise DataError(f"{len(draft.json)} bytes of JSON are more than limits.event_bytes")
