"""The ending of a connection: why it ends, and the nursery that is cancelled then."""

from __future__ import annotations

import trio

from ..closing import Closing

__all__ = ["Ending"]


class Ending:
    """The one place where a connection is ended: the first reason that is given stays, and all its tasks are cancelled.

    Attributes:
        closing: why it ends; None while it goes on.
        nursery: the connection's own; None before its tasks run.
    """

    __slots__ = ("closing", "nursery")

    def __init__(self) -> None:
        self.closing: Closing | None = None
        self.nursery: trio.Nursery | None = None

    @property
    def cancelled(self) -> bool:
        """Whether its tasks are being cancelled, so that no other may start: for whatever reason, a crash for example,
        of which nothing is known here yet."""
        return self.nursery is not None and self.nursery.cancel_scope.cancel_called

    def begin(self, nursery: trio.Nursery) -> None:
        """Take the nursery in which the tasks start. If the connection has ended before, cancel it at once."""
        self.nursery = nursery
        if self.closing is not None:
            nursery.cancel_scope.cancel()

    def end(self, closing: Closing) -> None:
        """End the connection for this reason, unless it has ended already."""
        self.decide(closing)
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()

    def decide(self, closing: Closing) -> None:
        """Say for which reason the connection ends, where its tasks are cancelled a moment later."""
        # The first reason stays, because the others mostly follow from it: a client that is given up for silence is
        # then found gone as well.
        if self.closing is None:
            self.closing = closing

    def gone(self, closing: Closing) -> None:
        """End the connection because its outlet found that the peer is gone, and how."""
        self.end(closing)
