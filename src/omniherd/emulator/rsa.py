"""RSA signatures for the tokens of the emulator's OIDC provider, made without a cryptography library.

They protect nothing: they let clients practise to check them, on a loopback address.
"""

from __future__ import annotations

import hashlib
import secrets

__all__ = ["RSAKey"]

_EXPONENT = 65537
_BITS = 2048
_ROUNDS = 16
_SMALL = tuple(
    number for number in range(3, 2000, 2) if all(number % other for other in range(3, 45, 2) if other < number)
)
# What stands before a SHA-256 digest in a PKCS #1 signature: its algorithm, in DER.
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


class RSAKey:
    """A key of 2048 bits.

    Attributes:
        modulus: The public modulus, big-endian.
        exponent: The public exponent, big-endian.
    """

    def __init__(self, first: int, second: int) -> None:
        self._modulus = first * second
        self._private = pow(_EXPONENT, -1, (first - 1) * (second - 1))
        self.modulus = self._modulus.to_bytes(_BITS // 8, "big")
        self.exponent = _EXPONENT.to_bytes(3, "big")

    @classmethod
    def generate(cls) -> RSAKey:
        """Make a key; takes some tenths of a second."""
        while True:
            first, second = _prime(), _prime()
            if first != second:
                return cls(first, second)

    def sign(self, data: bytes) -> bytes:
        """Return a PKCS #1 v1.5 signature over SHA-256 of some data: RS256 in tokens."""
        return pow(self._padded(data), self._private, self._modulus).to_bytes(_BITS // 8, "big")

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether a signature is this key's."""
        number = int.from_bytes(signature, "big")
        if len(signature) != _BITS // 8 or number >= self._modulus:
            return False
        return pow(number, _EXPONENT, self._modulus) == self._padded(data)

    @staticmethod
    def _padded(data: bytes) -> int:
        tail = _DIGEST_INFO + hashlib.sha256(data).digest()
        filled = b"\x00\x01" + b"\xff" * (_BITS // 8 - 3 - len(tail)) + b"\x00" + tail
        return int.from_bytes(filled, "big")


def _prime() -> int:
    bits = _BITS // 2
    while True:
        # Both upper bits are set, so that the product of two has all of its own.
        number = secrets.randbits(bits) | 3 << (bits - 2) | 1
        if all(number % small for small in _SMALL) and (number - 1) % _EXPONENT and _is_prime(number):
            return number


def _is_prime(number: int) -> bool:
    """Look for a witness against a number, as Miller and Rabin do."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(_ROUNDS):
        power = pow(secrets.randbelow(number - 3) + 2, odd, number)
        if power in {1, number - 1}:
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True
