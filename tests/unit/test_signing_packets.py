import pytest
from openpgp_forge import ForgedKey, packet, subpacket

from omniherd._core import openpgp_packets as packets


def signature(hashed=b"", unhashed=b"", version=4, flags_only=False):
    width = 2 if version == 4 else 4
    return packets.Packet(
        2,
        bytes([version, 0, 22, 8])
        + len(hashed).to_bytes(width, "big")
        + hashed
        + len(unhashed).to_bytes(width, "big")
        + unhashed,
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xcd\x03abc", [(13, b"abc")]),
        (b"\xcd\xc0\x08" + b"x" * 200, [(13, b"x" * 200)]),
        (b"\xcd\xff\0\0\0\x02ab\xcd\x00", [(13, b"ab"), (13, b"")]),
        (b"\xb4\x02ab\xb5\0\x01c", [(13, b"ab"), (13, b"c")]),
        (b"\xb6\0\0\0\x01d\xb7rest", [(13, b"d"), (13, b"rest")]),
        (b"", []),
    ],
)
def test_packet_lengths(data, expected):
    assert [(part.tag, part.body) for part in packets.split_packets(data)] == expected


@pytest.mark.parametrize(
    "data", [b"\x00", b"\xcd", b"\xcd\x05abc", b"\xcd\xe1ab", b"\xcd\xc0", b"\xcd\xff\0\0", b"\xb5\0"]
)
def test_malformed_packets(data):
    with pytest.raises(packets.PacketError):
        packets.split_packets(data)


def test_subpackets_of_every_length_form():
    long = b"\x64" + b"n" * 300
    hashed = (
        subpacket(2, (77).to_bytes(4, "big"))
        + b"\xc0\x6d"
        + long
        + b"\xff"
        + len(long).to_bytes(4, "big")
        + long
        + subpacket(0x80 | 9, (88).to_bytes(4, "big"))
        + subpacket(27, b"")
    )
    found = packets.parse_signature(signature(hashed, subpacket(16, b"\x01" * 8)))
    assert (found.created, found.key_lifetime, found.key_flags, found.issuer) == (77, 88, 0, "01" * 8)


def test_times_count_only_where_they_are_signed():
    found = packets.parse_signature(signature(b"", subpacket(2, (77).to_bytes(4, "big"))))
    assert found.created is None


def test_zero_lifetimes_mean_for_ever():
    zero = (0).to_bytes(4, "big")
    found = packets.parse_signature(signature(subpacket(9, zero) + subpacket(3, zero)))
    assert (found.lifetime, found.key_lifetime) == (None, None)


def test_version_six_has_wider_areas():
    found = packets.parse_signature(signature(subpacket(33, b"\x06" + b"\xab" * 32), version=6))
    assert (found.version, found.issuer) == (6, "ab" * 32)


@pytest.mark.parametrize("hashed", [b"\x00", b"\x05\x02ab", b"\xc0", b"\xff\0"])
def test_malformed_subpackets(hashed):
    with pytest.raises(packets.PacketError):
        packets.parse_signature(signature(hashed))


def test_the_newest_self_signature_decides_and_others_do_not_count():
    key = ForgedKey(1000, lifetime=50)
    stranger = ForgedKey(1000)
    longer = key.signature(b"", kind=0x13, created=1010, extra=subpacket(9, (500).to_bytes(4, "big")))
    older = key.signature(b"", kind=0x13, created=990, extra=subpacket(9, (5).to_bytes(4, "big")))
    foreign = stranger.signature(b"", kind=0x13, created=2000, extra=subpacket(9, (5000).to_bytes(4, "big")))
    revocation = key.signature(b"", kind=0x30, created=2000)
    parts = packets.split_packets(key.public + longer + older + foreign + revocation)
    facts = packets.key_facts(parts, key.fingerprint)
    assert (facts.lifetime, facts.can_sign, facts.is_private) == (500, True, False)


@pytest.mark.parametrize(
    ("algorithm", "flags", "can_sign"), [(22, 2, True), (22, 4, False), (18, 2, False), (22, None, False)]
)
def test_subkeys_sign_when_their_binding_says_so(algorithm, flags, can_sign):
    key = ForgedKey(1000, flags=1)
    extra = b"" if flags is None else subpacket(27, bytes([flags]))
    binding = key.signature(b"", kind=0x18, extra=extra)
    subkey = packet(14, b"\x04\0\0\0\1" + bytes([algorithm]))
    parts = packets.split_packets(key.public + subkey + binding)
    assert packets.key_facts(parts, key.fingerprint).can_sign is can_sign


def test_version_six_keys_are_named_by_the_front_of_their_fingerprint():
    fingerprint = "ab" * 8 + "cd" * 24
    certification = signature(subpacket(2, b"\0\0\0\1") + subpacket(27, b"\x02"), subpacket(16, b"\xab" * 8))
    facts = packets.key_facts(
        [packets.Packet(5, b"\x06\0\0\0\1\x1b"), packets.Packet(2, b"\x04\x1f" + certification.body[2:])], fingerprint
    )
    assert (facts.can_sign, facts.is_private, facts.created) == (True, True, 1)


@pytest.mark.parametrize(("version", "half"), [(4, slice(-16, None)), (6, slice(16))])
def test_key_ids_are_the_end_or_the_beginning_of_the_fingerprint(version, half):
    fingerprint = "".join(f"{number:02x}" for number in range(20 if version == 4 else 32))
    primary = packets.Packet(6, bytes([version, 0, 0, 0, 9, 22]) + (b"\0\0\0\0" if version == 6 else b""))
    hashed = subpacket(2, b"\0\0\0\1") + subpacket(9, b"\0\0\0\x63")
    for names, lifetime in ((fingerprint[half], 99), (fingerprint[1:17], None)):
        certification = signature(hashed, subpacket(16, bytes.fromhex(names)))
        certification = packets.Packet(2, certification.body[:1] + b"\x13" + certification.body[2:])
        facts = packets.key_facts([primary, packets.Packet(13, b"a"), certification], fingerprint)
        assert (facts.created, facts.lifetime) == (9, lifetime)
