"""Bounds of the log in SQLite that are no settings, and that no other room needs."""

from __future__ import annotations

SQLITE_CHANGES = 4_096
"""Rows that are kept. A process that is further behind learns that it has lost some, and reads the channels."""
SQLITE_TAIL_EVENTS = 2_048
"""Most events in one reading; those of one row are always given."""
SQLITE_WAL_BYTES = 64 << 20
"""What the WAL file is cut back to, should a long read have made it grow."""
SQLITE_LIFE_BYTES = 4_096
"""What is read of such a file: it has some 200."""
SQLITE_GROUP_DRAFTS = 256
"""Most drafts in one transaction (an append of more has one of its own): beyond, no rate is gained."""
SQLITE_GROUP_BYTES = 4 << 20
"""Most bytes of their data: about what SQLite lets a WAL grow to (1,000 pages) before it checkpoints."""
SQLITE_READERS = 2
"""Connections to read with, a thread each: a page that must come from a slow disk does not hold up all readers."""
SQLITE_REST_SECONDS = 0.005
"""Seconds between two looks for other processes' commits, while there are commits all the time."""
SQLITE_LOCK_DELAYS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Seconds between attempts at a locked file, the last for all further ones. SQLite's own are like these."""
SQLITE_HANDOVER_AFTER_SECONDS = 0.002
"""Seconds of real time that a job may be under way, in a busy loop, before the loop makes room for it."""
SQLITE_HANDOVER_SECONDS = 50e-6
"""Seconds for which the loop makes room, once in a pass of the scheduler: about what it takes to wake a thread."""
INOTIFY_READ_BYTES = 1 << 12
"""Read at once of the kernel's notifications."""
SQLITE_BLIND_SECONDS = 0.02
"""Seconds between two looks at the file where there is no inotify."""
SQLITE_PRUNE_ROWS = 256
"""Rows that a transaction may delete besides twice those it inserts: so retention always catches up."""
SQLITE_SWEEP_CHANNELS = 16
"""Channels that a transaction may prune although nothing is appended to them."""
SQLITE_SWEEP_LOOKS = 256
"""And that it may look at for that: some may be kept longer than others."""
SQLITE_SWEEPS = 64
"""Looks, in the shortest time that a channel is kept, for those that have grown old without being appended to."""
SQLITE_KEPT_CHANNELS = 4_096
"""Channels of which a log knows at once how much is kept; of others it looks at the patterns of ``limits.keep``."""
SQLITE_INSERT_ROWS = (64, 16, 4, 1)
"""Rows that one INSERT takes: few steps for any number of rows, and few statements to keep prepared."""
