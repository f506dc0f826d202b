"""Who may do what: the access rules of every resource type, with the texts of their refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniherd.emulator.access_table import ACCESS, ROLES
from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from omniherd.emulator.store import Store

__all__ = ["Principal", "Rules", "insufficient", "rank", "refuse"]

_MANAGEMENT_ONLY = frozenset({"Users.omni.sidero.dev", "Identities.omni.sidero.dev"})
_PROVIDER_NAMESPACE = "infra-provider"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a call.

    Attributes:
        identity: E-mail of the user or service account.
        role: Its role.
        user_id: Id of its `Users` resource.
        fingerprint: The key that signed the call.
    """

    identity: str
    role: str
    user_id: str = ""
    fingerprint: str = ""


def rank(role: str) -> int:
    """Return where a role stands; an unknown one stands below all.

    Args:
        role: The name of a role.
    """
    return ROLES.index(role) if role in ROLES else -1


def insufficient(role: str) -> str:
    """Return the text for a caller whose role is too low."""
    return f'unauthorized: access denied: insufficient role: "{role}"'


def refuse(texts: list[str], code: str = "INVALID_ARGUMENT") -> StateError:
    """Return the error that carries the texts of validators, access refusals among them."""
    return StateError(code, f"failed to validate: {frame(texts)}")


def frame(texts: list[str]) -> str:
    """Return several texts as one, in the form that the server gives them."""
    count = "1 error" if len(texts) == 1 else f"{len(texts)} errors"
    return f"{count} occurred:\n" + "".join(f"\t* {text}\n" for text in texts) + "\n"


def denied(text: str) -> str:
    """Return the text of an access refusal as it stands among those of validators."""
    return f"rpc error: code = PermissionDenied desc = {text}"


class Rules:
    """The rules, over the state that they look at.

    Args:
        store: The state, asked which infra providers are registered.
        any_type: Whether types that Omni does not have are open to Admins.
    """

    def __init__(self, store: Store, *, any_type: bool = False) -> None:
        self._store = store
        self._any_type = any_type

    def knows(self, type_name: str) -> bool:
        """Whether there are rules for a type."""
        return type_name in ACCESS

    def check(self, principal: Principal, verb: str, namespace: str, type_name: str) -> str | None:
        """Return why a call is refused, as a validator's text; None when it is allowed.

        Args:
            principal: The caller.
            verb: `read`, `create`, `update` or `destroy`.
            namespace: The namespace asked for.
            type_name: The full type name.

        Raises:
            StateError: A refusal that is told without the form of validators.
        """
        row = ACCESS.get(type_name)
        if row is None and self._any_type and principal.role == "Admin":
            return None
        if row is not None and namespace.startswith(_PROVIDER_NAMESPACE):
            self._provider(principal, verb, type_name, row)
            return None
        access: dict[str, str] = {} if row is None else row["access"]
        if not access:
            return denied("no access is permitted")
        needed = access.get(verb)
        if needed is None:
            return self._missing_verb(principal, verb, type_name, access)
        if needed in {"signed", "public"} or rank(principal.role) >= rank(needed):
            return None
        return denied(insufficient(principal.role))

    @staticmethod
    def _missing_verb(principal: Principal, verb: str, type_name: str, access: dict[str, str]) -> str:
        least = access.get("read", "signed")
        if least not in {"signed", "public"} and rank(principal.role) < max(rank(least), rank("Operator")):
            return denied(insufficient(principal.role))
        if type_name in _MANAGEMENT_ONLY:
            return denied(
                f"only read access is permitted on resource {type_name}, "
                "mutations should be done via ManagementService API calls"
            )
        if type_name == "JoinTokens.omni.sidero.dev":
            return denied(
                "only read, update and destroy access is permitted, "
                "create should be done via the management.CreateJoinToken API call"
            )
        if type_name == "EulaAcceptances.omni.sidero.dev":
            return denied("only read and create access is permitted for EULA acceptance")
        if type_name == "ImportedClusterSecrets.omni.sidero.dev":
            return denied("access is not permitted")
        if "destroy" in access and verb != "destroy":
            return denied("only read and delete access is permitted")
        return denied("only read access is permitted")

    def _provider(self, principal: Principal, verb: str, type_name: str, row: dict[str, object]) -> None:
        """Judge a call on what infra providers and the server exchange; refusals come bare here."""
        access: dict[str, str] = row["access"]  # type: ignore[assignment]
        if rank(principal.role) < rank("InfraProvider"):
            raise StateError("PERMISSION_DENIED", insufficient(principal.role))
        if principal.role == "InfraProvider":
            name = principal.identity.partition("@")[0]
            if self._store.find(_PROVIDER_NAMESPACE, "InfraProviders.omni.sidero.dev", name) is None:
                raise StateError(
                    "PERMISSION_DENIED", f'infra provider with name "{name}" is not registered in the system'
                )
            return
        least = access.get("read", "Admin")
        if verb != "read" and verb not in access:
            raise StateError("PERMISSION_DENIED", f'users are not allowed to modify "{type_name}" resources')
        if rank(principal.role) < rank(least):
            raise StateError("PERMISSION_DENIED", f'only admins are allowed to read "{type_name}" resources')
        if rank(principal.role) < rank(access.get(verb, "Admin")):
            raise StateError(
                "PERMISSION_DENIED", f'only operators and admins are allowed to modify "{type_name}" resources'
            )
