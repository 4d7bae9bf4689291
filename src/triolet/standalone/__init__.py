"""A server without an app of one's own: ``triolet serve channels.toml`` makes an ordinary app of a file."""
