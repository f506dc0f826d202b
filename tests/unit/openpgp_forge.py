"""Makes OpenPGP keys and signatures that a library would not: dated as wanted, by weak hashes, with odd flags.

Ed25519 follows RFC 8032 in plain integers: slow, not constant in time, for throw-away keys only.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
HASHES = {2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}

Point = tuple[int, int, int, int]


def _add(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _multiply(factor: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            result = _add(result, point)
        point = _add(point, point)
        factor >>= 1
    return result


def _base() -> Point:
    y = 4 * pow(5, P - 2, P) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    x = P - x if x & 1 else x
    return x, y, 1, x * y % P


BASE = _base()


def _compress(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _expand(seed: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    return scalar, digest[32:]


def ed25519_public(seed: bytes) -> bytes:
    return _compress(_multiply(_expand(seed)[0], BASE))


def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    scalar, prefix = _expand(seed)
    public = _compress(_multiply(scalar, BASE))
    nonce = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % ORDER
    first = _compress(_multiply(nonce, BASE))
    challenge = int.from_bytes(hashlib.sha512(first + public + message).digest(), "little") % ORDER
    return first + ((nonce + challenge * scalar) % ORDER).to_bytes(32, "little")


def packet(tag: int, body: bytes, *, old: bool = False) -> bytes:
    if old:
        return bytes([0x80 | tag << 2 | 1]) + len(body).to_bytes(2, "big") + body
    if len(body) < 192:
        return bytes([0xC0 | tag, len(body)]) + body
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body


def subpacket(kind: int, content: bytes) -> bytes:
    return bytes([len(content) + 1, kind]) + content


def mpi(value: bytes) -> bytes:
    number = int.from_bytes(value, "big")
    return number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")


def armor(data: bytes, kind: str) -> str:
    text = base64.b64encode(data).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN PGP {kind}-----", "", *lines, f"-----END PGP {kind}-----", ""])


@dataclass
class ForgedKey:
    """A version 4 Ed25519 key whose every fact is chosen."""

    created: int
    lifetime: int | None = 3600
    user_id: str = "Forged (test) <forged@example.com>"
    flags: int | None = 0x03
    seed: bytes = b""
    identity: str = "forged"
    revoked: bool = False

    def __post_init__(self) -> None:
        self.seed = self.seed or os.urandom(32)
        point = b"\x40" + ed25519_public(self.seed)
        self.body = (
            b"\x04" + self.created.to_bytes(4, "big") + b"\x16\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01" + mpi(point)
        )
        self.hashed = b"\x99" + len(self.body).to_bytes(2, "big") + self.body
        self.fingerprint = hashlib.sha1(self.hashed).hexdigest()
        name = self.user_id.encode()
        lifetime = () if self.lifetime is None else (subpacket(9, self.lifetime.to_bytes(4, "big")),)
        flags = () if self.flags is None else (subpacket(27, bytes([self.flags])),)
        certification = self.signature(
            self.hashed + b"\xb4" + len(name).to_bytes(4, "big") + name,
            kind=0x13,
            created=self.created,
            extra=b"".join([*lifetime, *flags]),
        )
        revocation = self.signature(self.hashed, kind=0x20) if self.revoked else b""
        self.tail = revocation + packet(13, name) + certification

    def signature(
        self,
        data: bytes,
        *,
        kind: int = 0,
        created: int | None = None,
        hash_algorithm: int = 8,
        extra: bytes = b"",
        old: bool = False,
        undated: bool = False,
        spoil: bool = False,
    ) -> bytes:
        issuer = bytes.fromhex(self.fingerprint)
        dated = b"" if undated else subpacket(2, (self.created if created is None else created).to_bytes(4, "big"))
        area = dated + extra + subpacket(33, b"\x04" + issuer)
        head = bytes([4, kind, 22, hash_algorithm]) + len(area).to_bytes(2, "big") + area
        digest = hashlib.new(HASHES[hash_algorithm], data + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
        raw = ed25519_sign(self.seed, digest)
        if spoil:
            raw = bytes([raw[0] ^ 1]) + raw[1:]
        unhashed = subpacket(16, issuer[-8:])
        body = head + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2] + mpi(raw[:32]) + mpi(raw[32:])
        return packet(2, body, old=old)

    def sign(self, data: bytes) -> bytes:
        return self.signature(data)

    @property
    def public(self) -> bytes:
        return packet(6, self.body) + self.tail

    @property
    def private(self) -> bytes:
        secret = mpi(self.seed)
        checksum = sum(secret) % 65536
        return packet(5, self.body + b"\x00" + secret + checksum.to_bytes(2, "big")) + self.tail

    @property
    def locked(self) -> bytes:
        # Usage 254, AES-256, iterated and salted SHA-256: no passphrase opens it, which is no matter here.
        protection = b"\xfe\x09\x03\x08" + b"salt" * 2 + b"\x60" + b"i" * 16
        return packet(5, self.body + protection + b"c" * 54) + self.tail

    @property
    def public_armored(self) -> str:
        return armor(self.public, "PUBLIC KEY BLOCK")

    @property
    def private_armored(self) -> str:
        return armor(self.private, "PRIVATE KEY BLOCK")
