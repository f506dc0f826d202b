"""HTTP as far as it is needed: an opener that trusts what the client trusts, and errors of ours. It blocks."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from omniherd._backend.tls import read_ca
from omniherd._core.files import reason
from omniherd.errors import OmniError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Generator

    from omniherd._backend.tls import TLS

__all__ = ["host_of", "opener", "post", "requested", "translated"]

_SHOWN = 1000


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not out of TLS."""

    def redirect_request(  # noqa: PLR0917 - the parent's signature
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise OmniError(f"{host_of(req.full_url)} leads from https to {newurl}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def requested(url: str, data: bytes | None = None, *, authorization: str = "") -> urllib.request.Request:
    """Return a request.

    Args:
        url: Where to.
        data: What to send, for a POST.
        authorization: The header of that name; not sent on to where the server redirects to. Empty for none.

    Raises:
        OmniError: The URL is neither http nor https.
    """
    request = urllib.request.Request(url, data)  # noqa: S310 - only http and https are opened, see below
    if request.type not in {"http", "https"}:
        raise OmniError(f"{url} cannot be fetched: it is neither http nor https")
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    return request


def opener(tls: TLS) -> urllib.request.OpenerDirector:
    """Return what opens requests.

    Args:
        tls: How certificates are judged.
    """
    return urllib.request.build_opener(_Redirects, urllib.request.HTTPSHandler(context=_context(tls)))


@contextlib.contextmanager
def translated(url: str, refused: str) -> Generator[None]:
    """Turn what the standard library raises into errors of ours.

    Args:
        url: What is fetched.
        refused: What it is called that the server refuses.

    Raises:
        OmniError: The server refuses; `details["status"]` is the HTTP status.
        Unavailable: The connection failed or broke.
    """
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(_SHOWN).decode(errors="replace")
        raise OmniError(
            f"{refused}, error code: {error.code}, message: {text}", details={"status": error.code}
        ) from None
    except urllib.error.URLError as error:
        fault: object = error.reason
        if isinstance(fault, OSError) and not isinstance(fault, ssl.SSLError):
            fault = reason(fault)
        raise Unavailable(f"cannot fetch from {host_of(url)}: {fault}", hint=_hint(error.reason)) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise Unavailable(f"{host_of(url)} broke off: {error or type(error).__name__}", hint="try again") from error


def post(url: str, data: bytes, *, kind: str, refused: str, authorization: str, tls: TLS, timeout: float) -> bytes:
    """Send something; return the answer.

    Args:
        url: Where to.
        data: What to send.
        kind: Its media type.
        refused: What it is called that the server refuses.
        authorization: The header of that name, empty for none.
        tls: How certificates are judged.
        timeout: Seconds of silence after which it is given up.

    Raises:
        OmniError: The server refuses; `details["status"]` is the HTTP status.
        Unavailable: The connection failed or broke.
    """
    request = requested(url, data, authorization=authorization)
    request.add_header("Content-Type", kind)
    with translated(url, refused), opener(tls).open(request, timeout=timeout) as answer:
        body: bytes = answer.read()
    return body


def host_of(url: str) -> str:
    """Return a URL's host and port, without the name and password of a user."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _hint(fault: object) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
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
