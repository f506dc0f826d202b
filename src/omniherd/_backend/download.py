"""Files over HTTP, streamed to where they belong; blocks."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from omniherd._backend.tls import read_ca
from omniherd._core.files import reason, replacing
from omniherd.errors import Canceled, OmniError, Unavailable

if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Callable

    from omniherd._backend.tls import TLS

__all__ = ["download"]

_CHUNK = 1 << 18
_SHOWN = 1000


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not out of TLS."""

    def redirect_request(  # noqa: PLR0917 - the parent's signature
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise OmniError(f"{_host(req.full_url)} leads from https to {newurl}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


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
    request = urllib.request.Request(url)  # noqa: S310 - only http and https are opened, see below
    if request.type not in {"http", "https"}:
        raise OmniError(f"{url} cannot be fetched: it is neither http nor https")
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    opener = urllib.request.build_opener(_Redirects, urllib.request.HTTPSHandler(context=_context(tls)))
    try:
        with opener.open(request, timeout=timeout) as answer:
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
                    raise Unavailable(f"{_host(url)} sent {done} of {total} bytes", hint="try again")
            return done
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(_SHOWN).decode(errors="replace")
        raise OmniError(
            f"failed to download the installation media, error code: {error.code}, message: {text}",
            details={"status": error.code},
        ) from None
    except urllib.error.URLError as error:
        fault: object = error.reason
        if isinstance(fault, OSError) and not isinstance(fault, ssl.SSLError):
            fault = reason(fault)
        raise Unavailable(f"cannot fetch from {_host(url)}: {fault}", hint=_hint(error.reason)) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise Unavailable(f"{_host(url)} broke off: {error or type(error).__name__}", hint="try again") from error


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _hint(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "give the factory's CA with `ca=`, or check nothing with `insecure_skip_tls_verify=True`"
    return "check that the image factory can be reached from here"


def _context(tls: TLS) -> ssl.SSLContext:
    """Return what to trust: a CA of the caller's in addition to the system's, as a factory is often a public one."""
    context = ssl.create_default_context()
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if tls.ca is not None:
        context.load_verify_locations(cadata=read_ca(tls.ca).decode("ascii", errors="replace"))
    return context
