"""Errors as the command line tells them: what happened, in omnictl's form, and what to do about it."""

from __future__ import annotations

import re

from omniherd.errors import APIError, DeadlineExceeded, OmniError, Unauthenticated, Unavailable, WaitTimeout, WatchError

__all__ = ["describe", "os_text", "rpc_text"]

_REFUSED = re.compile(r"ipv[46]:(?P<address>\S+): .*connection refused", re.IGNORECASE)
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
    refused = isinstance(error, APIError) and not isinstance(error, (Unavailable, Unauthenticated, DeadlineExceeded))
    if refused or error.hint is None or isinstance(error, WaitTimeout):
        return text
    hint = error.hint
    for python, flag in _WORDS:
        hint = hint.replace(python, flag)
    return f"{text} ({hint})"


def os_text(error: OSError) -> str:
    """Return what a failed operation on a file is called: `open x: permission denied`."""
    reason = (error.strerror or str(error)).lower()
    return f"open {error.filename}: {reason}" if error.filename else reason


def rpc_text(error: OmniError) -> str:
    """Return an error's text, in gRPC's form when a call failed: `rpc error: code = NotFound desc = …`."""
    if isinstance(error, WatchError):
        return f"watch error: {error}"
    if not isinstance(error, APIError) or error.code is None:
        return str(error)
    if isinstance(error, Unavailable):
        refused = _REFUSED.search(str(error.details.get("text", "")))
        if refused is None:
            return str(error)
        dial = f"transport: Error while dialing: dial tcp {refused['address']}: connect: connection refused"
        return f'rpc error: code = Unavailable desc = connection error: desc = "{dial}"'
    code = "Canceled" if error.code == "CANCELLED" else "".join(map(str.capitalize, error.code.split("_")))
    return f"rpc error: code = {code} desc = {error}"
