"""The adapters, one a peer: the same work, written as the peer's documentation tells its users to write it."""
