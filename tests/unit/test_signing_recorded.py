"""Our verifier says of each recorded call what the real server said, and our signer makes what it accepted."""

import base64
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from omniherd.signing import PGPKey, PublicKey, SignatureRefused, sign_headers, verify_headers

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SIGNED = json.loads((RECORDINGS / "auth-signature.json").read_text())
UNSIGNED = json.loads((RECORDINGS / "auth-unsigned.json").read_text())
PAIR = SIGNED["keys"]["cap-admin"]
# The server routes by these headers before it looks at a signature, so its answer says nothing about that.
ROUTED_FIRST = {
    "runtime header value differs": False,
    "nodes header signed, unknown node": True,
    "nodes header signed, empty value": True,
    "runtime Talos, signed, State.Get": True,
}


def lookup(fingerprint):
    return PublicKey.from_bytes(PAIR["public_key"]) if fingerprint == PAIR["fingerprint"] else None


def accepted(step):
    if step["name"] in ROUTED_FIRST:
        assert step["status"]["code"] in {"INVALID_ARGUMENT", "UNKNOWN"}
        return ROUTED_FIRST[step["name"]]
    if step["status"]["message"] == "invalid signature":
        return False
    # A bad token is looked at only behind a good signature.
    assert step["status"]["code"] == "OK" or step["status"]["message"] == "invalid jwt", step["status"]
    return True


def test_the_recording_holds_both_kinds():
    verdicts = [accepted(step) for step in SIGNED["steps"]]
    assert len(verdicts) == 56
    assert 20 < sum(verdicts) < 40


@pytest.mark.parametrize("step", SIGNED["steps"], ids=lambda step: step["name"])
def test_each_recorded_signature_is_judged_as_the_server_did(step):
    metadata = [tuple(pair) for pair in step["metadata_sent"]]
    if accepted(step):
        key = verify_headers(step["rpc"], metadata, step["client_unix_time"], lookup)
        assert key.email == "cap-admin@serviceaccount.omni.sidero.dev"
    else:
        with pytest.raises(SignatureRefused, match=r"^invalid signature$") as refused:
            verify_headers(step["rpc"], metadata, step["client_unix_time"], lookup)
        assert refused.value.code == "UNAUTHENTICATED"
        assert refused.value.reason


@pytest.mark.parametrize("step", UNSIGNED["steps"], ids=lambda step: step["name"])
def test_no_unsigned_call_passes(step):
    metadata = [tuple(pair) for pair in step.get("metadata", [])]
    with pytest.raises(SignatureRefused) as refused:
        verify_headers(step["rpc"], metadata, 1795504062, lookup)
    assert "is missing" in refused.value.reason


def test_the_recorded_key_makes_headers_of_the_recorded_form():
    key = PGPKey.from_armored(PAIR["private_key"], identity="cap-admin")
    assert key.fingerprint == PAIR["fingerprint"]
    assert key.created == datetime(2026, 11, 24, 6, 43, 26, tzinfo=UTC)
    now = int(time.time())
    if key.is_expired(now):
        pytest.skip("the recorded key has expired; test_signing.py does the same with a fresh one")
    step = next(step for step in SIGNED["steps"] if step["name"] == "valid, only present headers listed")
    recorded = dict(step["metadata_sent"])
    headers = sign_headers(key, step["rpc"], [], step["client_unix_time"])
    assert [name for name, _ in headers] == list(recorded)
    made = dict(headers)
    assert made["x-sidero-timestamp"] == recorded["x-sidero-timestamp"]
    assert made["x-sidero-payload"] == recorded["x-sidero-payload"]
    assert made["x-sidero-signature"].split(" ")[:3] == recorded["x-sidero-signature"].split(" ")[:3]
    assert base64.b64decode(made["x-sidero-signature"].split(" ")[3])[0] & 0x80
    assert (
        verify_headers(step["rpc"], sign_headers(key, step["rpc"], [], now), now, lookup).fingerprint == key.fingerprint
    )
