"""One client's connection: its reader, writer and heartbeat run in one nursery, and each has a file of its own."""

from .connection import Connection
from .context import Context
from .registry import Registry

__all__ = ["Connection", "Context", "Registry"]
