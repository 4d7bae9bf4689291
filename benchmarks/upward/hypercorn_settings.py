"""Hypercorn's: a connection is kept for as many requests as come, and while others have their turn."""

keep_alive_max_requests = 1_000_000_000
keep_alive_timeout = 3_600
