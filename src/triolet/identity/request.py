"""The request that opened a connection, as it was: for its handler, which outlives the request's context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Request"]


class Request(msgspec.Struct, frozen=True):
    """A connection's request, read-only. It holds the client's credential as well: log none of it as a whole.

    Attributes:
        url: path and query, as the client wrote them.
        path: the path, decoded.
        args: the query's first values, by name.
        headers: the first values, by name in lower case.
        cookies: by name.
        session: what the app's session held when the view had answered.
        remote: the client's address, as ``ProxyFix`` and ``--forwarded-allow-ips`` leave it; None where it has none.
    """

    url: str
    path: str
    args: Mapping[str, str]
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    session: Mapping[str, Any]
    remote: str | None = None

    def __repr__(self) -> str:
        return f"Request({self.path!r})"
