"""Bounds of many processes that are no settings, and that no other room needs."""

from __future__ import annotations

CONTROL_BYTES = 1 << 20
"""One message between a worker and its supervisor."""
CONTROL_LISTENERS = 64
"""Listening sockets lent in one message."""
LAST_RESORT_SECONDS = 2.0
"""After the grace, until the process is ended from outside of the event loop: cancelling all takes a moment."""
LAST_RESORT_NOW_SECONDS = 1.0
"""The same after a second signal."""
LAST_WORDS_SECONDS = 0.5
"""For the line in the log that says so."""
LOG_LINE_CHARACTERS = 16 << 10
"""Of one message: what is longer is cut off."""
COLLECT_AFTER_OBJECTS = (5_000, 20, 100)
"""Thresholds of Python's garbage collector (its defaults are 700, 10, 10): new objects before it looks at the young
ones, and how many of such looks before one at the older ones. Ten thousand connections are a million objects,
which are looked at in one go."""
WORKER_START_SECONDS = 60
"""Seconds that a worker may take from its start until it is ready."""
WORKER_STEADY_SECONDS = 30
"""Seconds after which the end of a worker is not taken for the same failure as the end of the one before it."""
WORKER_PAUSES = (0, 1, 2, 4, 8, 16, 32)
"""Seconds before a place's worker is started again, while none there holds for ``WORKER_STEADY_SECONDS``. After that
many attempts the supervisor gives up."""
WORKER_KILL_SECONDS = 5
"""After the grace, until workers that are still there are killed: they keep to the grace by themselves."""
WORKER_NOW_SECONDS = 3
"""From a second signal until workers that are still there are killed: they end themselves in one."""
WORKER_BEAT_SECONDS = 1
"""Between two beats to each worker that serves."""
WORKER_SILENT_BEATS = 3
"""So many not answered: the worker does not serve, and a neighbour serves its queues too."""
WORKER_DEAD_BEATS = 15
"""So many: it is killed, and replaced. An event loop that an app has held up for so long serves nobody."""
WATCHDOG_BEATS = 2
"""Signs of life in the time after which systemd gives the service up, as sd_watchdog_enabled(3) advises."""
