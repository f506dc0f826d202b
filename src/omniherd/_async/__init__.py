"""The client's I/O, written for asyncio; `_sync` is made from it."""
