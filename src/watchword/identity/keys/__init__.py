"""The signing keys: their ring, their table, and the master secret that seals them."""
