"""One nursery per client: reader, writer, heartbeat and lifetime, each in its own file."""

from .connection import Connection, Surroundings

__all__ = ["Connection", "Surroundings"]
