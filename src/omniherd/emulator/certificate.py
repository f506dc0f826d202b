"""Certificates for the emulator, made without a cryptography library.

They protect nothing: they let clients practise TLS on a loopback address. Elliptic curve P-256, plain arithmetic.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omniherd._core.files import reason
from omniherd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Authority", "read_certificate", "self_signed"]

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_A = _P - 3
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

_EC_KEY = "1.2.840.10045.2.1"
_P256 = "1.2.840.10045.3.1.7"
_ECDSA_SHA256 = "1.2.840.10045.4.3.2"
_COMMON_NAME = "2.5.4.3"
_ORGANIZATION = "2.5.4.10"
_SUBJECT_NAMES = "2.5.29.17"
_BASIC_CONSTRAINTS = "2.5.29.19"
_KEY_USAGE = "2.5.29.15"
_EXTENDED_USAGE = "2.5.29.37"
_SERVERS, _CLIENTS = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"

_DAY = 86_400
_AUTHORITY_DAYS = 3650

_Point = tuple[int, int]


def self_signed(names: tuple[str, ...] = ("localhost", "127.0.0.1", "::1"), days: int = 365) -> tuple[bytes, bytes]:
    """Make a certificate that is its own authority.

    Args:
        names: Host names and addresses that it is good for; the first is its common name.
        days: How long it is valid, from yesterday on.

    Returns:
        The certificate and its private key, both PEM.
    """
    private = _new_key()
    name = _name(common_name=names[0])
    extensions = (_extension(_SUBJECT_NAMES, _alternatives(names)), _authority())
    return _certificate((name, private), (name, private), extensions, days), _key_pem(private)


def read_certificate(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """Return a certificate chain and its key from files.

    Raises:
        ConfigError: A file cannot be read.
    """
    try:
        return certificate.read_bytes(), key.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the emulator's certificate {error.filename}: {reason(error)}") from error


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority that issues certificates, as clusters have them.

    Attributes:
        certificate: Its certificate, PEM.
        key: Its private key, PEM.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    _name: bytes = field(repr=False)
    _private: int = field(repr=False)

    @classmethod
    def make(cls, organization: str = "", common_name: str = "") -> Authority:
        """Make a new one, valid for ten years.

        Args:
            organization: Its organization; empty for none.
            common_name: Its common name; empty for none.
        """
        private = _new_key()
        name = _name(organization=organization, common_name=common_name)
        signing = _extension(_KEY_USAGE, _tag(0x03, b"\x02\x84"), critical=True)
        extensions = (signing, _both_sides(), _authority())
        return cls(
            _certificate((name, private), (name, private), extensions, _AUTHORITY_DAYS),
            _key_pem(private),
            name,
            private,
        )

    def issue(
        self, names: tuple[str, ...] = (), *, organization: str = "", common_name: str = "", days: int = 365
    ) -> tuple[bytes, bytes]:
        """Issue a certificate for servers and clients.

        Args:
            names: Host names and addresses that it is good for.
            organization: The organization of its subject: the role, in certificates of Talos' clients.
            common_name: The common name of its subject.
            days: How long it is valid, from yesterday on.

        Returns:
            The certificate and its private key, both PEM.
        """
        private = _new_key()
        name = _name(organization=organization, common_name=common_name)
        use = _extension(_KEY_USAGE, _tag(0x03, b"\x07\x80"), critical=True)
        extensions = (use, _both_sides(), *((_extension(_SUBJECT_NAMES, _alternatives(names)),) if names else ()))
        return _certificate((name, private), (self._name, self._private), extensions, days), _key_pem(private)


def _certificate(
    subject: tuple[bytes, int], issuer: tuple[bytes, int], extensions: tuple[bytes, ...], days: int
) -> bytes:
    """Return a certificate; subject and issuer are their names and their private keys."""
    algorithm = _sequence(_oid(_ECDSA_SHA256))
    now = int(time.time())
    body = _sequence(
        _tag(0xA0, _integer(2)),
        _integer(secrets.randbits(120)),
        algorithm,
        issuer[0],
        _sequence(_time(now - _DAY), _time(now + days * _DAY)),
        subject[0],
        _public_key(_multiply(subject[1], _G)),
        _tag(0xA3, _sequence(*extensions)),
    )
    return _pem("CERTIFICATE", _sequence(body, algorithm, _bits(_sign(issuer[1], body))))


def _new_key() -> int:
    return secrets.randbelow(_N - 1) + 1


def _key_pem(private: int) -> bytes:
    key = _sequence(
        _integer(1),
        _tag(0x04, private.to_bytes(32, "big")),
        _tag(0xA0, _oid(_P256)),
        _tag(0xA1, _bits(_uncompressed(_multiply(private, _G)))),
    )
    return _pem("EC PRIVATE KEY", key)


def _name(*, organization: str = "", common_name: str = "") -> bytes:
    parts = ((_ORGANIZATION, organization), (_COMMON_NAME, common_name))
    return _sequence(*(_tag(0x31, _sequence(_oid(kind), _tag(0x0C, text.encode()))) for kind, text in parts if text))


# --- the curve ------------------------------------------------------------------------------------------------------


def _add(one: _Point | None, other: _Point | None) -> _Point | None:
    if one is None:
        return other
    if other is None:
        return one
    if one[0] == other[0]:
        if (one[1] + other[1]) % _P == 0:
            return None
        slope = (3 * one[0] * one[0] + _A) * pow(2 * one[1], -1, _P)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, _P)
    x = (slope * slope - one[0] - other[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P


def _multiply(factor: int, point: _Point) -> _Point:
    total: _Point | None = None
    term: _Point | None = point
    while factor:
        if factor & 1:
            total = _add(total, term)
        term = _add(term, term)
        factor >>= 1
    assert total is not None  # noqa: S101 - factors lie below the order of the curve
    return total


def _sign(private: int, data: bytes) -> bytes:
    digest = int.from_bytes(hashlib.sha256(data).digest(), "big")
    while True:
        nonce = secrets.randbelow(_N - 1) + 1
        r = _multiply(nonce, _G)[0] % _N
        s = pow(nonce, -1, _N) * (digest + r * private) % _N
        if r and s:
            return _sequence(_integer(r), _integer(s))


# --- ASN.1 ---------------------------------------------------------------------------------------------------------


def _tag(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _tag(0x30, b"".join(parts))


def _integer(value: int) -> bytes:
    return _tag(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _bits(content: bytes) -> bytes:
    return _tag(0x03, b"\0" + content)


def _oid(text: str) -> bytes:
    first, second, *rest = (int(part) for part in text.split("."))
    content = bytearray((first * 40 + second,))
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        content.extend(reversed(groups))
    return _tag(0x06, bytes(content))


def _time(seconds: int) -> bytes:
    return _tag(0x18, time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds)).encode())


def _uncompressed(point: _Point) -> bytes:
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def _public_key(point: _Point) -> bytes:
    return _sequence(_sequence(_oid(_EC_KEY), _oid(_P256)), _bits(_uncompressed(point)))


def _extension(oid: str, content: bytes, *, critical: bool = False) -> bytes:
    return _sequence(_oid(oid), _tag(0x01, b"\xff") if critical else b"", _tag(0x04, content))


def _authority() -> bytes:
    return _extension(_BASIC_CONSTRAINTS, _sequence(_tag(0x01, b"\xff")), critical=True)


def _both_sides() -> bytes:
    return _extension(_EXTENDED_USAGE, _sequence(_oid(_SERVERS), _oid(_CLIENTS)))


def _alternatives(names: tuple[str, ...]) -> bytes:
    parts: list[bytes] = []
    for name in names:
        try:
            parts.append(_tag(0x87, ipaddress.ip_address(name).packed))
        except ValueError:
            parts.append(_tag(0x82, name.encode()))
    return _sequence(*parts)


def _pem(label: str, der: bytes) -> bytes:
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode()
