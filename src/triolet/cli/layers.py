"""What stands before an app, as ASGI middleware does, is looked through for the app beneath."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from ..bounds import MIDDLEWARE_LAYERS

__all__ = ["class_names", "triolet_of"]

APP: Final = "quart.app.Quart"
"""The class of apps below which nothing is looked for."""


def _layers(app: Any) -> Iterator[Any]:
    """An app, and those that it stands before: what it keeps in attributes, or names where it is a function.

    Bounds: ``MIDDLEWARE_LAYERS`` of them.
    """
    waiting = [app]
    for _ in range(MIDDLEWARE_LAYERS):
        if not waiting:
            return
        one = waiting.pop(0)
        yield one
        if APP not in class_names(one):
            waiting += [kept for kept in _kept(one) if callable(kept) and not inspect.isclass(kept)]


def triolet_of(app: Any) -> Any:
    """The service of the Triolet that an app has, or an app beneath it; None where there is none to be found."""
    for one in _layers(app):
        extensions = getattr(one, "extensions", None)
        if isinstance(extensions, dict) and "triolet" in extensions:
            return extensions["triolet"]
    return None


def class_names(value: Any) -> list[str]:
    """What its class is called, and the classes above that."""
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(value).__mro__]


def _kept(one: Any) -> Iterator[Any]:
    if inspect.ismodule(one) or inspect.isclass(one):
        return
    if isinstance(one, partial):
        yield from (one.func, *one.args, *one.keywords.values())
    if inspect.ismethod(one):
        yield one.__self__
    yield from getattr(one, "__dict__", {}).values()
    if inspect.isfunction(one):
        try:
            named = inspect.getclosurevars(one)
        except ValueError:  # one of these is not bound to anything yet
            return
        yield from (*named.nonlocals.values(), *named.globals.values())
