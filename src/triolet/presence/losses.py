"""Channels whose log has begun again with less than it had: leaves that this process wrote there may be among what was
lost, and its sessions are present again though they are over."""

from __future__ import annotations

from collections import OrderedDict

from ..bounds import PRESENCE_LEFT_CHANNELS
from ..log.checked import head_checked
from ..log.contract import EventLog
from .statements import presence_channel

__all__ = ["Losses"]


class Losses:
    """Finds the channels where this process's leaves may be lost, by the epoch in which it last wrote there.

    Args:
        log: asked for the present epoch of channels that nobody here is in.

    Bounds: ``PRESENCE_LEFT_CHANNELS`` names, and once the name of each channel that has begun again and was not taken
    yet.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._left: OrderedDict[str, str] = OrderedDict()
        self._begun_again: dict[str, None] = {}
        self._asks = False

    def wrote(self, channel: str, before: str, epoch: str) -> None:
        """Take note that something was written in a channel, before in one epoch ("" for none), now in this one."""
        if before not in ("", epoch):
            self._begun_again[channel] = None

    def leave(self, channel: str, epoch: str) -> None:
        """Take note that all members here have left a channel, and in which epoch that was written ("" for not)."""
        if epoch:
            self._left[channel] = epoch
        if len(self._left) > PRESENCE_LEFT_CHANNELS:
            self._left.popitem(last=False)

    def enter(self, channel: str) -> str:
        """Take note that there are members again. Returns the epoch in which something was written there, or ""."""
        return self._left.pop(channel, "")

    def suspect(self) -> None:
        """Have the channels that all have left looked at when :meth:`take` is called next. In the others what is
        written next shows the epoch."""
        self._asks = True

    async def take(self) -> list[str]:
        """Return the channels that have begun again, once each.

        Raises:
            LogError: the log cannot be read; a repeat asks again.

        Cancellation: as where it raises.
        """
        asks, self._asks = self._asks, False
        try:
            for channel, epoch in list(self._left.items()) if asks else []:
                now = (await head_checked(self._log, presence_channel(channel))).epoch
                self.wrote(channel, epoch, now)
                if channel in self._left:
                    self._left[channel] = now
            asks = False
        finally:
            self._asks |= asks
        taken = list(self._begun_again)
        self._begun_again.clear()
        return taken

    def put_back(self, channels: list[str]) -> None:
        """Have :meth:`take` return channels again."""
        self._begun_again |= dict.fromkeys(channels)
