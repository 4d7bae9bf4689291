"""From the log to every live client: windows, followers, policies, and the pump."""

from . import policies
from .audience import Park
from .filter import Allow
from .follower import Follower, State
from .hub import Hub, HubStatistics
from .policies import Lag, Policy, Step
from .reading import Polled
from .replay import Reading
from .subscription import Subscription, check_allow
from .window import Window

__all__ = [
    "Allow",
    "Follower",
    "Hub",
    "HubStatistics",
    "Lag",
    "Park",
    "Policy",
    "Polled",
    "Reading",
    "State",
    "Step",
    "Subscription",
    "Window",
    "check_allow",
    "policies",
]
