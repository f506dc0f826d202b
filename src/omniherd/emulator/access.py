"""Who may do what: the access rules of every resource type, with the texts of their refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from omniherd.emulator.access_table import ACCESS, ROLES, RPC_ACCESS
from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from omniherd.emulator.policies import Policies
    from omniherd.emulator.records import Stored

__all__ = [
    "SERVER_ROLES",
    "Principal",
    "Rules",
    "acting",
    "cluster_of",
    "insufficient",
    "is_cluster_bound",
    "is_newer",
    "rank",
    "refuse",
]

SERVER_ROLES = ("None", "InfraProvider", "Reader", "Operator", "Admin")
"""The roles of Omni v1.9.3, the lowest first; later versions have more."""

_MANAGEMENT_ONLY = frozenset({"Users.omni.sidero.dev", "Identities.omni.sidero.dev"})


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


def is_cluster_bound(type_name: str) -> bool:
    """Whether an access policy can open a type's resources, those of one cluster at a time."""
    return "cluster_scope" in ACCESS.get(type_name, ())


def cluster_of(resource: Stored) -> str:
    """Return the cluster that a resource belongs to for access policies, empty for none."""
    scope = ACCESS.get(resource.type, {}).get("cluster_scope")
    if scope == "id":
        return resource.id
    return resource.labels.get("omni.sidero.dev/cluster", "") if scope == "label" else ""


def acting(policies: Policies, principal: Principal, cluster: str, *, kind: bool = False) -> Principal:
    """Return a caller with the role that counts on a cluster.

    Args:
        policies: The access policy.
        principal: The caller.
        cluster: Id of the cluster, empty for none.
        kind: Whether a whole kind is asked for: without a cluster, only rules for all clusters count then.
    """
    if not cluster and not kind:
        return principal
    role, everywhere = policies.role(principal, cluster or "any")
    if role in {principal.role, "None"} or not (cluster or everywhere):
        return principal
    return replace(principal, role=role)


def rank(role: str) -> int:
    """Return where a role stands; an unknown one stands below all.

    Args:
        role: The name of a role.
    """
    return ROLES.index(role) if role in ROLES else -1


def is_newer(path: str) -> bool:
    """Whether a call came after v1.9.3.

    Args:
        path: The path of a method.
    """
    return "since" in RPC_ACCESS.get(path, ())


def insufficient(role: str) -> str:
    """Return the text for a caller whose role is too low."""
    return f'unauthorized: access denied: insufficient role: "{role}"'


def refuse(texts: list[str], code: str = "INVALID_ARGUMENT") -> StateError:
    """Return the error that carries the texts of validators, access refusals among them."""
    return StateError(code, f"failed to validate: {frame(texts)}")


def frame(texts: list[str]) -> str:
    """Return several texts as one, in the form that the server gives them."""
    texts = list(dict.fromkeys(texts))
    count = "1 error" if len(texts) == 1 else f"{len(texts)} errors"
    return f"{count} occurred:\n" + "".join(f"\t* {text}\n" for text in texts) + "\n"


def denied(text: str) -> str:
    """Return the text of an access refusal as it stands among those of validators."""
    return f"rpc error: code = PermissionDenied desc = {text}"


_OPEN = frozenset({"signed", "public"})


class Rules:
    """The rules for what users do; those of infra providers' namespaces are in `omniherd.emulator.providers`.

    Args:
        any_type: Whether types that Omni does not have are open to Admins.
        newer: Whether there are the types that came after v1.9.3.
    """

    def __init__(self, *, any_type: bool = False, newer: bool = False) -> None:
        self._any_type = any_type
        self._newer = newer

    def check(self, principal: Principal, verb: str, type_name: str) -> str | None:
        """Return why a call is refused, as a validator's text; None when it is allowed.

        Args:
            principal: The caller.
            verb: `read`, `create`, `update` or `destroy`.
            type_name: The full type name.
        """
        row = ACCESS.get(type_name)
        if row is not None and "since" in row and not self._newer:
            row = None
        if row is None and self._any_type and principal.role == "Admin":
            return None
        if type_name == "MachineRequestSetStatuses.omni.sidero.dev":
            least = "Reader" if verb == "read" else "Operator"
            low = rank(principal.role) < rank(least)
            return denied(insufficient(principal.role) if low else "access is not permitted")
        access: dict[str, str] = {} if row is None else row["access"]
        if not access:
            return denied("no access is permitted")
        needed = access.get(verb)
        if needed is None:
            return _missing_verb(principal, verb, type_name, access)
        if needed in _OPEN or rank(principal.role) >= rank(needed):
            return None
        return denied(insufficient(principal.role))


def _missing_verb(principal: Principal, verb: str, type_name: str, access: dict[str, str]) -> str:
    """Return the refusal of a verb that nobody has on a type: a low role is told so first."""
    if type_name == "EulaAcceptances.omni.sidero.dev":
        return denied("only read and create access is permitted for EULA acceptance")
    least = access.get("read") or access.get("destroy", "Admin")
    if least == "Reader":
        least = "Operator"
    if least not in _OPEN and rank(principal.role) < rank(least):
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
    if type_name == "ImportedClusterSecrets.omni.sidero.dev":
        return denied("only create and destroy access is permitted for imported cluster secrets")
    if "destroy" in access and verb != "destroy":
        return denied("only read and delete access is permitted")
    return denied("only read access is permitted")
