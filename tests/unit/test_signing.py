import base64
import copy
import json
import pickle
import threading
import time
import traceback
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpgp_forge import ForgedKey, armor, packet, subpacket

from omniherd._core import openpgp_packets as packets
from omniherd.errors import CredentialError, InputError, KeyExpired
from omniherd.signing import (
    CallSigner,
    PGPKey,
    PublicKey,
    SignatureRefused,
    Signer,
    sign_headers,
    verify_headers,
)

METHOD = "/cosi.resource.State/Get"
# Forged keys live in the past: the OpenPGP library compares with this machine's clock and knows no other.
THEN = 1_700_000_000
LATE = THEN + 1000


@pytest.fixture(scope="module")
def key():
    return PGPKey.generate("omniherd", "test", "me@example.com", timedelta(hours=4))


@pytest.fixture(scope="module")
def forged():
    return ForgedKey(THEN)


@pytest.fixture(scope="module")
def public(forged):
    return PublicKey.from_bytes(forged.public)


def refusal(call, *arguments, **named):
    with pytest.raises(SignatureRefused) as caught:
        call(*arguments, **named)
    return caught.value.reason


def test_a_generated_key_signs_what_the_verifier_takes(key):
    now = int(time.time())
    metadata = [("runtime", "Omni"), ("selectors", "a"), ("Selectors", "b"), ("x-free", "y"), ("fieldselectors", "z")]
    headers = sign_headers(key, METHOD, metadata, now)
    payload = json.loads(dict(headers)["x-sidero-payload"])
    assert payload == {
        "headers": {"x-sidero-timestamp": [str(now)], "runtime": ["Omni"], "selectors": ["a", "b"]},
        "method": METHOD,
    }
    sent = [(name.lower(), value) for name, value in [*metadata, *headers]]
    found = verify_headers(METHOD, sent, now, {key.fingerprint: key.public}.get)
    assert found is key.public
    assert dict(headers)["x-sidero-signature"].startswith(f"siderov1 me@example.com {key.fingerprint} ")
    assert "is for method" in refusal(verify_headers, "/other", sent, now, {key.fingerprint: key.public}.get)


def test_a_generated_key_is_described(key):
    again = PGPKey.from_armored(key.private_armored())
    assert isinstance(again, Signer)
    assert again.fingerprint == key.fingerprint
    assert again.identity == again.email == "me@example.com"
    assert again.user_ids == ("omniherd (test) <me@example.com>",)
    assert abs(again.expires.timestamp() - time.time() - 4 * 3600) < 120
    assert again.created < again.expires
    half = PublicKey.from_bytes(key.public_armored)
    assert (half.fingerprint, half.is_private, half.can_sign) == (key.fingerprint, False, True)
    assert PublicKey.from_bytes(half.armored.encode()).expires == key.expires
    assert PublicKey.from_bytes(key.private_armored()).is_private
    again.check()


def test_an_explicit_identity_goes_into_the_header_without_blanks():
    named = PGPKey.from_armored(ForgedKey(int(time.time()) - 10).private_armored, identity="a b\nż")
    headers = dict(sign_headers(named, METHOD, [], time.time()))
    assert headers["x-sidero-signature"].split(" ")[1] == "a_b__"
    assert len(headers["x-sidero-signature"].split(" ")) == 4


@pytest.mark.parametrize("name", ["x-sidero-timestamp", "X-Sidero-Payload", "x-sidero-signature"])
def test_headers_are_not_signed_twice(key, name):
    with pytest.raises(InputError, match="is made by the signature itself"):
        sign_headers(key, METHOD, [(name, "1")], 1)


class Counting:
    """A signer that tells how often it signed."""

    identity = "ci@example.com"
    fingerprint = "0" * 40

    def __init__(self):
        self.signed = []

    def sign(self, data):
        self.signed.append(json.loads(data))
        return b"signature %d" % len(self.signed)


def test_calls_of_one_second_share_a_signature_where_the_payload_is_the_same():
    signer = Counting()
    calls = CallSigner(signer)
    first = calls.metadata(METHOD, (("runtime", "Omni"), ("x-other", "1")), 1790000000.1)
    assert first == (
        ("runtime", "Omni"),
        ("x-other", "1"),
        *sign_headers(Counting(), METHOD, [("runtime", "Omni")], 1790000000),
    )
    assert calls.metadata(METHOD, (("runtime", "Omni"), ("x-other", "1")), 1790000000.9) is first
    others = [
        calls.metadata(METHOD, (("runtime", "Talos"),), 1790000000.9),
        calls.metadata("/cosi.resource.State/List", (("runtime", "Omni"), ("x-other", "1")), 1790000000.9),
        calls.metadata(METHOD, (("runtime", "Omni"), ("x-other", "1")), 1790000001.0),
        # A clock that was set back.
        calls.metadata(METHOD, (("runtime", "Omni"), ("x-other", "1")), 1790000000.0),
    ]
    assert [dict(one)["x-sidero-signature"].rsplit(" ", 1)[1] for one in others] == [
        base64.b64encode(b"signature %d" % number).decode() for number in (2, 3, 4, 5)
    ]
    assert [(one["method"], one["headers"]["x-sidero-timestamp"]) for one in signer.signed] == [
        (METHOD, ["1790000000"]),
        (METHOD, ["1790000000"]),
        ("/cosi.resource.State/List", ["1790000000"]),
        (METHOD, ["1790000001"]),
        (METHOD, ["1790000000"]),
    ]
    signer.fingerprint = "1" * 40
    renewed = calls.metadata(METHOD, (("runtime", "Omni"), ("x-other", "1")), 1790000000.0)
    assert f" {'1' * 40} " in dict(renewed)["x-sidero-signature"]


def test_secrets_do_not_show(key):
    secret = key.private_armored()
    body = max(secret.splitlines()[3:], key=len)
    for text in (repr(key), str(key), f"{key}", repr(key.public), repr([key])):
        assert body not in text
        assert key.fingerprint in text
    assert "PRIVATE" not in repr(key)
    for way in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            way(key)
    with pytest.raises(CredentialError) as caught:
        PGPKey.from_armored(secret[: len(secret) // 2])
    shown = "".join(traceback.format_exception(caught.value))
    assert body not in shown
    assert caught.value.__context__ is None


def test_signing_from_many_threads(key):
    results = []

    def work():
        for number in range(25):
            data = f"{threading.get_ident()} {number}".encode()
            results.append((data, key.sign(data)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 200
    for data, signature in results:
        key.public.verify(data, signature)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("a", "", "b@c", 0), "lifetime"),
        (("a", "", "b@c", timedelta(seconds=-1)), "lifetime"),
        (("a<", "", "b@c", 60), "brackets"),
        (("a", ")", "b@c", 60), "brackets"),
        (("a", "", "b@c\n", 60), "line ends"),
    ],
)
def test_impossible_keys_are_not_made(arguments, text):
    with pytest.raises(InputError, match=text):
        PGPKey.generate(*arguments)


def test_a_key_without_a_mail_address_has_no_identity():
    made = PGPKey.generate("only a name", "", "", 60)
    assert (made.user_ids, made.email, made.identity) == (("only a name",), None, "")


def test_a_short_key_still_works():
    made = PGPKey.generate("", "", "a@b.c", 5)
    made.public.verify(b"x", made.sign(b"x"))


def test_an_expired_key_does_not_sign(forged):
    with pytest.raises(KeyExpired, match="expired at 2023-11-14T23:13:20Z") as caught:
        PGPKey.from_armored(forged.private_armored).sign(b"x")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("flags", "can_sign"), [(0x01, False), (0x0C, False), (0x02, True), (0x03, True), (0x00, False), (None, True)]
)
def test_what_a_key_may_do(flags, can_sign):
    made = ForgedKey(int(time.time()) - 100, flags=flags)
    half = PublicKey.from_bytes(made.public)
    assert half.can_sign is can_sign
    if not can_sign:
        with pytest.raises(CredentialError, match="cannot sign: No suitable signing subkey") as caught:
            PGPKey.from_armored(made.private).sign(b"x")
        assert "Stack backtrace" not in str(caught.value)
        assert refusal(half.verify, b"x", made.signature(b"x"))


@pytest.mark.parametrize(
    ("user_id", "email"),
    [
        ("a@b.c", "a@b.c"),
        (" a@b.c ", "a@b.c"),
        ("<a@b.c>", "a@b.c"),
        ("Name (c) <a@b.c>", "a@b.c"),
        ("cap-x", None),
        ("a@b@c", None),
        ("Name <a@b.c> more", None),
    ],
)
def test_mail_addresses_of_user_ids(user_id, email):
    assert PublicKey.from_bytes(ForgedKey(THEN, user_id=user_id, seed=b"s" * 32).public).email == email


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("", "gopenpgp: the key does not contain any entity"),
        (b"", "gopenpgp: the key does not contain any entity"),
        (
            "garbage",
            "gopenpgp: error in reading key ring: openpgp: invalid data: tag byte does not have MSB set",
        ),
        (ForgedKey(THEN).public * 2, "gopenpgp: the key contains too many entities"),
        (packet(13, b"x") + ForgedKey(THEN).public, "first packet was not a key"),
        (armor(b"", "PUBLIC KEY BLOCK"), "does not contain any entity"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n", "armor has no end line"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\nAAAA", "armor has no blank line"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!\n-----END PGP PUBLIC KEY BLOCK-----", "no base64"),
        (packet(6, b"\x03\0\0\0\0\x01"), "key version 3"),
        (packet(6, b"\x04"), "too short"),
        (packet(6, b"\x04\0\0\0\0\x16"), "gopenpgp: error in reading key ring: "),
        (ForgedKey(THEN).public + packet(14, b"\x05\0\0\0\0\x16"), "key version 5"),
        (ForgedKey(THEN).public + packet(2, b"\x03\0\0\0\0\x16"), "signature version 3"),
    ],
)
def test_what_is_no_key(data, text):
    with pytest.raises(CredentialError) as caught:
        PublicKey.from_bytes(data)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_public_key_is_no_signer(forged):
    with pytest.raises(CredentialError, match="no secret part"):
        PGPKey.from_armored(forged.public_armored)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, None),
        ({"old": True}, None),
        ({"kind": 1}, None),
        ({"hash_algorithm": 9}, None),
        ({"hash_algorithm": 10}, None),
        ({"extra": subpacket(20, b"\0\0\0\0\0\4\0\4saltabcd")}, None),
        ({"hash_algorithm": 2}, "hash algorithm 2 is too weak or unknown"),
        ({"hash_algorithm": 11}, "hash algorithm 11 is too weak or unknown"),
        ({"kind": 0x10}, "signature type 0x10 is not one over data"),
        ({"undated": True}, "the signature has no creation time"),
        ({"spoil": True}, "Signature verification failed: no valid signatures found."),
        ({"created": THEN}, None),
        ({"created": THEN - 1}, "the signature is older than its key"),
        ({"created": LATE - 600}, None),
        ({"created": LATE + 299}, None),
        ({"created": LATE + 300}, None),
        ({"created": LATE + 320}, "the signature comes from the future"),
        ({"created": LATE, "extra": subpacket(3, b"\x7f\xff\xff\xff")}, None),
        ({"created": LATE - 60, "extra": subpacket(3, (60).to_bytes(4, "big"))}, "the signature has expired"),
    ],
)
def test_openpgp_rules(forged, public, options, reason):
    signature = forged.signature(b"data", **{"created": LATE, **options})
    if reason is None:
        public.verify(b"data", signature, LATE)
        assert refusal(public.verify, b"other", signature, LATE)
    else:
        assert refusal(public.verify, b"data", signature, LATE) == reason


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (24.2, None),
        (25, "the key has expired"),
        (26.5, "the key has expired"),
        (-5, None),
        (-13, "comes from the future"),
    ],
)
def test_a_key_ends_at_its_expiry_without_grace(after, reason):
    short = ForgedKey(THEN, lifetime=25)
    half = PublicKey.from_bytes(short.public)
    signature = short.signature(b"x", created=THEN)
    if reason is None:
        half.verify(b"x", signature, THEN + after)
    else:
        assert reason in refusal(half.verify, b"x", signature, THEN + after)


@pytest.mark.parametrize(
    ("lifetime", "at", "skew", "expired"),
    [
        (3600, 0, 0, False),
        (3600, -1, 0, True),
        (3600, -1, 300, False),
        (3600, -301, 300, True),
        (3600, 3599, 0, False),
        (3600, 3600, 0, True),
        (3600, 3899, 300, False),
        (3600, 3900, 300, True),
        (20, 29, 300, False),
        (20, 30, 300, True),
        (None, 10**9, 0, False),
    ],
)
def test_lifetimes(lifetime, at, skew, expired):
    half = PublicKey.from_bytes(ForgedKey(THEN, lifetime=lifetime, seed=b"s" * 32).public)
    assert half.is_expired(THEN + at, skew) is expired
    assert (half.expires is None) is (lifetime is None)
    if lifetime is None:
        assert "expires='never'" in repr(half)


def test_a_key_without_end_verifies():
    made = ForgedKey(THEN, lifetime=None)
    PublicKey.from_bytes(made.public).verify(b"x", made.signature(b"x", created=LATE))


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"x",
        b"\xc2",
        b"\xc2\x05abc",
        b"\xc2\xe0abc",
        packet(2, b"\x04"),
        packet(2, b"\x05\0\0\x08\0\0"),
        packet(13, b"x"),
    ],
)
def test_what_is_no_signature(public, signature):
    assert refusal(public.verify, b"x", signature, LATE).startswith("no OpenPGP signature: ")


def test_two_signatures_and_armor_are_refused(forged, public):
    one = forged.signature(b"x", created=LATE)
    assert "exactly one" in refusal(public.verify, b"x", one + one, LATE)
    assert "MSB" in refusal(public.verify, b"x", armor(one, "SIGNATURE").encode(), LATE)


def headers_with(forged, payload, now=LATE, **replaced):
    fields = {
        "x-sidero-timestamp": str(now),
        "x-sidero-payload": payload,
        "x-sidero-signature": f"siderov1 x {forged.fingerprint} "
        + base64.b64encode(forged.signature(payload.encode(), created=now)).decode(),
    } | {name.replace("_", "-"): value for name, value in replaced.items()}
    return [(name, value) for name, value in fields.items() if value is not None]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ('{"headers":{"x-sidero-timestamp":["%d"]},"method":"%s"}', None),
        ('{"HEADERS":{"x-sidero-timestamp":["%d"]},"mEthod":"%s"}', None),
        ('{"method":"x","headers":{"x-sidero-timestamp":["%d"]},"method":"%s"}', None),
        ('{"headers":{"uid":null},"headers":{"x-sidero-timestamp":["%d"]},"method":"%s","method":null}', None),
        ('{"headers":{"uid":["a"]},"headers":null,"headers":{"x-sidero-timestamp":["%d"]},"method":"%s"}', None),
        ('{"n":1,"f":-1.5e3,"o":[{}],"headers":{"x-sidero-timestamp":["%d"]},"method":"%s"}', None),
        ('{"headers":{"uid":["a"],"x-sidero-timestamp":["%d"]},"method":"%s"}', "differ in header uid"),
        ('{"headers":{"uid":[],"x-sidero-timestamp":["%d"]},"method":"%s"}', "differ in header uid"),
        ('{"headers":{"uid":[null],"x-sidero-timestamp":["%d"]},"method":"%s"}', "differ in header uid"),
        ('{"headers":{"fieldSelectors":["a"],"x-sidero-timestamp":["%d"]},"method":"%s"}', "header fieldSelectors"),
        ('{"headers":{"x-foo":["a"],"x-sidero-timestamp":["%d"]},"method":"%s"}', None),
        ('{"headers":{"x-foo":[1],"x-sidero-timestamp":["%d"]},"method":"%s"}', "other than strings"),
        ('{"headers":{"x-foo":{},"x-sidero-timestamp":["%d"]},"method":"%s"}', "is no list"),
        ('{"headers":{"x-foo":"a","x-sidero-timestamp":["%d"]},"method":"%s"}', "is no list"),
        ('{"headers":[["x-sidero-timestamp",["%d"]]],"method":"%s"}', "headers are no object"),
        ('{"headers":{"x-sidero-timestamp":["%d"]},"method":"%s","n":NaN}', "no JSON object"),
        ('{"headers":{"x-sidero-timestamp":["%d"]},"method":"%s"} x', "no JSON object"),
        ('[%d,"%s"]', "no JSON object"),
        ('{"headers":{"x-sidero-timestamp":["%d"]},"m":"%s","method":7}', "method is no string"),
    ],
)
def test_payloads_are_read_as_go_reads_json(forged, public, payload, reason):
    metadata = headers_with(forged, payload % (LATE, METHOD))
    lookup = {forged.fingerprint: public}.get
    if reason is None:
        assert verify_headers(METHOD, metadata, LATE, lookup) is public
    else:
        assert reason in refusal(verify_headers, METHOD, metadata, LATE, lookup)


def test_null_among_texts_is_an_empty_one(forged, public):
    payload = json.dumps({"headers": {"uid": [None], "x-sidero-timestamp": [str(LATE)]}, "method": METHOD})
    metadata = [*headers_with(forged, payload), ("uid", "")]
    assert verify_headers(METHOD, metadata, LATE, {forged.fingerprint: public}.get) is public


def test_deep_json_is_refused(forged, public):
    metadata = headers_with(forged, "[" * 100_000)
    assert "no JSON object" in refusal(verify_headers, METHOD, metadata, LATE, {forged.fingerprint: public}.get)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("siderov1 x {fpr}", "fewer than four"),
        ("siderov1", "fewer than four"),
        ("", "is missing"),
        ("siderov2 x {fpr} {sig}", "version 'siderov2'"),
        ("siderov1 x {FPR} {sig}", "is no fingerprint"),
        ("siderov1 x {id} {sig}", "is no fingerprint"),
        ("siderov1 x {fpr} {unpadded}", "not standard base64"),
        ("siderov1 x {fpr} ż", "not standard base64"),
        ("siderov1 x {other} {sig}", "is not registered"),
        ("siderov1  {fpr} {sig}", None),
        ("siderov1 x {fpr} {sig} five", None),
    ],
)
def test_signature_fields(forged, public, value, reason):
    payload = json.dumps({"headers": {"x-sidero-timestamp": [str(LATE)]}, "method": METHOD})
    # A salt of one octet more or less gives every length of padding; one that needs padding is wanted.
    signature = next(
        text
        for size in range(1, 4)
        for text in [
            base64.b64encode(forged.signature(payload.encode(), created=LATE, extra=subpacket(100, b"s" * size)))
        ]
        if text.endswith(b"=")
    ).decode()
    filled = value.format(
        fpr=forged.fingerprint,
        FPR=forged.fingerprint.upper(),
        id=forged.fingerprint[-16:],
        other="0" * 40,
        sig=signature,
        unpadded=signature.rstrip("="),
    )
    metadata = headers_with(forged, payload, x_sidero_signature=filled)
    lookup = {forged.fingerprint: public}.get
    if reason is None:
        assert verify_headers(METHOD, metadata, LATE, lookup) is public
        as_bytes = [(name, text.encode()) for name, text in metadata]
        assert verify_headers(METHOD, as_bytes, LATE, lookup) is public
    else:
        assert reason in refusal(verify_headers, METHOD, metadata, LATE, lookup)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (str(LATE - 300), None),
        (str(LATE + 300), None),
        (f"+{LATE}", None),
        (f"0{LATE}", None),
        (str(LATE - 301), "-301 s off"),
        (str(LATE + 301), "+301 s off"),
        (f"{LATE}.0", "no integer"),
        (f" {LATE}", "no integer"),
        (f"{LATE}000", "s off"),
        ("1_700_001_000", "no integer"),
        ("9" * 5000, "no integer"),
        ("\u0661", "no integer"),
        ("", "is missing"),
    ],
)
def test_timestamps(forged, public, text, reason):
    payload = json.dumps({"headers": {"x-sidero-timestamp": [text]}, "method": METHOD})
    metadata = headers_with(forged, payload, x_sidero_timestamp=text)
    lookup = {forged.fingerprint: public}.get
    if reason is None:
        assert verify_headers(METHOD, metadata, LATE, lookup) is public
    else:
        assert reason in refusal(verify_headers, METHOD, metadata, LATE, lookup)


# Fuzzing: whatever comes, the verifier answers by one kind of error.

FUZZED = ForgedKey(THEN, seed=b"f" * 32)
FUZZED_PUBLIC = PublicKey.from_bytes(FUZZED.public)
names = st.sampled_from(["x-sidero-timestamp", "x-sidero-payload", "x-sidero-signature", "runtime", "nodes"])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just(str(LATE))
    | st.just(METHOD),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["headers", "method", "Headers", "x-sidero-timestamp", "nodes"]), inner)
    ),
    max_leaves=8,
)
fields = st.builds(
    "siderov1 {} {} {}".format,
    st.text(max_size=4),
    st.just(FUZZED.fingerprint) | st.text(max_size=40),
    st.binary(max_size=120).map(lambda data: base64.b64encode(data).decode()) | st.text(max_size=20),
)
values = st.one_of(
    st.text(max_size=30), st.binary(max_size=30), fields, json_values.map(json.dumps), st.just(str(LATE))
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(names, values), max_size=6))
def test_fuzzed_metadata_is_refused_and_nothing_else(metadata):
    assert refusal(verify_headers, METHOD, metadata, LATE, lambda _fingerprint: FUZZED_PUBLIC)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_fuzzed_signatures_are_refused_and_nothing_else(data):
    good = FUZZED.signature(b"x", created=LATE)
    position = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[position] ^= data.draw(st.integers(1, 255))
    cut = bytes(changed)[: data.draw(st.integers(1, len(good)))]
    refused = None
    try:
        FUZZED_PUBLIC.verify(b"x", cut, LATE)
    except SignatureRefused as error:
        refused = error
    if refused is not None:
        assert "\n" not in refused.reason
    else:
        # Only what is not covered may change: the key id outside of the hashed area, and the two check octets.
        assert len(cut) == len(good)
        assert good[:position].find(bytes.fromhex(FUZZED.fingerprint)) > 0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_fuzzed_packets_raise_their_own_error(data):
    try:
        parts = packets.split_packets(packets.dearmor(data))
        packets.key_facts(parts, "0" * 40) if parts else None
    except packets.PacketError:
        return
    assert isinstance(parts, list)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(FUZZED.public) - 1), st.integers(1, 255))
def test_fuzzed_keys_load_or_raise_the_credential_error(position, change):
    data = bytearray(FUZZED.public)
    data[position] ^= change
    text = "gopenpgp: "
    try:
        PublicKey.from_bytes(bytes(data))
    except CredentialError as error:
        text = str(error)
    assert text.startswith("gopenpgp: ")
