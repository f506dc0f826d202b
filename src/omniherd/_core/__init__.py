"""Pure logic without I/O: what the async and the sync side share."""
