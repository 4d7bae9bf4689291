"""One file a transport: how it opens, streams and says goodbye. What a request asks for is in ``negotiate``."""
