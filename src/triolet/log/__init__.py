"""The store of channels: its contract, a log in memory, and the tail that every log listens by."""

from .contract import EventLog, Kept, Page, Status
from .memory import MemoryLog

__all__ = ["EventLog", "Kept", "MemoryLog", "Page", "Status"]
