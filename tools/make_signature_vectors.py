"""Make docs/signature-vectors.json: signed calls, good and bad, with a key made for nothing else.

The key's seed and all times are fixed, so the file comes out the same each time. Run it as
`python tools/make_signature_vectors.py`; `--check` writes nothing and fails when the file would change.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "unit"))

from openpgp_forge import ForgedKey, armor, subpacket  # noqa: E402  (found by the line above)

TARGET = ROOT / "docs" / "signature-vectors.json"
NOW = 1_790_000_000
YEAR = 365 * 24 * 3600
METHOD = "/cosi.resource.State/Get"
KEY = ForgedKey(
    NOW - 86_400,
    lifetime=YEAR,
    user_id="Signature vectors (throw-away) <vectors@example.com>",
    seed=hashlib.sha256(b"omniherd signature vectors").digest(),
)
SHORT = ForgedKey(NOW - 3600, lifetime=3600, user_id="<short@example.com>", seed=hashlib.sha256(b"short").digest())

Pairs = list[tuple[str, str]]


def payload_of(headers: dict[str, Any], method: str = METHOD) -> str:
    """Write a payload as compactly as omniherd does."""
    return json.dumps({"headers": headers, "method": method}, separators=(",", ":"))


def vector(name: str, reason: str | None = None, **changes: Any) -> dict[str, Any]:
    """Make one call; `changes` says what differs from the plainest valid one, `reason` why that is refused."""
    key: ForgedKey = changes.get("key", KEY)
    timestamp = changes.get("timestamp", str(NOW))
    metadata: Pairs = changes.get("metadata", [])
    payload = changes.get("payload")
    if payload is None:
        headers: dict[str, Any] = {"x-sidero-timestamp": [timestamp]}
        for header, value in metadata:
            headers.setdefault(header, []).append(value)
        payload = payload_of(headers | changes.get("headers", {}), changes.get("signed_method", METHOD))
    signature = key.signature(
        changes.get("signed_payload", payload).encode(), **{"created": NOW, **changes.get("signature", {})}
    )
    encoded = changes.get("encode", lambda raw: base64.b64encode(raw).decode())(signature)
    field = changes.get("field", "siderov1 {identity} {fingerprint} {signature}").format(
        identity="vectors@example.com", fingerprint=key.fingerprint, signature=encoded
    )
    sent: list[tuple[str, str | None]] = [
        *metadata,
        *changes.get("unsigned", []),
        ("x-sidero-timestamp", changes.get("sent_timestamp", timestamp)),
        ("x-sidero-payload", payload),
        ("x-sidero-signature", changes.get("sent_signature", field)),
    ]
    return {
        "name": name,
        "valid": reason is None,
        "reason": reason,
        "method": METHOD,
        "server_unix_time": changes.get("now", NOW),
        "payload": payload,
        "metadata": [[header, value] for header, value in sent if value is not None],
    }


def vectors() -> list[dict[str, Any]]:
    """Make all of them."""
    salt = subpacket(20, b"\x00\x00\x00\x00\x00\x04\x00\x08saltpine nut")
    unpadded = {"encode": lambda raw: base64.b64encode(raw).decode().rstrip("=")}
    # An octet of padding in the signature makes sure that its base64 text ends in "=".
    padded = {"extra": subpacket(100, b"x")}
    return [
        vector("plain call"),
        vector("signed header", metadata=[("runtime", "Omni")]),
        vector("signed header with two values, in order", metadata=[("selectors", "a"), ("selectors", "b")]),
        vector("characters that JSON escapes", metadata=[("context", 'a "b" \\ <c>')]),
        vector("other metadata is not signed", unsigned=[("x-anything", "1"), ("node", "n")]),
        vector("fieldselectors is not signed", unsigned=[("fieldselectors", "x")]),
        vector("absent headers as null", headers={"nodes": None, "fieldSelectors": None}),
        vector("unknown fields and headers in the payload", headers={"x-anything": ["1"]}),
        vector(
            "pretty-printed payload with fields in another case",
            payload=json.dumps({"Method": METHOD, "HEADERS": {"x-sidero-timestamp": [str(NOW)]}}, indent=2),
        ),
        vector("fifth field in the signature header", field="siderov1 {identity} {fingerprint} {signature} more"),
        vector("identity of somebody else", field="siderov1 other@example.com {fingerprint} {signature}"),
        vector("no identity", field="siderov1  {fingerprint} {signature}"),
        vector("clock of the client 299 s behind", now=NOW + 299),
        vector("clock of the client 299 s ahead", now=NOW - 299),
        vector("text signature", signature={"kind": 1}),
        vector("SHA-384", signature={"hash_algorithm": 9}),
        vector("SHA-512", signature={"hash_algorithm": 10}),
        vector("salt notation", signature={"extra": salt}),
        vector("old packet header", signature={"old": True}),
        vector("signature made long before the call", signature={"created": NOW - 600}),
        vector("signature made 299 s ahead", signature={"created": NOW + 299}),
        vector("no signature", "the signature header is missing", sent_signature=None),
        vector("three fields", "fewer than four fields", field="siderov1 {identity} {fingerprint}"),
        vector("two blanks", "the fields shift", field="siderov1  {identity} {fingerprint} {signature}"),
        vector("another version", "only siderov1 is known", field="siderov2 {identity} {fingerprint} {signature}"),
        vector("unknown key", "no such key is registered", field=f"siderov1 {{identity}} {'0' * 40} {{signature}}"),
        vector(
            "upper-case fingerprint",
            "fingerprints are lower case",
            field=f"siderov1 {{identity}} {KEY.fingerprint.upper()} {{signature}}",
        ),
        vector(
            "key id",
            "the whole fingerprint is wanted",
            field=f"siderov1 {{identity}} {KEY.fingerprint[-16:]} {{signature}}",
        ),
        vector("unpadded base64", "padding is wanted", signature=padded, **unpadded),
        vector(
            "url-safe base64",
            "the standard alphabet is wanted",
            encode=lambda raw: base64.urlsafe_b64encode(raw).decode(),
            # Octets of ones make sure that the two alphabets differ.
            signature={"extra": subpacket(100, b"\xff" * 8)},
        ),
        vector(
            "armored signature",
            "the signature is binary",
            encode=lambda raw: base64.b64encode(armor(raw, "SIGNATURE").encode()).decode(),
        ),
        vector("clock 301 s behind", "more than 300 s", now=NOW + 301),
        vector("clock 301 s ahead", "more than 300 s", now=NOW - 301),
        vector("milliseconds", "the timestamp is in seconds", timestamp=f"{NOW}000"),
        vector("fraction", "the timestamp is an integer", timestamp=f"{NOW}.5"),
        vector("no timestamp", "the timestamp is missing", sent_timestamp=None),
        vector("another timestamp", "payload and metadata differ", sent_timestamp=str(NOW + 1)),
        vector("empty payload", "the payload is missing", payload=""),
        vector("payload is no object", "the payload is an object", payload="[]"),
        vector("payload changed after signing", "the signature does not match", signed_payload=payload_of({})),
        vector("another method", "the payload is for another method", signed_method="/cosi.resource.State/List"),
        vector("method without slash", "the path begins with a slash", signed_method=METHOD[1:]),
        vector("header not in the payload", "payload and metadata differ", unsigned=[("runtime", "Omni")]),
        vector("header only in the payload", "payload and metadata differ", headers={"runtime": ["Omni"]}),
        vector(
            "values in another order",
            "payload and metadata differ",
            metadata=[("nodes", "a"), ("nodes", "b")],
            headers={"nodes": ["b", "a"]},
        ),
        vector("absent header as empty list", "leave it out or write null", headers={"uid": []}),
        vector("value instead of list", "values are lists", headers={"x-sidero-timestamp": str(NOW)}),
        vector(
            "fieldSelectors listed",
            "no such header can arrive",
            unsigned=[("fieldselectors", "x")],
            headers={"fieldSelectors": ["x"]},
        ),
        vector("SHA-1", "the hash is too weak", signature={"hash_algorithm": 2}),
        vector("signature made 320 s ahead", "it comes from the future", signature={"created": NOW + 320}),
        vector("signature older than its key", "the key did not exist then", signature={"created": KEY.created - 1}),
        vector("signature without a time", "the time is missing", signature={"undated": True}),
        vector("certification", "not a signature over data", signature={"kind": 0x10}),
        vector("broken signature", "the signature does not match", signature={"spoil": True}),
        vector("key valid until one second later", key=SHORT, now=NOW - 1, signature={"created": NOW - 10}),
        vector("key expires this second", "the key has expired", key=SHORT, signature={"created": NOW - 10}),
    ]


def render() -> str:
    """Return the text of the file."""
    document = {
        "about": "See signatures.md. The keys are throw-away: they were made for this file and open nothing.",
        "keys": [
            {
                "fingerprint": key.fingerprint,
                "user_id": key.user_id,
                "created": key.created,
                "lifetime": key.lifetime,
                "public_key": key.public_armored,
                "private_key": key.private_armored,
            }
            for key in (KEY, SHORT)
        ],
        "vectors": vectors(),
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def main() -> int:
    """Write the file, or with --check compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file would change")
    text = render()
    if not parser.parse_args().check:
        TARGET.write_text(text)
        return 0
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    print(f"not as generated: {TARGET.relative_to(ROOT)}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
