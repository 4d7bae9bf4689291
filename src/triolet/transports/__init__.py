"""One file a transport: how it opens, streams and says goodbye. What a transport is stands in ``contract``."""
