"""Bounds of the operator's page that are no settings, and that no other room needs."""

from __future__ import annotations

ADMIN_PAGES = 24
"""Pages of the operator's that are shown figures at once: eight connections are left for all others."""
ADMIN_LOOK_SECONDS = 1
"""Between two looks at all workers while a page is open, however many are."""
ADMIN_IDLE_LOOK_SECONDS = 10
"""The same while none is, for the hour that the next one shows."""
ADMIN_LATE_SECONDS = 0.8
"""From a look's beginning until those that have not answered are not waited for."""
ADMIN_WINDOW_SECONDS = 10
"""Rates and ages are those of the last seconds."""
ADMIN_POINT_SECONDS = 10
"""Seconds of one point of the hour."""
ADMIN_POINTS = 360
"""Points: an hour. All together they are some 40 kB, as text too."""
ADMIN_HAPPENINGS = 15
"""What has happened lately, in sentences."""
NOTICE_MEMORY_PART = 0.8
"""Of the ceiling: from here on an operator is warned. See docs/reference/metrics.rst for all of these."""
NOTICE_BEHIND_PART = 0.1
"""Of the connections that are open; and besides, so that few clients are no reason,"""
NOTICE_BEHIND_CONNECTIONS = 10
"""so many."""
NOTICE_AGE_SECONDS = 1
"""Age of 99 in 100 events when they are written."""
NOTICE_LAG_SECONDS = 10
"""Age of the oldest event that a worker has heard of and not yet written to those who are up to date."""
NOTICE_RETENTION_SECONDS = 60
"""Until somebody connected gets a gap."""
