"""Tokens of the emulator: JSON Web Tokens with a signature that can be checked, as an OIDC provider signs them."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from omniherd.emulator.rsa import RSAKey

__all__ = ["TokenSigner", "encoded"]

_HOUR = 3600
_IDENTITY_PROVIDER = "omniherd-emulator"


def encoded(data: bytes) -> str:
    """Return bytes in the base64 of tokens: for URLs, without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class TokenSigner:
    """Signs tokens, and knows its own again. Its key is made when it is first needed.

    Attributes:
        key_id: The id of the key.
    """

    def __init__(self) -> None:
        self.key_id = str(uuid.uuid4())
        self._lock = threading.Lock()
        self._made: RSAKey | None = None

    def _key(self) -> RSAKey:
        with self._lock:
            if self._made is None:
                from omniherd.emulator.rsa import RSAKey

                self._made = RSAKey.generate()
            return self._made

    def public(self) -> dict[str, str]:
        """Return the public key in the form of a JSON Web Key."""
        key = self._key()
        parts = {"n": encoded(key.modulus), "e": encoded(key.exponent)}
        return {"use": "sig", "kty": "RSA", "kid": self.key_id, "alg": "RS256", **parts}

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a token with claims."""
        head = {"alg": "RS256", "kid": self.key_id, "typ": "JWT"}
        body = f"{_part(head)}.{_part(dict(sorted(claims.items())))}"
        return f"{body}.{encoded(self._key().sign(body.encode()))}"

    def claims(self, token: str, now: int) -> dict[str, Any] | None:
        """Return the claims of a token of its own that has not expired; None for every other."""
        body, _, signature = token.rpartition(".")
        try:
            raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
            content = base64.urlsafe_b64decode((part := body.partition(".")[2]) + "=" * (-len(part) % 4))
            found: Any = json.loads(content)
        except ValueError:
            return None
        if self._made is None or not self._made.verify(body.encode(), raw) or not isinstance(found, dict):
            return None
        claims = cast("dict[str, Any]", found)
        return claims if claims.get("exp", 0) > now else None

    def identity_token(self, email: str, now: int) -> str:
        """Return what an identity provider gives a person who has logged in there."""
        return self.sign(
            {"iss": _IDENTITY_PROVIDER, "iat": now, "exp": now + _HOUR, "email": email, "email_verified": True}
        )

    def verified_email(self, token: str, now: int) -> str | None:
        """Return whose token of the identity provider it is; None when it is none."""
        claims = self.claims(token, now)
        if claims is None or claims.get("iss") != _IDENTITY_PROVIDER:
            return None
        return str(claims["email"])


def _part(content: dict[str, Any]) -> str:
    return encoded(json.dumps(content, separators=(",", ":")).encode())
