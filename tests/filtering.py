"""An app one of whose routes shows only some events of a channel, over the whole server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from triolet import Event, policies
from triolet.app.views import Decision
from triolet.hub import Lag, Policy, Step
from triolet.transports.negotiate import Wish

__all__ = ["Sees", "sees"]


class Sees:
    """A policy by which a route says what its clients may see."""

    blocks = False

    def __init__(self, allow: Callable[[Event], bool], policy: Policy | None = None) -> None:
        self.allow = allow
        self._policy = policy or policies.catch_up()

    def __call__(self, lag: Lag) -> Step:
        return self._policy(lag)


@contextmanager
def sees() -> Iterator[None]:
    """Subscriptions of routes whose policy is a :class:`Sees` have its ``allow``."""
    subscription = Decision.subscription

    def with_allow(self: Decision, wish: Wish) -> Any:
        made = subscription(self, wish)
        if made is None or not isinstance(made.policy, Sees):
            return made
        return msgspec.structs.replace(made, allow=made.policy.allow)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decision, "subscription", with_allow)
        yield
