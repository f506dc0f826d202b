"""From gRPC's status to an error of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omniherd import errors
from omniherd._core.status import error_from_status

RECORDINGS = Path(__file__).parent.parent / "data" / "recordings"

REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: "
    "Connection refused"
)
SELF_SIGNED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:46315: Tls handshake failed "
    "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: "
    "self signed certificate: OK"
)
OTHER_NAME = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:38443: Custom verification check failed "
    "with error: UNAUTHENTICATED: Hostname Verification Check failed."
)
NO_TLS = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:41193: Tls handshake failed "
    "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid "
    "certificate verification context: OK"
)
PLAIN_TO_TLS = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:46315: Socket closed"
NO_HOST = (
    "errors resolving nope.invalid:443: [field:hostname lookup error:address lookup failed for nope.invalid:443: "
    "Domain name not found]"
)


@pytest.mark.parametrize(
    ("code", "text", "kind", "details"),
    [
        ("NOT_FOUND", "resource T.omni.sidero.dev(default/a@undefined) doesn't exist", errors.NotFound, {}),
        ("ALREADY_EXISTS", "resource T(default/a@1) already exists", errors.AlreadyExists, {}),
        (
            "FAILED_PRECONDITION",
            'resource T(default/a@2) update conflict: expected version "1", actual version "2"',
            errors.VersionConflict,
            {"expected": "1", "actual": "2"},
        ),
        (
            "FAILED_PRECONDITION",
            "resource T(default/a@1) has pending finalizers &[one two]",
            errors.FinalizersPending,
            {"finalizers": ["one", "two"]},
        ),
        ("FAILED_PRECONDITION", "invalid watch bookmark", errors.WatchExpired, {}),
        ("FAILED_PRECONDITION", "something else", errors.FailedPrecondition, {}),
        (
            "INVALID_ARGUMENT",
            "resource T(default/a@6) is not in phase tearingDown",
            errors.PhaseConflict,
            {"phase": "tearingDown"},
        ),
        (
            "INVALID_ARGUMENT",
            "failed to validate: 2 errors occurred:\n\t* first\n\t* second\n\n",
            errors.InvalidArgument,
            {"errors": ["first", "second"]},
        ),
        ("PERMISSION_DENIED", 'resource T(default/a@1) is owned by "them"', errors.OwnerConflict, {"owner": "them"}),
        ("PERMISSION_DENIED", 'resource T(default/a@1) is owned by ""', errors.OwnerConflict, {"owner": ""}),
        ("UNAUTHENTICATED", "invalid signature", errors.Unauthenticated, {}),
        ("UNIMPLEMENTED", "unknown service nope.Service", errors.Unimplemented, {}),
        ("CANCELLED", "Locally cancelled by application!", errors.Canceled, {}),
        ("INTERNAL", "runtime error: index out of range [0] with length 0", errors.InternalError, {}),
        ("DATA_LOSS", "x", errors.InternalError, {}),
        ("UNKNOWN", "bucket name required", errors.UnknownError, {}),
        ("A_CODE_OF_TOMORROW", "x", errors.UnknownError, {}),
        ("ABORTED", "x", errors.Conflict, {}),
        ("OUT_OF_RANGE", "x", errors.InvalidArgument, {}),
    ],
)
def test_the_kind_and_the_details(code, text, kind, details):
    error = error_from_status(code, text)
    assert type(error) is kind
    assert error.code == code
    assert str(error) == text
    assert error.details == details
    assert error.retryable is False


def test_the_resource_comes_from_the_text_before_the_call():
    text = "resource TalosVersions.omni.sidero.dev(default/1.0@undefined) doesn't exist"
    assert (
        error_from_status("NOT_FOUND", text, resource="X(y/z)").resource == "TalosVersions.omni.sidero.dev(default/1.0)"
    )
    assert error_from_status("NOT_FOUND", "gone", resource="X(y/z)").resource == "X(y/z)"


@pytest.mark.parametrize(
    ("code", "text", "part"),
    [
        ("PERMISSION_DENIED", 'access denied: insufficient role: "Reader"', "'Reader' is too low"),
        ("PERMISSION_DENIED", "no access is permitted", "does not know it"),
        ("PERMISSION_DENIED", "only read access is permitted", "controllers write"),
        ("PERMISSION_DENIED", 'resource T(d/a@1) is owned by "them"', "only 'them'"),
        ("PERMISSION_DENIED", 'resource T(d/a@1) is owned by ""', "no owner"),
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (33558527 vs. 33554432)", "32 MiB"),
        ("RESOURCE_EXHAUSTED", "received metadata size exceeds hard limit", "shorter id"),
        ("UNAUTHENTICATED", "invalid jwt", "bearer token"),
        ("UNAUTHENTICATED", "invalid signature", "clock"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "timeout="),
    ],
)
def test_hints(code, text, part):
    assert part in error_from_status(code, text).hint


@pytest.mark.parametrize(
    ("code", "text"), [("PERMISSION_DENIED", "permission denied"), ("RESOURCE_EXHAUSTED", "quota")]
)
def test_no_hint_where_there_is_none_to_give(code, text):
    assert error_from_status(code, text).hint is None


@pytest.mark.parametrize(
    ("text", "message", "hint", "retryable", "sent"),
    [
        (REFUSED, "cannot connect to https://o: connection refused", "server runs", True, False),
        (SELF_SIGNED, "the certificate of https://o is not trusted: ", "insecure_skip_tls_verify", False, False),
        (OTHER_NAME, "the certificate of https://o is made out to another name", "server_name", False, False),
        (NO_TLS, "https://o does not speak TLS", "http://", False, False),
        (PLAIN_TO_TLS, "cannot connect to https://o: Socket closed", "address and port", True, False),
        (NO_HOST, "the host name of https://o cannot be resolved", "spelling", True, False),
        ("Socket closed", "the connection to https://o broke: Socket closed", None, True, True),
        ("recvmsg:Connection refused", "cannot connect to https://o: connection refused", "server runs", True, True),
    ],
)
def test_failures_of_the_connection(text, message, hint, retryable, sent):
    error = error_from_status("UNAVAILABLE", text, endpoint="https://o")
    assert isinstance(error, errors.Unavailable)
    assert str(error).startswith(message)
    assert "\n" not in str(error)
    assert (error.hint is None) if hint is None else (hint in error.hint)
    assert (error.retryable, error.details["sent"]) == (retryable, sent)
    assert error.details["text"] == text


@pytest.mark.parametrize("code", ["UNKNOWN", "INTERNAL"])
@pytest.mark.parametrize("text", ["Stream removed", "Received RST_STREAM with error code 2", "GOAWAY received"])
def test_a_broken_stream_is_unavailable_whatever_its_code(code, text):
    error = error_from_status(code, text)
    assert isinstance(error, errors.Unavailable)
    assert error.retryable
    assert error.details["sent"]


def test_a_deadline_names_the_endpoint():
    for text in ("Deadline Exceeded", "context deadline exceeded", "Stream removed (Deadline Exceeded)"):
        assert str(error_from_status("DEADLINE_EXCEEDED", text, endpoint="https://o")).startswith(
            "no answer from https://o"
        )
    assert str(error_from_status("DEADLINE_EXCEEDED", "Deadline Exceeded")) == "no answer within the deadline"
    assert str(error_from_status("DEADLINE_EXCEEDED", "took too long")) == "took too long"


def test_a_missing_text_is_said_to_be_missing():
    assert str(error_from_status("INTERNAL", "")) == "(the server gave no reason)"


def recorded_statuses():
    found = set()
    for path in sorted(RECORDINGS.glob("*.json")):
        for step in json.loads(path.read_text()).get("steps", []):
            status = step.get("status")
            if status and status["code"] != "OK":
                found.add((status["code"], status["message"]))
    return sorted(found)


def test_every_recorded_status_gives_an_error_of_its_code():
    statuses = recorded_statuses()
    assert len(statuses) > 100
    for code, text in statuses:
        error = error_from_status(code, text, endpoint="https://o")
        if not isinstance(error, errors.Unavailable):
            assert error.code == code
        if code == "NOT_FOUND":
            assert isinstance(error, errors.NotFound)
        if "update conflict" in text:
            assert isinstance(error, errors.VersionConflict)
        if "has pending finalizers" in text:
            assert isinstance(error, errors.FinalizersPending)
            assert error.details["finalizers"]
