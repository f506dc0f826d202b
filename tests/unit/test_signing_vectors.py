"""The vectors that docs/signatures.md publishes are true, and are what their generator makes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from omniherd.signing import PGPKey, PublicKey, SignatureRefused, sign_headers, verify_headers

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / "docs" / "signature-vectors.json").read_text())
KEYS = {key["fingerprint"]: PublicKey.from_bytes(key["public_key"]) for key in DOCUMENT["keys"]}


class Parrot:
    """A signer without a key."""

    fingerprint = "0" * 40
    identity = "parrot"

    def sign(self, data):
        return data


@pytest.mark.parametrize("vector", DOCUMENT["vectors"], ids=lambda vector: vector["name"])
def test_each_vector(vector):
    metadata = [tuple(pair) for pair in vector["metadata"]]
    assert vector["payload"] == dict(metadata)["x-sidero-payload"]
    if vector["valid"]:
        assert vector["reason"] is None
        key = verify_headers(vector["method"], metadata, vector["server_unix_time"], KEYS.get)
        assert key.fingerprint in dict(metadata)["x-sidero-signature"]
    else:
        assert vector["reason"]
        with pytest.raises(SignatureRefused):
            verify_headers(vector["method"], metadata, vector["server_unix_time"], KEYS.get)


@pytest.mark.parametrize("name", ["plain call", "signed header", "characters that JSON escapes"])
def test_our_signer_writes_the_payload_of_the_vector(name):
    vector = next(vector for vector in DOCUMENT["vectors"] if vector["name"] == name)
    metadata = [(key, value) for key, value in vector["metadata"] if not key.startswith("x-sidero-")]
    made = sign_headers(Parrot(), vector["method"], metadata, vector["server_unix_time"])
    assert dict(made)["x-sidero-payload"] == vector["payload"]


def test_the_keys_are_as_described():
    for key in DOCUMENT["keys"]:
        private = PGPKey.from_armored(key["private_key"])
        assert private.fingerprint == KEYS[key["fingerprint"]].fingerprint == key["fingerprint"]
        assert private.created.timestamp() == key["created"]
        assert (private.expires - private.created).total_seconds() == key["lifetime"]
        assert private.user_ids == (key["user_id"],)


def test_there_are_vectors_of_both_kinds():
    valid = [vector["name"] for vector in DOCUMENT["vectors"] if vector["valid"]]
    assert len(valid) == 22
    assert len(DOCUMENT["vectors"]) == 56
    assert len({vector["name"] for vector in DOCUMENT["vectors"]}) == 56


def test_the_file_is_as_generated():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_signature_vectors.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
