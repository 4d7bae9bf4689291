"""From the log to every live client: windows, followers, policies, and the pump."""

from . import policies
from .follower import Follower, State
from .hub import Hub, HubStatistics
from .policies import Lag, Policy, Step
from .replay import Reading
from .subscription import Subscription
from .window import Window

__all__ = [
    "Follower",
    "Hub",
    "HubStatistics",
    "Lag",
    "Policy",
    "Reading",
    "State",
    "Step",
    "Subscription",
    "Window",
    "policies",
]
