"""What a request is answered with while nearly all memory is spent that may be held for clients."""

from __future__ import annotations

import random

from ..closing import OVERLOADED
from ..wire.http_head import BadRequest

__all__ = ["busy"]


def busy() -> BadRequest:
    """503, and after how many seconds to come back: drawn, so that not all come back at once."""
    assert OVERLOADED.retry is not None
    seconds = random.randint(*OVERLOADED.retry) // 1_000
    return BadRequest(503, "busy", [(b"retry-after", b"%d" % seconds)])
