"""Errors as the command line tells them: what happened, in omnictl's form, and what to do about it."""

from __future__ import annotations

import contextlib
import errno
import re
from typing import TYPE_CHECKING

from omniherd.errors import APIError, DeadlineExceeded, OmniError, Unauthenticated, Unavailable, WaitTimeout, WatchError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["describe", "os_text", "rpc_text", "told", "wrapped"]

# What gRPC says of a refused connection, and what is said where a certificate was to be fetched first.
_REFUSED = re.compile(r"ipv[46]:(?P<address>\S+): .*connection refused", re.IGNORECASE)
_NOT_FETCHED = re.compile(r"cannot connect to (?P<url>\S+): connection refused", re.IGNORECASE)
# Arguments of the Python interface, in the words of this one.
_WORDS = (
    ("`insecure_skip_tls_verify=True`", "`--insecure-skip-tls-verify`"),
    ("`server_name=`", "`--server-name`"),
    ("`timeout=`", "`--timeout`"),
    ("`ca=`", "`--ca`"),
)


def describe(error: OmniError) -> str:
    """Return an error as the command line says it.

    A server's refusal stands word for word behind its code, as omnictl shows it; failures on this side say what to do.

    Args:
        error: The error.
    """
    text = rpc_text(error)
    known = isinstance(error, (Unavailable, Unauthenticated, DeadlineExceeded))
    # What this side found out by itself bears no code.
    refused = isinstance(error, APIError) and error.code is not None and not known
    if refused or error.hint is None or isinstance(error, WaitTimeout):
        return text
    hint = error.hint
    for python, flag in _WORDS:
        hint = hint.replace(python, flag)
    # A list of the server's ends in blank lines.
    lines = text.rstrip("\n")
    return f"{lines} ({hint})"


def os_text(error: OSError) -> str:
    """Return what a failed operation on a file is called: `open x: permission denied`."""
    from omniherd._core.files import reason

    if error.filename:
        return f"open {error.filename}: {reason(error)}"
    # Files are written under their names, see `_core.files`.
    return f"write /dev/stdout: {reason(error)}" if error.errno in {errno.ENOSPC, errno.EBADF} else reason(error)


def rpc_text(error: OmniError) -> str:
    """Return an error's text, in gRPC's form when a call failed: `rpc error: code = NotFound desc = …`."""
    if isinstance(error, WatchError):
        return f"watch error: {error}"
    if not isinstance(error, APIError) or error.code is None:
        return str(error)
    if isinstance(error, Unavailable):
        address = _refused_address(error)
        if not address:
            return str(error)
        dial = f"transport: Error while dialing: dial tcp {address}: connect: connection refused"
        return f'rpc error: code = Unavailable desc = connection error: desc = "{dial}"'
    code = "Canceled" if error.code == "CANCELLED" else "".join(map(str.capitalize, error.code.split("_")))
    return f"rpc error: code = {code} desc = {error}"


def wrapped(error: OmniError, what: str) -> OmniError:
    """Return an error that says what failed before it says why, as `what: rpc error: …`.

    Args:
        error: The error.
        what: What was tried.
    """
    return OmniError(
        f"{what}: {rpc_text(error)}",
        code=error.code,
        resource=error.resource,
        details=dict(error.details),
        hint=error.hint if isinstance(error, (Unavailable, Unauthenticated, DeadlineExceeded)) else None,
    )


@contextlib.contextmanager
def told(before: str = "") -> Generator[None]:
    """Say in errors what was wanted of the server, where the client noted that.

    Args:
        before: What failed on the whole, said of every error.
    """
    try:
        yield
    except OmniError as error:
        steps = [step for step in (before, error.details.get("during")) if step]
        if not steps:
            raise
        raise wrapped(error, ": ".join(steps)) from error


def _refused_address(error: Unavailable) -> str:
    """Return the address that refused a connection, or `""` when that is not what happened."""
    refused = _REFUSED.search(str(error.details.get("text", "")))
    if refused is not None:
        from urllib.parse import unquote

        # gRPC writes the brackets of an IPv6 address as they stand in a URL.
        return unquote(refused["address"])
    refused = _NOT_FETCHED.fullmatch(error.message)
    if refused is None:
        return ""
    import socket

    from omniherd.credentials import Endpoint

    endpoint = Endpoint.parse(refused["url"])
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return ""
    return f"{found[0][4][0]}:{endpoint.port}"
