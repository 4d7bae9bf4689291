"""From the log to every live client: windows, followers, and the pump."""

from .follower import Follower, State
from .hub import Hub, HubStatistics, Reading
from .window import Window

__all__ = ["Follower", "Hub", "HubStatistics", "Reading", "State", "Window"]
