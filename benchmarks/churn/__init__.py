"""Clients that come and go, at every stage of a connection: what is left of them in the server's memory."""
