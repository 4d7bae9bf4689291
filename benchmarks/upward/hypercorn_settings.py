"""Hypercorn's: a connection is kept for as many requests as come."""

keep_alive_max_requests = 1_000_000_000
