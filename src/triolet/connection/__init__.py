"""One nursery per client: reader, writer and heartbeat, each in its own file."""

from .connection import Connection
from .context import Context
from .registry import Registry

__all__ = ["Connection", "Context", "Registry"]
