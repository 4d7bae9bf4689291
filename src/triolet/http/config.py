"""What Hypercorn's protocol code is told: our limits in its words."""

from __future__ import annotations

import logging
from email.utils import formatdate

from hypercorn.config import Config

from ..clock import wall_time
from ..limits import Limits

__all__ = ["http_config"]

logger = logging.getLogger("triolet.server")


def http_config(limits: Limits, root_path: str = "") -> Config:
    """Make Hypercorn's configuration. What binds, forks or reloads in it is not used here.

    Args:
        limits: of which HTTP takes its own.
        root_path: the path below which requests come in, as ASGI's ``root_path``.
    """
    config = _DatedConfig()
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.header_bytes
    config.keep_alive_timeout = limits.idle_seconds
    config.websocket_max_message_size = limits.message_bytes
    config.root_path = root_path
    config.accesslog = None
    config.errorlog = logger
    return config


class _DatedConfig(Config):
    """Tells the hour by our clock, which tests decide."""

    include_date_header = False

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        return [(b"date", formatdate(wall_time(), usegmt=True).encode()), *super().response_headers(protocol)]
