"""Service accounts and users: the part of ManagementService that makes and unmakes who may call."""

from __future__ import annotations

from datetime import timedelta
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd.emulator.access import refuse
from omniherd.emulator.access_table import ROLES
from omniherd.emulator.auth import account_identity
from omniherd.emulator.cluster_rules import go_duration
from omniherd.emulator.gotext import quote
from omniherd.emulator.identities import KEY_LAST_ACTIVE, last_active
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
from omniherd.emulator.records import StateError, Stored, missing

if TYPE_CHECKING:
    from omniherd.emulator.auth import Keyring
    from omniherd.emulator.server import Incoming, UnaryMethod
    from omniherd.emulator.store import Store
    from omniherd.emulator.validators import Validators
    from omniherd.signing import PublicKey

__all__ = ["Accounts", "read_public_key"]

_SKEW = 300
_SLACK = 60
_YEAR = timedelta(days=365).total_seconds()
_NO_ENTITY = "gopenpgp: the key does not contain any entity"
_NO_KEY = "gopenpgp: error in reading key ring: openpgp: invalid data: tag byte does not have MSB set"


class Accounts:
    """The calls.

    Args:
        store: The state.
        keyring: Where identities and keys are made.
        validators: Who judges the names of identities.
    """

    def __init__(self, store: Store, keyring: Keyring, validators: Validators) -> None:
        self._store = store
        self._keyring = keyring
        self._validators = validators

    def methods(self) -> dict[str, UnaryMethod]:
        """Return what answers, by method name."""
        return {
            "CreateServiceAccount": self.create_service_account,
            "RenewServiceAccount": self.renew_service_account,
            "ListServiceAccounts": self.list_service_accounts,
            "DestroyServiceAccount": self.destroy_service_account,
            "CreateUser": self.create_user,
            "ListUsers": self.list_users,
            "UpdateUser": self.update_user,
            "DestroyUser": self.destroy_user,
        }

    # --- service accounts -------------------------------------------------------------------------------------------

    async def create_service_account(self, _call: Incoming, request: Any) -> Any:
        """Answer CreateServiceAccount."""
        role = "Admin" if request.use_user_role else request.role
        _check_role(role)
        key = read_public_key(request.armored_pgp_public_key, self._now(), _YEAR)
        provider = request.name.startswith(PROVIDER_PREFIX)
        if provider and role != "InfraProvider":
            raise StateError("UNKNOWN", 'infra-provider service accounts must have the role "InfraProvider"')
        if not provider and role == "InfraProvider":
            raise StateError(
                "UNKNOWN",
                f'service accounts with role "InfraProvider" must be prefixed with "{PROVIDER_PREFIX}"',
            )
        identity = account_identity(request.name)
        if self._identity(identity) is not None:
            raise StateError("ALREADY_EXISTS", f'service account "{identity}" already exists')
        self._keyring.add_key(key, identity, role, text=request.armored_pgp_public_key)
        self._judge_identity(identity)
        user_id = self._keyring.add_identity(identity, role, service_account=True)
        # The key was there first: it stays behind when the name is refused.
        self._store.modify("default", PUBLIC_KEY, key.fingerprint, labels={USER_ID_LABEL: user_id})
        return message("management.CreateServiceAccountResponse")(public_key_id=key.fingerprint)

    async def renew_service_account(self, _call: Incoming, request: Any) -> Any:
        """Answer RenewServiceAccount."""
        identity = account_identity(request.name)
        found = self._identity(identity)
        if found is None:
            raise StateError("UNKNOWN", missing("default", IDENTITY, identity).message)
        key = read_public_key(request.armored_pgp_public_key, self._now(), _YEAR)
        try:
            self._keyring.add_key(key, identity, self._role(found), text=request.armored_pgp_public_key)
        except StateError as error:
            raise StateError("UNKNOWN", error.message) from None
        return message("management.RenewServiceAccountResponse")(public_key_id=key.fingerprint)

    async def list_service_accounts(self, _call: Incoming, _request: Any) -> Any:
        """Answer ListServiceAccounts; those of infra providers are left out."""
        answer: Any = message("management.ListServiceAccountsResponse")()
        for identity in self._identities(service_accounts=True):
            if identity.id.endswith(PROVIDER_SUFFIX):
                continue
            account = answer.service_accounts.add(
                name=identity.id.removesuffix(SERVICE_ACCOUNT_SUFFIX),
                role=self._role(identity),
                last_active=last_active(self._store, identity.id),
            )
            for key in self._keys(identity):
                spec = key.decode()
                shown = account.pgp_public_keys.add(id=key.id, armored=spec.public_key.decode(errors="replace"))
                shown.expiration.CopyFrom(spec.expiration)
                shown.created.seconds, shown.created.nanos = key.created
                used = self._store.find("metrics", KEY_LAST_ACTIVE, key.id)
                if used is not None:
                    shown.last_used.CopyFrom(used.decode().last_used)
        return answer

    async def destroy_service_account(self, call: Incoming, request: Any) -> bytes:
        """Answer DestroyServiceAccount."""
        identity = account_identity(request.name)
        found = self._identity(identity)
        if found is None or SERVICE_ACCOUNT_LABEL not in found.labels:
            raise StateError("NOT_FOUND", f"service account {quote(request.name)} not found")
        if identity == call.principal.identity:
            raise StateError("INVALID_ARGUMENT", "destroying your own service account is not allowed")
        self._destroy(found)
        return b""

    # --- users ------------------------------------------------------------------------------------------------------

    async def create_user(self, _call: Incoming, request: Any) -> Any:
        """Answer CreateUser."""
        email = request.email.lower()
        _check_role(request.role)
        if self._identity(email) is not None:
            raise StateError("UNKNOWN", f'user with email "{email}" already exists')
        try:
            self._judge_identity(email)
        except StateError as error:
            raise StateError(error.code, f"failed to create Identity resource {email}: {error.message}") from None
        user_id = self._keyring.add_identity(email, request.role)
        return message("management.CreateUserResponse")(user_id=user_id)

    async def list_users(self, _call: Incoming, _request: Any) -> Any:
        """Answer ListUsers; service accounts are left out."""
        answer: Any = message("management.ListUsersResponse")()
        for identity in self._identities(service_accounts=False):
            answer.users.add(
                id=identity.decode().user_id,
                email=identity.id,
                role=self._role(identity),
                last_active=last_active(self._store, identity.id),
            )
        return answer

    async def update_user(self, call: Incoming, request: Any) -> bytes:
        """Answer UpdateUser."""
        if request.email == call.principal.identity:
            raise StateError("INVALID_ARGUMENT", "updating your own role is not allowed")
        _check_role(request.role)
        found = self._identity(request.email)
        if found is None:
            raise missing("default", IDENTITY, request.email)
        self._store.put(USER, found.decode().user_id, {"role": request.role})
        return b""

    async def destroy_user(self, call: Incoming, request: Any) -> bytes:
        """Answer DestroyUser."""
        found = self._identity(request.email)
        if found is None:
            raise StateError("NOT_FOUND", f"user {quote(request.email)} not found")
        if SERVICE_ACCOUNT_LABEL in found.labels:
            raise StateError(
                "INVALID_ARGUMENT", f'identity "{request.email}": identity is a service account, not a user'
            )
        if request.email == call.principal.identity:
            raise StateError("INVALID_ARGUMENT", "destroying your own account is not allowed")
        self._destroy(found, "PERMISSION_DENIED")
        return b""

    # --- inside -----------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._store.clock() / 1e9

    def _identity(self, id_: str) -> Stored | None:
        return self._store.find("default", IDENTITY, id_)

    def _identities(self, *, service_accounts: bool) -> list[Stored]:
        return self._store.list(
            "default", IDENTITY, lambda found: (SERVICE_ACCOUNT_LABEL in found.labels) == service_accounts
        )

    def _role(self, identity: Stored) -> str:
        user = self._store.find("default", USER, identity.decode().user_id)
        return "" if user is None else str(user.decode().role)

    def _keys(self, identity: Stored) -> list[Stored]:
        user_id = identity.labels.get(USER_ID_LABEL)
        return self._store.list(
            "default", PUBLIC_KEY, lambda found: bool(user_id) and found.labels.get(USER_ID_LABEL) == user_id
        )

    def _judge_identity(self, identity: str) -> None:
        texts = self._validators.judge("create", None, Stored("default", IDENTITY, identity))
        if texts:
            raise refuse(texts)

    def _destroy(self, identity: Stored, code: str = "UNKNOWN") -> None:
        """Remove an identity, its user and its keys; keys that another owns are an error after the fact."""
        store = self._store
        faults: list[str] = []
        for key in self._keys(identity):
            if key.owner:
                faults.append(f'resource {key} is owned by "{key.owner}"')
            else:
                store.remove("default", PUBLIC_KEY, key.id)
        store.remove("default", IDENTITY, identity.id)
        store.remove("default", USER, identity.decode().user_id)
        if faults:
            count = "1 error" if len(faults) == 1 else f"{len(faults)} errors"
            raise StateError(code, f"{count} occurred:\n" + "".join(f"\t* {text}\n" for text in faults) + "\n")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise StateError("UNKNOWN", f"unknown role to parse: {quote(role)}")


def read_public_key(data: str | bytes, now: float, longest: float) -> PublicKey:
    """Read a public key as the server takes it.

    Args:
        data: The key, armored or binary.
        now: Seconds since 1970.
        longest: How many seconds from now it may live.

    Raises:
        StateError: `UNKNOWN`, with the server's text for what is wrong with it.
    """
    from omniherd.errors import OmniError
    from omniherd.signing import PublicKey

    if not data.strip():
        raise StateError("UNKNOWN", _NO_ENTITY)
    try:
        key = PublicKey.from_bytes(data)
    except OmniError:
        raise StateError("UNKNOWN", _NO_KEY) from None
    if key.is_private:
        raise StateError("UNKNOWN", "PGP key contains private key")
    if key.lifetime is None or key.expires is None:
        raise StateError("UNKNOWN", "key does not contain a valid key lifetime")
    if key.is_expired(now, _SKEW):
        raise StateError("UNKNOWN", "key expired")
    if key.expires.timestamp() > now + longest + _SLACK:
        lifetime = go_duration(int(key.lifetime.total_seconds()) * 10**9)
        raise StateError("UNKNOWN", f"key lifetime is too long: {lifetime}")
    _check_address(key)
    return key


def _check_address(key: PublicKey) -> None:
    if key.email:
        return
    text = key.user_ids[0] if key.user_ids else ""
    fault = "mail: no address: " if not text else f"mail: missing '@' or angle-addr: {text}"
    if not parseaddr(text)[1] or "@" not in text:
        raise StateError("UNKNOWN", f"key does not contain a valid email address: {fault}")
