"""Files over HTTP, streamed to where they belong; blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd._backend.web import host_of, opener, requested, translated
from omniherd._core.files import replacing
from omniherd.errors import Canceled, Unavailable

if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Callable

    from omniherd._backend.tls import TLS

__all__ = ["download"]

_CHUNK = 1 << 18


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    authorization: str,
    tls: TLS,
    mode: int,
    timeout: float,
    stop: threading.Event,
    begun: Callable[[], object] | None,
    progress: Callable[[int, int | None], object] | None,
) -> int:
    """Fetch a file; it appears once all of it is here.

    Args:
        url: Where from.
        path: Where to; its directory must exist.
        authorization: The header of that name; not sent on to where the server redirects to. Empty for none.
        tls: How certificates are judged.
        mode: Permission bits of the file.
        timeout: Seconds of silence after which it is given up.
        stop: Ends it from another thread.
        begun: Called when the server begins to answer.
        progress: Called with the bytes that are here, and with all that there are where the server says so.

    Returns:
        The file's size.

    Raises:
        OmniError: The server refuses; `details["status"]` is the HTTP status.
        Unavailable: The connection failed or broke.
        Canceled: It was stopped.
        OSError: The file cannot be written.
    """
    request = requested(url, authorization=authorization)
    with (
        translated(url, "failed to download the installation media"),
        opener(tls).open(request, timeout=timeout) as answer,
    ):
        if begun is not None:
            begun()
        length = answer.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        done = 0
        with replacing(path, mode) as file:
            while chunk := answer.read(_CHUNK):
                if stop.is_set():
                    raise Canceled("the download was stopped")
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            if total is not None and done != total:
                raise Unavailable(f"{host_of(url)} sent {done} of {total} bytes", hint="try again")
        return done
