"""What the operator's listener can be asked, from the table that its requests are routed by."""

from __future__ import annotations

from triolet.admin.table import ROUTES

from .rst import literal, plain, table

__all__ = ["listener"]


def listener() -> list[str]:
    """Return the table of what may be asked, with what a URL may say, and the bodies that are taken."""
    rows = []
    for route in ROUTES:
        said = "; ".join(f"{literal(one.name)}: {plain(one.about).rstrip('.')}" for one in route.parameters)
        takes = ", ".join(map(literal, route.takes))
        refuses = " ".join(f"{status}: {plain(why)}" for status, why in route.may_say.items())
        key = "" if route.is_open else "yes"
        rows.append((literal(f"{route.method} {route.path}"), plain(route.about), said, takes, refuses, key))
    return table(("request", "what it does", "in the URL", "bodies", "its own refusals", "key"), rows)
