"""What the server keeps around an identity: finalizers, its status, and when it was last seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.finalizers import hold
from omniherd.emulator.names import IDENTITY, PROVIDER_SUFFIX, PUBLIC_KEY, SERVICE_ACCOUNT_LABEL, USER, USER_ID_LABEL
from omniherd.emulator.records import CREATED, DESTROYED

if TYPE_CHECKING:
    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.store import Store

__all__ = ["KEY_LAST_ACTIVE", "Identities", "last_active"]

_STATUS = "IdentityStatuses.omni.sidero.dev"
_ACCOUNT_STATUS = "ServiceAccountStatuses.omni.sidero.dev"
_IDENTITY_ACTIVE = "IdentityLastActives.omni.sidero.dev"
KEY_LAST_ACTIVE = "PublicKeyLastActives.omni.sidero.dev"
_HOLDERS = ("IdentityCleanupController", "IdentityStatusController")
_ACCOUNT_HOLDER = "ServiceAccountStatusController"
# How long the server remembers that somebody was there before it writes it down anew.
_REMEMBERED = 60


class Identities:
    """The controllers of identities.

    Args:
        store: What they watch and change.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, int] = {}

    def handle(self, event: Event) -> None:
        """Follow a change."""
        resource = event.resource
        if resource is None or resource.type not in {IDENTITY, PUBLIC_KEY, USER}:
            return
        if resource.type == IDENTITY:
            self._identity(resource, event.kind)
            return
        user_id = resource.id if resource.type == USER else resource.labels.get(USER_ID_LABEL)
        for identity in self._store.list("default", IDENTITY, lambda one: one.labels.get(USER_ID_LABEL) == user_id):
            self._describe(identity)

    def seen(self, identity: str, fingerprint: str) -> None:
        """Note that somebody signed a call.

        Args:
            identity: Who.
            fingerprint: With which key.
        """
        seconds, nanos = self._store.now()
        if seconds - self._seen.get(fingerprint, 0) < _REMEMBERED:
            return
        self._seen[fingerprint] = seconds
        moment = {"seconds": seconds, "nanos": nanos}
        with self._store.lock:
            self._store.put(_IDENTITY_ACTIVE, identity, {"last_active": moment})
            self._store.put(KEY_LAST_ACTIVE, fingerprint, {"last_used": moment}, labels={"identity": identity})
            found = self._store.find("default", IDENTITY, identity)
            if found is not None:
                self._describe(found)

    def _identity(self, identity: Stored, kind: int) -> None:
        if kind == DESTROYED:
            for type_name in (_STATUS, _ACCOUNT_STATUS):
                self._store.remove("ephemeral", type_name, identity.id)
            self._store.remove("metrics", _IDENTITY_ACTIVE, identity.id)
            return
        account = SERVICE_ACCOUNT_LABEL in identity.labels
        hold(self._store, identity, (*_HOLDERS, _ACCOUNT_HOLDER) if account else _HOLDERS)
        if kind == CREATED:
            self._store.put(_IDENTITY_ACTIVE, identity.id)
            self._describe(identity)

    def _describe(self, identity: Stored) -> None:
        """Write the statuses of an identity."""
        user_id = identity.decode().user_id
        user = self._store.find("default", USER, user_id)
        if user is None:
            return
        role = user.decode().role
        status = {"user_id": user_id, "role": role, "last_active": last_active(self._store, identity.id)}
        self._store.put(_STATUS, identity.id, status, owner="IdentityStatusController", labels=identity.labels)
        if SERVICE_ACCOUNT_LABEL in identity.labels and not identity.id.endswith(PROVIDER_SUFFIX):
            keys = [
                self._key(key)
                for key in self._store.list(
                    "default", PUBLIC_KEY, lambda found: found.labels.get(USER_ID_LABEL) == user_id
                )
            ]
            spec: dict[str, Any] = {"role": role, "public_keys": keys}
            if keys:
                spec["expiration"] = max((key["expiration"] for key in keys), key=lambda moment: moment.seconds)
            self._store.put(_ACCOUNT_STATUS, identity.id, spec, owner=_ACCOUNT_HOLDER)

    def _key(self, key: Stored) -> dict[str, Any]:
        spec = key.decode()
        shown = {
            "id": key.id,
            "armored": spec.public_key.decode(errors="replace"),
            "expiration": spec.expiration,
            "created": {"seconds": key.created[0], "nanos": key.created[1]},
        }
        used = self._store.find("metrics", KEY_LAST_ACTIVE, key.id)
        if used is not None:
            shown["last_used"] = used.decode().last_used
        return shown


def last_active(store: Store, identity: str) -> str:
    """Return when somebody was last there, as the server writes it; empty for never."""
    from datetime import UTC, datetime

    found = store.find("metrics", _IDENTITY_ACTIVE, identity)
    if found is None or not found.decode().HasField("last_active"):
        return ""
    seconds = found.decode().last_active.seconds
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
