"""Who signs: keys, identities and users of the emulator, and the check of a call's signature."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from omniherd.emulator.access import Principal
from omniherd.emulator.identities import Identities
from omniherd.emulator.names import (
    IDENTITY,
    PROVIDER_PREFIX,
    PROVIDER_SUFFIX,
    PUBLIC_KEY,
    SERVICE_ACCOUNT_LABEL,
    SERVICE_ACCOUNT_SUFFIX,
    USER,
    USER_ID_LABEL,
)
from omniherd.emulator.records import StateError
from omniherd.emulator.tokens import TokenSigner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from omniherd.emulator.server import Incoming, Method
    from omniherd.emulator.store import Store
    from omniherd.signing import PGPKey, PublicKey

__all__ = ["Keyring", "account_identity", "encode_service_account_key", "signatures_first"]

_PGP = 1
_YEAR = timedelta(days=365)


def account_identity(name: str) -> str:
    """Return the identity of the service account with a name: `ci` is `ci@serviceaccount.omni.sidero.dev`."""
    if name.startswith(PROVIDER_PREFIX):
        return name.removeprefix(PROVIDER_PREFIX) + PROVIDER_SUFFIX
    return name + SERVICE_ACCOUNT_SUFFIX


def encode_service_account_key(name: str, key: PGPKey) -> str:
    """Return a key in the form that `OMNI_SERVICE_ACCOUNT_KEY` takes.

    Args:
        name: Name of the service account.
        key: Its private key.
    """
    text = json.dumps({"name": name, "pgp_key": key.private_armored()}, separators=(",", ":"))
    return base64.b64encode(text.encode()).decode()


def signatures_first(methods: dict[str, Method]) -> dict[str, Method]:
    """Return methods that refuse a wrong signature before they look at the request; none at all is their business.

    Args:
        methods: What answers, by path.
    """

    def checked(method: Any) -> Method:
        async def serve(call: Incoming, request: Any, *send: Any) -> Any:
            call.check_signature()
            return await method(call, request, *send)

        return serve

    return {path: checked(method) for path, method in methods.items()}


class Keyring:
    """Keys and their owners, kept as resources as a real server keeps them.

    Args:
        store: Where the resources are.

    Attributes:
        tokens: Who signs tokens.
        identities: Controllers of identities.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed: dict[str, PublicKey] = {}
        self.tokens = TokenSigner()
        self.identities = Identities(store)
        store.observe(self.identities.handle)

    def add_account(self, name: str, role: str) -> str:
        """Make a service account with a key of one year; return the key as clients take it.

        Args:
            name: Its name; `infra-provider:x` for an infra provider.
            role: Its role.
        """
        from omniherd.signing import PGPKey, PublicKey

        identity = account_identity(name)
        key = PGPKey.generate(name.removeprefix(PROVIDER_PREFIX), "", identity, _YEAR)
        self.add_identity(identity, role, service_account=True)
        self.add_key(PublicKey.from_bytes(key.public_armored), identity, role)
        return encode_service_account_key(name, key)

    def add_identity(self, identity: str, role: str, *, service_account: bool = False) -> str:
        """Store a user and its identity; return the user's id.

        Raises:
            StateError: `ALREADY_EXISTS`.
        """
        user_id = str(uuid.uuid4())
        labels = {USER_ID_LABEL: user_id}
        if service_account:
            labels[SERVICE_ACCOUNT_LABEL] = ""
        with self._store.lock:
            if self._store.find("default", IDENTITY, identity) is not None:
                raise StateError("ALREADY_EXISTS", f'identity "{identity}" already exists')
            self._store.put(IDENTITY, identity, {"user_id": user_id}, labels=labels)
            self._store.put(USER, user_id, {"role": role})
        return user_id

    def role_of(self, identity: str) -> str:
        """Return the role of an identity, `None` for one that is not there."""
        found = self._store.find("default", IDENTITY, identity)
        user = None if found is None else self._store.find("default", USER, found.decode().user_id)
        return "None" if user is None else str(user.decode().role)

    def labels_of(self, identity: str) -> dict[str, str]:
        """Return the labels of an identity's keys, none for one that is not there."""
        found = self._store.find("default", IDENTITY, identity)
        return {USER_ID_LABEL: found.labels.get(USER_ID_LABEL, "")} if found is not None else {}

    def add_key(
        self, key: PublicKey, identity: str, role: str, *, confirmed: bool = True, owner: str = "", text: str = ""
    ) -> None:
        """Store a public key of an identity.

        Args:
            key: The key.
            identity: Whose it is.
            role: The role that it gives.
            confirmed: Whether it may be used yet.
            owner: The controller that owns the resource.
            text: The key as it was sent; empty to write it anew.

        Raises:
            StateError: `ALREADY_EXISTS`.
        """
        from omniherd.emulator.forms import spec_class

        cls = spec_class(PUBLIC_KEY)
        assert cls is not None  # noqa: S101 - the type has a spec
        spec = cls(
            public_key=(text or key.armored).encode(),
            confirmed=confirmed,
            identity={"email": identity},
            role=role,
            type=_PGP,
        )
        if key.expires is not None:
            spec.expiration.seconds = int(key.expires.timestamp())  # type: ignore[attr-defined]
        labels = self.labels_of(identity)
        with self._store.lock:
            if self._store.find("default", PUBLIC_KEY, key.fingerprint) is not None:
                raise StateError(
                    "ALREADY_EXISTS",
                    f"resource {PUBLIC_KEY}(default/{key.fingerprint}@undefined) already exists",
                )
            self._store.put(PUBLIC_KEY, key.fingerprint, spec, owner=owner, labels=labels)
        self._parsed[key.fingerprint] = key

    def authenticate(self, path: str, metadata: Sequence[tuple[str, str]]) -> Principal:
        """Return who made a call.

        Args:
            path: The method's path.
            metadata: The call's metadata.

        Raises:
            StateError: `UNAUTHENTICATED`; the server never tells why.
        """
        from omniherd.signing import SignatureRefused, verify_headers

        try:
            key = verify_headers(path, metadata, self._store.clock() // 1_000_000_000, self._lookup)
        except SignatureRefused:
            raise StateError("UNAUTHENTICATED", "invalid signature") from None
        principal = self._principal(key.fingerprint)
        self.identities.seen(principal.identity, key.fingerprint)
        return principal

    def verified_email(self, token: str) -> str:
        """Return whose token of the identity provider it is.

        Raises:
            StateError: `UNAUTHENTICATED`: it is none.
        """
        email = self.tokens.verified_email(token, self._store.now()[0])
        if email is None:
            raise StateError("UNAUTHENTICATED", "invalid jwt")
        return email

    def _lookup(self, fingerprint: str) -> PublicKey | None:
        stored = self._store.find("default", PUBLIC_KEY, fingerprint)
        if stored is None:
            return None
        spec = stored.decode()
        if not spec.confirmed:
            return None
        parsed = self._parsed.get(fingerprint)
        if parsed is None:
            from omniherd.signing import PublicKey

            parsed = self._parsed[fingerprint] = PublicKey.from_bytes(spec.public_key)
        return parsed

    def _principal(self, fingerprint: str) -> Principal:
        store = self._store
        key = store.find("default", PUBLIC_KEY, fingerprint)
        email = "" if key is None else key.decode().identity.email
        identity = store.find("default", IDENTITY, email)
        user_id = "" if identity is None else identity.decode().user_id
        user = store.find("default", USER, user_id)
        if user is None:
            raise StateError("UNAUTHENTICATED", "invalid signature")
        return Principal(email, user.decode().role, user_id, fingerprint)
