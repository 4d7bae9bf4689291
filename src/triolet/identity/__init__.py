"""Who a client is, and for how long: what a client was let in with, and what ends that."""

from .control import Control
from .deadlines import Deadlines
from .grant import Grant
from .identity import Identity
from .jwt import JWT
from .request import Request
from .revocations import Revocation, Revocations

__all__ = ["JWT", "Control", "Deadlines", "Grant", "Identity", "Request", "Revocation", "Revocations"]
