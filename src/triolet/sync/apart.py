"""Tasks that know nothing of who started them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

__all__ = ["start_apart"]


def start_apart(nursery: trio.Nursery, function: Callable[..., Awaitable[object]], *args: Any) -> None:
    """Start a task in a nursery, as ``start_soon`` does, with the context variables of the nursery's own task, and not
    those of whichever task asks for it.

    A new task has its creator's context variables (:mod:`contextvars`). Where that is an app's code for some request,
    the task would be within that request's context, which may be another user's, and hold it for as long as it runs.
    """
    nursery.parent_task.context.copy().run(nursery.start_soon, function, *args)
