"""The console script ``triolet``: hears signals before anything large is imported.

As the first process of a container (number 1) a process is not ended by a signal that it does not hear: one that came
while Triolet itself is imported would be lost, and with it the order to end.
"""

from __future__ import annotations

import gc
import os
import signal
from types import FrameType


def main() -> int:
    """Run the command."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, _end)
    gc.disable()  # all that is imported stays: to look through it on the way is a tenth of what a start costs
    from triolet.cli import main as command

    gc.freeze()  # and so it is not looked through later either
    gc.enable()
    return command()


def _end(number: int, frame: FrameType | None) -> None:
    """Nothing was begun, so there is nothing to end in order. No exception: what is being imported may make another of
    it (Python 3.11 does, in ``__set_name__``)."""
    os._exit(0)
