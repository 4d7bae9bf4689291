"""How a worker serves."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from ..bounds import GRACE_CLIENTS_PART, GRACE_LEAVING_PART
from ..limits import Limits
from .forwarded import Forwarded

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How a worker serves.

    ``grace`` is how many seconds clients have from the signal to the end; ``tls`` a context, if TLS is spoken
    here, whose ALPN decides about HTTP/2; ``forwarded`` which peers' ``X-Forwarded-`` headers are believed;
    ``proxy_protocol`` whether each connection begins with a PROXY header, which with ``only_forwarded`` is taken
    of those peers alone; ``access_log`` whether each request is logged.
    """

    limits: Limits = field(default_factory=Limits)
    grace: float = 10
    tls: ssl.SSLContext | None = None
    http2: bool = False
    root_path: str = ""
    forwarded: Forwarded = field(default_factory=Forwarded)
    only_forwarded: bool = False
    proxy_protocol: bool = False
    access_log: bool = False

    @property
    def scheme(self) -> str:
        """Of the URLs that clients come with."""
        return "http" if self.tls is None else "https"

    @property
    def clients_seconds(self) -> float:
        """What clients have of the grace, until their connections are cut."""
        return self.grace * GRACE_CLIENTS_PART

    @property
    def leave_seconds(self) -> float:
        """Within which every client is to have been asked to leave."""
        return self.clients_seconds * GRACE_LEAVING_PART
