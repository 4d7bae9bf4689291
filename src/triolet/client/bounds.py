"""Bounds of the Python client that are no settings, and that no other room needs."""

from __future__ import annotations

CLIENT_SILENCE_SECONDS = 50.0
"""Seconds without a word before a connection counts as lost, as long as no two beats have shown their pace: two and a
half of the longest that ``limits.beat_seconds`` makes usual. The browser's client waits as long."""
CLIENT_BEATS_MISSED = 2.5
"""Times of a beat's pace after which a connection counts as lost: one beat may be lost with what carried it."""
CLIENT_LEAST_SILENCE_SECONDS = 1.0
"""However fast the beats come."""
CLIENT_LUMP_SECONDS = 2.0
"""Beats that say that they were sent so far apart, and come within a quarter of it, were held back by something. That
they say more than that is the server's clock, which may jump."""
CLIENT_LUMPS = 2
"""So many times on one connection: a proxy collects what is sent, and another transport is taken."""
CLIENT_FIRST_RETRY_SECONDS = 1.0
"""Longest wait before the first new try; it doubles with each that follows."""
CLIENT_LAST_RETRY_SECONDS = 30.0
"""And how long it gets at most."""
CLIENT_LEAST_RETRY_SECONDS = 0.2
"""Whatever a server says, or a proxy before it, half of this is waited at least before it is asked again. It doubles up
to the longest first wait while nothing comes of it."""
CLIENT_PROBE_SECONDS = 2.0
"""For a stream's first message, where another transport could be tried: a visitor waits for three."""
CLIENT_BETTER_SECONDS = (300.0, 3_600.0)
"""After which a better transport is tried again: at first, and, as it doubles, at most."""
CLIENT_ITEMS = 128
"""Items of one channel that wait for the program. A client that is slower is no longer read for."""
CLIENT_MESSAGES = 128
"""What an app's handler says on one connection of a shared socket, and the program has not taken yet. With more of it
the socket is no longer read: there is no cursor from which it could come again. With twice as many there is no next
connection."""
CLIENT_OUTBOX = 1_024
"""Messages that wait to be sent up one WebSocket; with more of them it counts as lost."""
CLIENT_MESSAGE_BYTES = 16 << 20
"""Longest message, or block of an event stream: many times what a server takes by ``limits.event_bytes``."""
CLIENT_PAGE_BYTES = 64 << 20
"""Longest answer to a poll or a command."""
CLIENT_WAIT_SECONDS = 25
"""Seconds that a long poll may be held: a little less than the shortest timeout that is usual, 30 s."""
CLIENT_MANY_CHARACTERS = 6_000
"""Of the URLs that one event stream or poll follows, with their cursors: nginx takes a request's line of 8 KB."""
CLIENT_GATHER_SECONDS = 0.05
"""After what is followed has changed, until such a stream or poll is asked for anew, with all that came meanwhile."""
CLIENT_COMMANDS = 16
"""Commands that are asked at once, as many as ``limits.commands`` lets one connection have open by default."""
CLIENT_COMMAND_BYTES = 64 << 10
"""From here on a command goes by ``POST``: what is longer than ``limits.message_bytes`` is refused there, and ends a
WebSocket for good, with all that it carries."""
CLIENT_COMMANDS_WAITING = 1_000
"""Commands that wait for their turn."""
CLIENT_COMMAND_SECONDS = 60.0
"""Until a command counts as unanswered, by default."""
CLIENT_GOODBYE_SECONDS = 1.0
"""For the close frame, and the answer to it."""
CLIENT_STORED_CURSORS = 1_000
"""Cursors that one file keeps."""
CLIENT_RENEW_LEAST_SECONDS = 1.0
"""The least wait before a credential that is about to end is renewed."""
