"""Just enough of OpenPGP's packet form to read times, flags and algorithms that a library does not hand out.

Nothing here proves anything: signatures are checked by the library behind `omniherd.signing`. RFC 4880 and RFC 9580
describe the form; versions 4 and 6 of keys and signatures are understood.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

__all__ = [
    "PUBLIC_KEY",
    "PUBLIC_SUBKEY",
    "SECRET_KEY",
    "SECRET_SUBKEY",
    "SIGNATURE",
    "USER_ID",
    "KeyFacts",
    "KeyPacket",
    "Packet",
    "PacketError",
    "SignaturePacket",
    "dearmor",
    "key_facts",
    "parse_detached",
    "parse_key",
    "parse_signature",
    "split_packets",
]

SIGNATURE = 2
SECRET_KEY = 5
PUBLIC_KEY = 6
SECRET_SUBKEY = 7
USER_ID = 13
PUBLIC_SUBKEY = 14

_CERTIFICATIONS = frozenset({0x10, 0x11, 0x12, 0x13, 0x1F})
_SUBKEY_BINDING = 0x18
_SIGN_FLAG = 0x02
# RSA, DSA, ECDSA, EdDSA, Ed25519, Ed448 and the post-quantum ones; the others encrypt.
_SIGNING_ALGORITHMS = frozenset({1, 3, 17, 19, 22, 27, 28, 30, 31, 32, 33, 34})
_MSB = 0x80
_NEW_FORMAT = 0x40


class PacketError(ValueError):
    """The bytes are no well-formed OpenPGP packets."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: its tag (2 signature, 6 public key, 13 user id …) and its body without the header."""

    tag: int
    body: bytes


@dataclass(frozen=True, slots=True)
class KeyPacket:
    """What the first octets of a key packet say.

    Attributes:
        version: 4 or 6.
        created: Unix seconds.
        algorithm: The public-key algorithm's number: 1 RSA, 19 ECDSA, 22 EdDSA, 27 Ed25519 …
    """

    version: int
    created: int
    algorithm: int


@dataclass(frozen=True, slots=True)
class SignaturePacket:
    """What a signature packet says about itself.

    Attributes:
        version: 4 or 6.
        kind: The signature's type: 0 binary, 1 text, 0x10-0x13 user id, 0x18 subkey, 0x1f direct key …
        hash_algorithm: 2 SHA-1, 8 SHA-256, 9 SHA-384, 10 SHA-512 …
        created: Unix seconds, or None when the signature carries no time.
        lifetime: Seconds for which the signature holds; None for ever.
        key_lifetime: Seconds from the key's creation to its expiry; None for ever.
        key_flags: Bits of the first flag octet (1 certify, 2 sign, 4 and 8 encrypt), or None without that subpacket.
        issuer: Fingerprint or 16-digit key id of the signer, lower-case hex, or `""`.
    """

    version: int
    kind: int
    hash_algorithm: int
    created: int | None
    lifetime: int | None
    key_lifetime: int | None
    key_flags: int | None
    issuer: str


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What a whole key says about itself.

    Attributes:
        created: Unix seconds.
        lifetime: Seconds from creation to expiry, or None for a key that never expires.
        user_ids: As written, in order.
        is_private: Whether secret parts are there.
        can_sign: Whether the primary key or a subkey may sign data.
    """

    created: int
    lifetime: int | None
    user_ids: tuple[str, ...]
    is_private: bool
    can_sign: bool


def dearmor(data: bytes) -> bytes:
    """Return binary packets; data that is not armored is returned as it is.

    Raises:
        PacketError: An armor header without a proper body behind it.
    """
    text = data.lstrip()
    if not text.startswith(b"-----BEGIN PGP "):
        return data
    lines = text.splitlines()
    body: list[bytes] = []
    # Header lines such as "Version: x" end at the first blank line.
    blank = next((number for number, line in enumerate(lines) if not line.strip()), None)
    if blank is None:
        raise PacketError("armor has no blank line before its data")
    for line in lines[blank + 1 :]:
        stripped = line.strip()
        if stripped.startswith(b"-----END PGP "):
            break
        # The checksum is optional since RFC 9580, and nothing here relies on it.
        if not stripped.startswith(b"="):
            body.append(stripped)
    else:
        raise PacketError("armor has no end line")
    try:
        return base64.b64decode(b"".join(body), validate=True)
    except (binascii.Error, ValueError):
        problem = "armor holds no base64"
    raise PacketError(problem)


def split_packets(data: bytes) -> list[Packet]:
    """Cut binary OpenPGP data into its packets.

    Raises:
        PacketError: The first octet of a packet is none, a length runs past the end, or is of the streaming kind.
    """
    packets: list[Packet] = []
    position = 0
    while position < len(data):
        first = data[position]
        if not first & _MSB:
            raise PacketError("tag byte does not have MSB set")
        if first & _NEW_FORMAT:
            tag = first & 0x3F
            length, start = _new_length(data, position + 1)
        else:
            tag = (first >> 2) & 0x0F
            length, start = _old_length(data, position + 1, first & 0x03)
        end = start + length
        if end > len(data):
            raise PacketError("a packet runs past the end of the data")
        packets.append(Packet(tag, data[start:end]))
        position = end
    return packets


def parse_key(packet: Packet) -> KeyPacket:
    """Read the beginning of a (public or secret) key or subkey packet.

    Raises:
        PacketError: The packet is too short, or of a version other than 4 and 6.
    """
    body = packet.body
    if len(body) < 6:
        raise PacketError("a key packet is too short")
    if body[0] not in {4, 6}:
        raise PacketError(f"key version {body[0]} is not supported")
    return KeyPacket(version=body[0], created=int.from_bytes(body[1:5], "big"), algorithm=body[5])


def parse_signature(packet: Packet) -> SignaturePacket:
    """Read a signature packet's head and the subpackets that matter here.

    Times, lifetimes and flags count only where they are signed, in the hashed area; the issuer is a mere pointer and
    may stand in either.

    Raises:
        PacketError: The packet is too short, or of a version other than 4 and 6.
    """
    body = packet.body
    if len(body) < 6:
        raise PacketError("a signature packet is too short")
    if body[0] not in {4, 6}:
        raise PacketError(f"signature version {body[0]} is not supported")
    width = 2 if body[0] == 4 else 4
    hashed, position = _area(body, 4, width)
    unhashed, _ = _area(body, position, width)
    signed = _subpackets(hashed)
    loose = _subpackets(unhashed)
    issuer = signed.get(33) or loose.get(33)
    key_id = signed.get(16) or loose.get(16)
    flags = signed.get(27)
    return SignaturePacket(
        version=body[0],
        kind=body[1],
        hash_algorithm=body[3],
        created=_number(signed.get(2)),
        lifetime=_number(signed.get(3)) or None,
        key_lifetime=_number(signed.get(9)) or None,
        key_flags=(flags[0] if flags else 0) if flags is not None else None,
        issuer=issuer[1:].hex() if issuer else key_id.hex() if key_id else "",
    )


def parse_detached(data: bytes) -> SignaturePacket:
    """Read a detached signature in binary form.

    Raises:
        PacketError: The data is not exactly one well-formed signature packet.
    """
    found = split_packets(data)
    if len(found) != 1 or found[0].tag != SIGNATURE:
        raise PacketError("there is not exactly one signature packet")
    return parse_signature(found[0])


def key_facts(parts: list[Packet], fingerprint: str) -> KeyFacts:
    """Read what a key says about itself.

    The newest self-signature on a user id or on the key itself decides on the lifetime and on what the primary key may
    do; each subkey is described by its binding signature.

    Args:
        parts: The key's packets, the primary key first.
        fingerprint: Of the primary key, lower-case hex; it tells self-signatures from those of others.

    Raises:
        PacketError: A packet is malformed.
    """
    primary = parse_key(parts[0])
    names = (fingerprint, fingerprint[-16:] if primary.version == 4 else fingerprint[:16])
    newest: SignaturePacket | None = None
    subkey: KeyPacket | None = None
    can_sign = False
    for part in parts[1:]:
        if part.tag in {PUBLIC_SUBKEY, SECRET_SUBKEY}:
            subkey = parse_key(part)
        elif part.tag == SIGNATURE:
            signature = parse_signature(part)
            if signature.issuer not in names or signature.created is None:
                continue
            if subkey is not None and signature.kind == _SUBKEY_BINDING:
                can_sign = can_sign or _may_sign(subkey, signature, default=False)
            elif subkey is None and signature.kind in _CERTIFICATIONS:
                newest = signature if newest is None or signature.created >= (newest.created or 0) else newest
    if newest is not None:
        can_sign = can_sign or _may_sign(primary, newest, default=True)
    return KeyFacts(
        created=primary.created,
        lifetime=newest.key_lifetime if newest is not None else None,
        user_ids=tuple(part.body.decode("utf-8", "replace") for part in parts if part.tag == USER_ID),
        is_private=any(part.tag in {SECRET_KEY, SECRET_SUBKEY} for part in parts),
        can_sign=can_sign,
    )


def _may_sign(key: KeyPacket, binding: SignaturePacket, *, default: bool) -> bool:
    allowed = default if binding.key_flags is None else bool(binding.key_flags & _SIGN_FLAG)
    return allowed and key.algorithm in _SIGNING_ALGORITHMS


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    first = _take(data, position, 1)[0]
    if first < 192:
        return first, position + 1
    if first < 224:
        return ((first - 192) << 8) + _take(data, position + 1, 1)[0] + 192, position + 2
    if first == 255:
        return int.from_bytes(_take(data, position + 1, 4), "big"), position + 5
    raise PacketError("partial packet lengths have no place in keys and signatures")


def _old_length(data: bytes, position: int, kind: int) -> tuple[int, int]:
    if kind == 3:
        return len(data) - position, position
    width = 1 << kind
    return int.from_bytes(_take(data, position, width), "big"), position + width


def _area(body: bytes, position: int, width: int) -> tuple[bytes, int]:
    length = int.from_bytes(_take(body, position, width), "big")
    return _take(body, position + width, length), position + width + length


def _subpackets(area: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    position = 0
    while position < len(area):
        first = area[position]
        if first < 192:
            length, start = first, position + 1
        elif first < 255:
            length, start = ((first - 192) << 8) + _take(area, position + 1, 1)[0] + 192, position + 2
        else:
            length, start = int.from_bytes(_take(area, position + 1, 4), "big"), position + 5
        if not length:
            raise PacketError("a subpacket is empty")
        content = _take(area, start, length)
        # Bit 7 only says how a reader must treat a type it does not know.
        found[content[0] & 0x7F] = content[1:]
        position = start + length
    return found


def _take(data: bytes, position: int, length: int) -> bytes:
    piece = data[position : position + length]
    if len(piece) != length:
        raise PacketError("a length runs past the end of the data")
    return piece


def _number(content: bytes | None) -> int | None:
    return int.from_bytes(content, "big") if content is not None and len(content) == 4 else None
