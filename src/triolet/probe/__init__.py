"""What stands between a client and its server, and what it does to live updates (``triolet probe``).

- ``probe_url``: asks one channel's URL in all the ways in which clients ask; ``Report``: what it has found
- ``Finding``: one thing that was looked at; ``CURES``: what to change in which proxy
"""

from .cures import CURES, PROXIES, Cure
from .findings import Finding, Report
from .probing import probe_url

__all__ = ["CURES", "PROXIES", "Cure", "Finding", "Report", "probe_url"]
