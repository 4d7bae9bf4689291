"""One client's connection: its reader, its writer and its heartbeat, each in a file of its own."""

from .connection import Connection
from .context import Context
from .registry import Registry

__all__ = ["Connection", "Context", "Registry"]
