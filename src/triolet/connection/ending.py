"""Why a connection ends, and the nursery that is cancelled then."""

from __future__ import annotations

import trio

from ..closing import GONE, Closing

__all__ = ["Ending"]


class Ending:
    """Whatever ends a connection does it here: the first reason that is given stays, and all its tasks are cancelled.

    Attributes:
        closing: why it ends; None while it goes on.
        nursery: the connection's own; None before its tasks run.
    """

    __slots__ = ("closing", "nursery")

    def __init__(self) -> None:
        self.closing: Closing | None = None
        self.nursery: trio.Nursery | None = None

    def begin(self, nursery: trio.Nursery) -> None:
        """The tasks start now. If the connection has ended before, they are cancelled at once."""
        self.nursery = nursery
        if self.closing is not None:
            nursery.cancel_scope.cancel()

    def end(self, closing: Closing) -> None:
        """End the connection for this reason, unless it has ended already."""
        if self.closing is None:
            self.closing = closing
            if self.nursery is not None:
                self.nursery.cancel_scope.cancel()

    def gone(self) -> None:
        """The outlet found that the peer is gone."""
        self.end(GONE)
