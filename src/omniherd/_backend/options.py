"""Channel options that both sides share."""

from __future__ import annotations

import itertools
import os
import sys

from omniherd._core.watch import KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT
from omniherd._version import __version__

__all__ = ["MAX_REQUEST", "channel_options", "gunzip"]

# Omni refuses larger requests; answers have no limit of their own.
MAX_REQUEST = 32 * 1024 * 1024

_GZIP_MAGIC = b"\x1f\x8b"
_numbers = itertools.count()

# gRPC's C core writes handshake failures to standard error, beside the one line that the caller gets from us.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def channel_options(name: str | None) -> list[tuple[str, int | str]]:
    """Return the options of a new connection.

    Args:
        name: The name to expect in the server's certificate, None for the host.
    """
    options: list[tuple[str, int | str]] = [
        # gRPC shares connections between channels of equal options. The number keeps them apart, so that the count
        # of streams on each one stays true.
        ("omniherd.connection", next(_numbers)),
        ("grpc.max_send_message_length", MAX_REQUEST),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_metadata_size", 1024 * 1024),
        ("grpc.absolute_max_metadata_size", 16 * 1024 * 1024),
        ("grpc.keepalive_time_ms", int(KEEPALIVE_INTERVAL * 1000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT * 1000)),
        # What counts in the end: the core gives a ping a minute otherwise, whatever the line above says.
        ("grpc.http2.ping_timeout_ms", int(KEEPALIVE_TIMEOUT * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 10_000),
        ("grpc.primary_user_agent", f"omniherd/{__version__} python/{sys.version.split()[0]}"),
        # Retries are ours to decide; what gRPC repeats by itself when a call certainly did not go out stays on.
        ("grpc.enable_retries", 0),
    ]
    if name is not None:
        options.append(("grpc.ssl_target_name_override", name))
    return options


def gunzip(data: bytes) -> bytes:
    """Return a message as the server meant it.

    With compression on, grpcio 1.80 to 1.85.1 delivers about one answer in four thousand still compressed. No protobuf
    message begins with gzip's magic bytes (they would be a field of a wire type that does not exist), so that they
    tell.
    """
    if data[:2] == _GZIP_MAGIC:
        import gzip

        return gzip.decompress(data)
    return data
