"""`auth.AuthService`: keys that users register, and what becomes of them."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from omniherd._core.pool import message
from omniherd.emulator.access import SERVER_ROLES
from omniherd.emulator.accounts import read_public_key
from omniherd.emulator.gotext import quote as go_quote
from omniherd.emulator.names import IDENTITY, PUBLIC_KEY, USER_ID_LABEL
from omniherd.emulator.records import StateError, missing
from omniherd.emulator.store import WatchOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.auth import Keyring
    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming, Method
    from omniherd.emulator.store import Store

__all__ = ["AuthService"]

_PREFIX = "/auth.AuthService/"
_LONGEST = 8 * 3600.0
_SKEW = 300
_PLAIN = 2
_BIT_STRING = 3

KEY_OWNER = "KeyPrunerController"
"""Who owns the keys that users register."""


class AuthService:
    """The service.

    Args:
        store: The state.
        keyring: Where keys are kept.
        endpoint: The server's address, where login pages would be.
    """

    def __init__(self, store: Store, keyring: Keyring, endpoint: Callable[[], str]) -> None:
        self._store = store
        self._keyring = keyring
        self._endpoint = endpoint

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {
            _PREFIX + "RegisterPublicKey": self.register,
            _PREFIX + "AwaitPublicKeyConfirmation": self.wait,
            _PREFIX + "ConfirmPublicKey": self.confirm,
            _PREFIX + "RevokePublicKey": self.revoke,
        }

    async def register(self, _call: Incoming, request: Any) -> Any:
        """Answer RegisterPublicKey; registering a key again is fine."""
        offered = request.public_key
        if offered.webauthn_data:
            raise StateError("UNIMPLEMENTED", "unimplemented")
        key = None
        if offered.HasField("plain_key"):
            id_ = self._judge_plain(offered.plain_key)
        elif offered.pgp_data:
            key = read_public_key(offered.pgp_data, self._now(), _LONGEST)
            id_ = key.fingerprint
        else:
            raise StateError("INVALID_ARGUMENT", "no public key data provided")
        identity = request.identity.email.lower()
        # Whether there is somebody of that name is not told.
        if self._store.find("default", IDENTITY, identity) is not None:
            role = request.role if request.skip_user_role else self._keyring.role_of(identity)
            if role not in SERVER_ROLES:
                text = f"failed to parse role for public key: unknown role to parse: {go_quote(role)}"
                raise StateError("UNKNOWN", text)
            if key is None:
                self._keep_plain(id_, offered.plain_key, identity, role)
            elif self._store.find("default", PUBLIC_KEY, id_) is None:
                self._keyring.add_key(key, identity, role, confirmed=False, owner=KEY_OWNER)
                # The controller that owns it writes it once more.
                self._store.modify("default", PUBLIC_KEY, id_)
        return message("auth.RegisterPublicKeyResponse")(
            public_key_id=id_,
            login_url=f"{self._endpoint()}/authenticate?flow=cli&public-key-id={quote(id_, safe='')}",
        )

    def _judge_plain(self, key: Any) -> str:
        """Return the id of a plain key that may be registered."""
        id_ = base64.urlsafe_b64encode(hashlib.sha256(_key_bits(key.key_pem)).digest()).decode()
        begin, end, now = key.not_before.seconds, key.not_after.seconds, self._now()
        faults = (
            ("public key 'not_before' is after 'not_after'", begin >= end),
            ("public key 'not_before' > now", now < begin - _SKEW),
            ("public key is expired", now >= end + _SKEW),
            ("public key expiration time exceeds max allowed lifetime", end - begin > _LONGEST),
        )
        for text, wrong in faults:
            if wrong:
                raise StateError("INVALID_ARGUMENT", text)
        return id_

    def _keep_plain(self, id_: str, key: Any, identity: str, role: str) -> None:
        spec: dict[str, Any] = {
            "public_key": key.key_pem.encode(),
            "identity": {"email": identity},
            "role": role,
            "type": _PLAIN,
            "expiration": key.not_after,
        }
        self._store.put(PUBLIC_KEY, id_, spec, owner=KEY_OWNER, labels=self._keyring.labels_of(identity))

    def _now(self) -> float:
        return self._store.clock() / 1e9

    async def wait(self, call: Incoming, request: Any) -> bytes:
        """Answer AwaitPublicKeyConfirmation: wait until a key is confirmed, whether it is there or not."""
        bell = call.bell()
        subscription = self._store.watch("default", PUBLIC_KEY, request.public_key_id, WatchOptions())
        subscription.ready = bell.ring
        try:
            while True:
                for event in subscription.poll():
                    if event.resource is not None and event.resource.spec and event.resource.decode().confirmed:
                        return b""
                await bell.heard()
        finally:
            subscription.close()

    async def confirm(self, call: Incoming, request: Any) -> bytes:
        """Answer ConfirmPublicKey: it takes the token of an identity provider, whoever signed the call."""
        email = call.verified_email()
        if not email:
            raise StateError("UNKNOWN", "unauthenticated: missing verified email")
        self.confirm_key(request.public_key_id, email)
        return b""

    def confirm_key(self, public_key_id: str, email: str) -> None:
        """Confirm a key as a person who has proved to be one, as the login page does it.

        Args:
            public_key_id: The key's id.
            email: Whose e-mail address was proved.

        Raises:
            StateError: There is no such person or key, or the key is somebody else's.
        """
        if not public_key_id:
            raise StateError("INVALID_ARGUMENT", "public key id is required")
        identity = self._store.find("default", IDENTITY, email)
        if identity is None:
            raise StateError("PERMISSION_DENIED", f'The identity "{email}" is not authorized for this instance')
        with self._store.lock:
            key = self._store.find("default", PUBLIC_KEY, public_key_id)
            if key is None:
                raise StateError("PERMISSION_DENIED", "permission denied")
            if key.labels.get(USER_ID_LABEL) != identity.decode().user_id:
                raise StateError("UNKNOWN", "public key <> id mismatch")
            spec = key.decode()
            if not spec.confirmed:
                spec.confirmed = True
                self._store.put(PUBLIC_KEY, key.id, spec, owner=key.owner)

    async def revoke(self, call: Incoming, request: Any) -> bytes:
        """Answer RevokePublicKey."""
        principal = call.principal
        key = self._store.find("default", PUBLIC_KEY, request.public_key_id)
        if key is None:
            raise StateError("UNKNOWN", missing("default", PUBLIC_KEY, request.public_key_id).message)
        if not self._is_of(key, principal.identity, principal.user_id):
            raise StateError("PERMISSION_DENIED", "permission denied")
        if key.owner != KEY_OWNER:
            raise StateError("UNKNOWN", f'resource {key} is owned by "{key.owner}"')
        self._store.remove("default", PUBLIC_KEY, key.id)
        return b""

    @staticmethod
    def _is_of(key: Stored, identity: str, user_id: str) -> bool:
        return key.decode().identity.email == identity or (bool(user_id) and key.labels.get(USER_ID_LABEL) == user_id)


def _key_bits(pem: str) -> bytes:
    """Return the bits of a public key inside its PEM frame: the point of an elliptic curve.

    Raises:
        StateError: It is no such frame.
    """
    lines = [line for line in pem.strip().splitlines() if not line.startswith("-----")]
    try:
        der = base64.b64decode("".join(lines), validate=True)
        _, start, _ = _der_header(der, 0)
        _, inner, length = _der_header(der, start)
        kind, bits, size = _der_header(der, inner + length)
    except (ValueError, IndexError):
        raise StateError("UNKNOWN", "failed to decode PEM block containing public key") from None
    if kind != _BIT_STRING or not size:
        raise StateError("UNKNOWN", "failed to decode PEM block containing public key")
    return der[bits + 1 : bits + size]


def _der_header(der: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, where the content begins and its length."""
    length = der[at + 1]
    if length < 0x80:
        return der[at], at + 2, length
    count = length & 0x7F
    return der[at], at + 2 + count, int.from_bytes(der[at + 2 : at + 2 + count], "big")
