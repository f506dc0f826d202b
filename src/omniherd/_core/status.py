"""From a gRPC status to an error of ours: the class says the kind, the text is the server's, the hint helps a person.

Omni sends a code and a text, never status details; what a machine may want to know is read out of the text.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from omniherd import errors

if TYPE_CHECKING:
    from collections.abc import Generator

    from omniherd.errors import APIError

__all__ = ["CODES", "during", "error_from_status"]

CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""Names of gRPC's status codes by their number, as it stands in google.rpc.Status."""

_BY_CODE: dict[str, type[APIError]] = {
    "NOT_FOUND": errors.NotFound,
    "ALREADY_EXISTS": errors.AlreadyExists,
    "FAILED_PRECONDITION": errors.FailedPrecondition,
    "INVALID_ARGUMENT": errors.InvalidArgument,
    "OUT_OF_RANGE": errors.InvalidArgument,
    "PERMISSION_DENIED": errors.PermissionDenied,
    "UNAUTHENTICATED": errors.Unauthenticated,
    "UNAVAILABLE": errors.Unavailable,
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
    "RESOURCE_EXHAUSTED": errors.ResourceExhausted,
    "UNIMPLEMENTED": errors.Unimplemented,
    "CANCELLED": errors.Canceled,
    "ABORTED": errors.Conflict,
    "INTERNAL": errors.InternalError,
    "DATA_LOSS": errors.InternalError,
    "UNKNOWN": errors.UnknownError,
}

_RESOURCE = re.compile(r"resource (?P<type>[A-Za-z0-9.]+)\((?P<key>[^()]*)@(?P<version>[^()@]*)\)")
_VERSIONS = re.compile(r'update conflict: expected version "(?P<expected>[^"]*)", actual version "(?P<actual>[^"]*)"')
_FINALIZERS = re.compile(r"has pending finalizers &?\[(?P<names>[^\]]*)\]")
_OWNER = re.compile(r'is owned by "(?P<owner>[^"]*)"')
_PHASE = re.compile(r"is not in phase (?P<phase>\w+)")
_ROLE = re.compile(r'insufficient role: "(?P<role>[^"]*)"')
_LIST = re.compile(r"^(?:failed to validate: )?\d+ errors? occurred:\n(?P<lines>.*)", re.DOTALL)
# What grpc's own C core says when a call broke, not what a server said.
_BROKEN = re.compile(
    r"Stream removed|RST_STREAM|GOAWAY|Socket closed|Connection reset|Broken pipe|recvmsg:|ping timeout|keepalive"
    r"|Endpoint closing|Transport closed|Received http2 header with status: (?:429|502|503|504)",
    re.IGNORECASE,
)


def error_from_status(code: str, text: str, *, resource: str | None = None, endpoint: str = "") -> APIError:
    """Return the error for a failed call.

    Args:
        code: The status name, `NOT_FOUND` for example.
        text: The status text.
        resource: What the call was about, as `Type(namespace/id)`; the server's text may name another one.
        endpoint: The server's address, for failures of the connection.

    Example:
        >>> error = error_from_status("NOT_FOUND", "resource T.omni.sidero.dev(default/a@undefined) doesn't exist")
        >>> type(error).__name__, error.resource
        ('NotFound', 'T.omni.sidero.dev(default/a)')
    """
    text = text or "(the server gave no reason)"
    named = _RESOURCE.search(text)
    if named:
        resource = f"{named['type']}({named['key']})"
    if code == "UNAVAILABLE" or (code in {"UNKNOWN", "INTERNAL"} and _BROKEN.search(text)):
        return _unavailable(text, resource, endpoint)
    kind = _BY_CODE.get(code, errors.UnknownError)
    details: dict[str, Any] = {}
    listed = _LIST.match(text)
    if listed:
        details["errors"] = [part.strip() for part in re.split(r"(?:^|\n)\t\* ", listed["lines"]) if part.strip()]
    hint: str | None = None
    # The ResourceService reports a conflict of versions as ALREADY_EXISTS.
    if kind is errors.FailedPrecondition or _VERSIONS.search(text):
        kind = _precondition(text, details)
    elif kind is errors.InvalidArgument and (phase := _PHASE.search(text)):
        kind, details["phase"] = errors.PhaseConflict, phase["phase"]
    elif kind is errors.PermissionDenied:
        kind, hint = _denied(text, details)
    elif kind is errors.ResourceExhausted:
        hint = _exhausted_hint(text)
    elif kind is errors.DeadlineExceeded:
        text, hint = _deadline(text, endpoint)
    elif kind is errors.Unauthenticated and "jwt" in text:
        hint = "the bearer token in the call's metadata is not a valid id token"
    return kind(text, code=code, resource=resource, details=details, hint=hint)


def _precondition(text: str, details: dict[str, Any]) -> type[APIError]:
    if versions := _VERSIONS.search(text):
        details.update(versions.groupdict())
        return errors.VersionConflict
    if finalizers := _FINALIZERS.search(text):
        details["finalizers"] = finalizers["names"].split()
        return errors.FinalizersPending
    if "invalid watch bookmark" in text:
        return errors.WatchExpired
    return errors.FailedPrecondition


def _denied(text: str, details: dict[str, Any]) -> tuple[type[APIError], str | None]:
    if owner := _OWNER.search(text):
        details["owner"] = owner["owner"]
        who = f"only {owner['owner']!r} may write it" if owner["owner"] else "it has no owner, so name none"
        return errors.OwnerConflict, who
    if role := _ROLE.search(text):
        details["role"] = role["role"]
        return (
            errors.PermissionDenied,
            f"the role {role['role']!r} is too low for this; use an account with a higher one",
        )
    if "no access is permitted" in text:
        # Omni gives one answer for both, so both must be said.
        return errors.PermissionDenied, "either nobody may read this type, or the server does not know it"
    if "only read access is permitted" in text:
        return errors.PermissionDenied, "the server's controllers write this type; change the resource it is made from"
    return errors.PermissionDenied, None


def _exhausted_hint(text: str) -> str | None:
    if "received message larger than max" in text:
        return "the server takes requests of up to 32 MiB; split the resource"
    if "metadata size exceeds" in text:
        return "the server's error text repeats the id and was too long to be delivered; use a shorter id"
    return None


def _deadline(text: str, endpoint: str) -> tuple[str, str]:
    # Without an answer grpc speaks of "Deadline Exceeded" or of a removed stream; neither tells whose deadline it was.
    if re.fullmatch(r"(?i)(stream removed \()?(context )?deadline exceeded\)?", text):
        text = f"no answer from {endpoint} within the deadline" if endpoint else "no answer within the deadline"
    return text, "check that the endpoint is right and reachable, or allow more time with `timeout=`"


def _unavailable(text: str, resource: str | None, endpoint: str) -> APIError:
    details: dict[str, Any] = {"text": text}
    where = endpoint or "the server"
    retryable = True
    sent = True
    message = f"the connection to {where} broke: {_short(text)}"
    hint: str | None = None
    lower = text.lower()
    if any(
        sign in lower
        for sign in ("certificate_verify_failed", "hostname verification", "peer name", "handshake failed")
    ):
        sent, retryable = False, False
        if "wrong_version_number" in lower or "http_request" in lower:
            message = f"{where} does not speak TLS"
            hint = "use an http:// or grpc:// address for a server without TLS"
        elif "hostname" in lower or "peer name" in lower:
            message = f"the certificate of {where} is made out to another name"
            hint = "connect under the certificate's name, or give that name with `server_name=`"
        else:
            message = f"the certificate of {where} is not trusted: {_short(text)}"
            hint = "give the CA with `ca=`, or check nothing with `insecure_skip_tls_verify=True`"
    elif "dns resolution failed" in lower or "name or service not known" in lower or "domain name not found" in lower:
        sent = False
        message = f"the host name of {where} cannot be resolved"
        hint = "check the endpoint's spelling and this machine's DNS"
    elif "connection refused" in lower:
        sent = "failed to connect" not in lower
        message = f"cannot connect to {where}: connection refused"
        hint = "check the endpoint's address and port, and that the server runs"
    elif "failed to connect" in lower:
        sent = False
        message = f"cannot connect to {where}: {_short(text)}"
        hint = "check the endpoint's address and port; a server without TLS needs an http:// or grpc:// address"
    details["sent"] = sent
    return errors.Unavailable(
        message, code="UNAVAILABLE", resource=resource, details=details, retryable=retryable, hint=hint
    )


def _short(text: str) -> str:
    # What happened stands last, after the code and the address of the attempt.
    tail = text.rsplit("last error: ", 1)[-1]
    return re.sub(r"^(?:[A-Z_]+: )?(?:ipv[46]|unix|dns):\S+: ", "", tail).strip()


@contextlib.contextmanager
def during(what: str) -> Generator[None]:
    """Note in an error what was wanted of the server, as `details["during"]`; of several notes the innermost counts.

    Args:
        what: What failed, if something does: `failed to get cluster`.
    """
    try:
        yield
    except errors.APIError as error:
        error.details.setdefault("during", what)
        raise
