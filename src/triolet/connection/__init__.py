"""One nursery per client: reader, writer and heartbeat, each in its own file."""

from .connection import Connection, Surroundings

__all__ = ["Connection", "Surroundings"]
