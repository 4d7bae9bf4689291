"""Who a client is, and for how long: what a client was let in with, and what ends that."""

from .grant import Grant
from .identity import Identity
from .jwt import JWT
from .request import Request

__all__ = ["JWT", "Grant", "Identity", "Request"]
