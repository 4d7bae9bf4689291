"""Bounds of identities, tokens and their keys that are no settings, and that no other room needs."""

from __future__ import annotations

SUBJECT_BYTES = 255
"""How long an identity's subject and session may be: as long as a channel's name."""
REVOCATIONS_KEPT = 4_096
"""Revocations remembered for those who are being let in; where more come meanwhile, they are sent away to come back."""
REVOKED_PATTERNS = 64
"""Patterns of channels that one revocation may name: each is asked about all that is followed here."""
CLOCKS_APART_SECONDS = 2
"""By how much the clocks of two hosts may differ, where a ticket that one has made is older than a revocation."""
TOKEN_BYTES = 8 << 10
"""Longest token: as much as Apache and nginx take in one line of a head."""
TOKEN_HEAD_BYTES = 4 << 10
"""Longest head of one, in base64: some carry a chain of certificates, which is not looked at."""
TOKEN_KEYS_TRIED = 4
"""Keys that one token may be tried with: those of its `kid`, or of its algorithm where it names none."""
TOKEN_LAST_SECOND = 253_402_300_799
"""Latest time in a token, in seconds since 1970: the end of the year 9999. What is later was meant in milliseconds."""
TOKEN_LEEWAY_SECONDS = 60
"""How far a token issuer's clock may be off, by default."""
TOKEN_LEEWAY_MOST_SECONDS = 300
"""And at most: RFC 7519 speaks of "no more than a few minutes"."""
SECRET_BYTES = 32
"""Shortest secret for HS256 (RFC 7518, section 3.2)."""
RSA_KEY_BITS = (2_048, 8_192)
"""Shortest RSA key (RFC 7518, section 3.3), and the longest: checking a signature takes time in the square of it."""
JWKS_BYTES = 256 << 10
"""Largest set of keys, and largest file with one. A key has half a kilobyte, with certificates some four."""
JWKS_KEYS = 64
"""Most keys of a set that are read: each takes some 20 to 200 µs, for which all other tasks wait."""
JWKS_REDIRECTS = 3
"""Redirects, all to the same host, that a fetch follows."""
JWKS_SECONDS = 5
"""Seconds from connecting to the last byte of a set (jose: 5)."""
JWKS_REFRESH_SECONDS = 600
"""Age at which a set is fetched again, by default (jose: ten minutes)."""
JWKS_ASK_SECONDS = 30
"""Between two fetches of a set, whatever asks for them: unknown names of keys cannot make more (jose: 30)."""
JWKS_RETRY_SECONDS = 5
"""The same after a fetch that failed."""
JWKS_AWAY_SECONDS = 24 * 3600
"""How long the last keys serve on, while there are no newer ones to be had."""
DEADLINES_STALE = 64
"""Entries that may stand in the heap of deadlines for nothing, besides as many as stand there for something."""
TICKET_BYTES = 32
"""Random bytes of a ticket."""
IDENTITY_BYTES = 16 << 10
"""Largest claims that are told to other processes or kept under a ticket: twice a token (``TOKEN_BYTES``)."""
CONTROL_WAITING = 1_024
"""Messages about identities that wait for a log that is away, to be told to others; of renewals half as many."""
CONTROL_DRAFTS = 64
"""Most of them in one append."""
CONTROL_REMEMBERED = 4_096
"""Of this process's own messages, those that have taken effect here and are still to come back from the log."""
