"""From the log to every live client: windows, followers, policies, and the pump."""

from . import policies
from .audience import Audience, Park
from .feed import Feed, FeedItem
from .filter import Allow
from .follower import Follower, State, waits_for_state
from .hub import Hub, HubStatistics
from .policies import Lag, Policy, Step, check_policy
from .polls import Polled
from .pump import LogStatistics
from .reducer import Keeper, Reducer
from .replay import Reading
from .snapshots import Source, StateFunction, takes_identity
from .subscription import Subscription, check_allow, key_of
from .window import Window

__all__ = [
    "Allow",
    "Audience",
    "Feed",
    "FeedItem",
    "Follower",
    "Hub",
    "HubStatistics",
    "Keeper",
    "Lag",
    "LogStatistics",
    "Park",
    "Policy",
    "Polled",
    "Reading",
    "Reducer",
    "Source",
    "State",
    "StateFunction",
    "Step",
    "Subscription",
    "Window",
    "check_allow",
    "check_policy",
    "key_of",
    "policies",
    "takes_identity",
    "waits_for_state",
]
