"""Bounds of Hypercorn's part that are no settings, and that no other room needs."""

from __future__ import annotations

SEND_TO_NOBODY_SECONDS = 0.05
"""What a send takes when the client is gone, so that a loop that only sends gives way to others."""
REQUEST_BYTES = 32 << 10
"""What a request holds while the app runs for it: its tasks, scope and context (measured: 32 kB over HTTP/2, 40 kB
over HTTP/1.1)."""
REQUESTS_BELOW_CEILING = 1_000
"""So many fit below any ceiling, however small: one that is meant for content is not spent on what is asked for it."""
BODY_PIECE_BYTES = 64
"""What a piece of a body counts at least: each costs memory of its own, however small it is."""
CHUNKS_A_MESSAGE = 10
"""Chunks of a body that count as one message, and are paid for by ``CRUMB_BYTES`` as one is. With what h11 makes of it
a chunk takes 7 µs; a message takes 40 to 120 µs, without what the app does with it. So chunks of 103 bytes and more are
never slowed down, and of smaller ones those of one client take as much of a core as messages may: some 7 %."""
HTTP2_WINDOW_BYTES = 8 << 20
"""More than the 100 streams at once of 64 KiB each."""
HTTP2_UNSENT_BYTES = 64 << 10
"""Answers to a client's frames (to pings, resets, windows that are given back) that may wait for its kernel while it is
read on: one that takes none of them is not read any more."""
HTTP2_FRAMES_A_TURN = 8
"""Frames that are handled before others have their turn: one may take us a tenth of a millisecond."""
HTTP2_RESETS_PER_SECOND = 33
"""Resets of streams by one client, on average."""
HTTP2_RESETS_AT_ONCE = 200
"""And resets of streams (CVE-2023-44487)."""
HTTP2_TABLE_BYTES = 4 << 10
"""Headers of ours that are remembered for a client. It may ask for any number (RFC 7541 section 4.2)."""
HTTP2_FRAMES_PER_SECOND = 33
"""Frames of one client that cost the server more than the client, on average (nghttp2: 33)."""
HTTP2_FRAMES_AT_ONCE = 1_000
"""And at once (nghttp2: 1,000)."""
HTTP2_EARNED_BY_FRAME = 2
"""A window is given back to the stream, and to the connection."""
HTTP2_EARNED_EVERY_BYTES = 2 << 10
"""Go's client gives back every 4 KiB, twice."""
HTTP2_EARNING_BYTES = 4 << 10
"""A frame that a window has cut shorter than this earns nothing."""
HTTP2_CRUMB_BYTES = 1 << 10
"""A window that is given back below this is a crumb."""
HTTP2_CRUMB_COST = 4
"""A stream waits, and is given less than ``HTTP2_CRUMB_BYTES``: it wakes, sends a frame, and waits again."""
HTTP2_STREAMS_A_FRAME = 4
"""So many streams that wake cost as much as one frame."""
HTTP2_FRAME_BYTES = 16 << 10
"""The largest frame that every client takes (RFC 9113 section 4.2)."""
KEEPALIVE_PHASES = 40
"""Moments in the second half of ``limits.beat_seconds`` among which first pings are dealt out, by the client's port:
clients that came together are not all pinged together."""
