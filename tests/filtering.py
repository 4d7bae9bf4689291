"""An app one of whose routes shows only some events of a channel, over the whole server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from triolet import Event, policies
from triolet.app import admit
from triolet.hub import Lag, Policy, Step

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
    subscribe, follows = admit._subscribe, admit.Follows.__call__

    def with_allow(subscription: Any) -> Any:
        policy = getattr(subscription, "policy", None)
        return msgspec.structs.replace(subscription, allow=policy.allow) if isinstance(policy, Sees) else subscription

    def subscribed(ask: Any, *rest: Any) -> Any:
        return with_allow(subscribe(ask, *rest))

    async def followed(self: Any, url: str) -> Any:
        return with_allow(await follows(self, url))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admit, "_subscribe", subscribed)
        patch.setattr(admit.Follows, "__call__", followed)
        yield
