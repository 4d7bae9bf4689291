"""An app one of whose routes shows only some events of a channel, over the whole server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from triolet import Event, policies
from triolet.app import admit, serve
from triolet.hub import Lag, Policy, Step
from triolet.transports.polling import poll

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
    asked: dict[int, tuple[Any, Any]] = {}

    def with_allow(subscription: Any) -> Any:
        policy = getattr(subscription, "policy", None)
        return msgspec.structs.replace(subscription, allow=policy.allow) if isinstance(policy, Sees) else subscription

    def subscribed(ask: Any, *rest: Any) -> Any:
        subscription = with_allow(subscribe(ask, *rest))
        asked[id(ask)] = ask, subscription  # with the ask, so that no other has its id
        return subscription

    async def followed(self: Any, url: str) -> Any:
        return with_allow(await follows(self, url))

    async def polled(context: Any, channel: str, ask: Any, *rest: Any, **more: Any) -> Any:
        _, subscription = asked.pop(id(ask))
        return await poll(context, channel, ask, *rest, **{**more, "allow": subscription.allow})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admit, "_subscribe", subscribed)
        patch.setattr(admit.Follows, "__call__", followed)
        patch.setattr(serve, "poll", polled)
        yield
