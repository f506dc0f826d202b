"""What differs between asyncio and threads: gRPC calls, waiting, running things side by side.

`aio` and `sync` have the same names with the same meaning, so that everything above is written once, in `_async`.
"""
