"""The peers: small servers, each written to be as fast as its library's usual shape can be, and their handles."""
