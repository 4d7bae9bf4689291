"""One file a transport: how it opens, streams and says goodbye. What they share is in ``base``."""
