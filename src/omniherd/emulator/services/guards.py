"""Who may make a call of the management service, and which cluster it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import acting, insufficient, rank
from omniherd.emulator.access_table import RPC_ACCESS
from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from omniherd.emulator.policies import Policies
    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming
    from omniherd.emulator.store import Store

__all__ = ["PREFIX", "Gate", "check_machine", "cluster_of", "found", "missing_here"]

PREFIX = "/management.ManagementService/"


class Gate:
    """Looks whether a caller's role reaches what a method wants, on the cluster that the call is about.

    Args:
        store: The state.
        policies: Roles that an access policy gives on clusters.
    """

    def __init__(self, store: Store, policies: Policies) -> None:
        self._store = store
        self._policies = policies

    def role(self, call: Incoming, request: Any) -> str:
        """Return the role that counts for a call.

        Raises:
            StateError: `UNAUTHENTICATED`.
        """
        return acting(self._policies, call.principal, self._cluster(call, request)).role

    def require(self, call: Incoming, request: Any) -> None:
        """Refuse a caller whose role does not reach what the method wants.

        Raises:
            StateError: `PERMISSION_DENIED`, or `UNAUTHENTICATED`.
        """
        role = self.role(call, request)
        row: dict[str, Any] = RPC_ACCESS[call.path]
        allowed = role in row["roles"] if "roles" in row else rank(role) >= rank(row.get("role", "Admin"))
        if not allowed:
            raise StateError("PERMISSION_DENIED", insufficient(role))

    def _cluster(self, call: Incoming, request: Any) -> str:
        where = RPC_ACCESS[call.path].get("cluster")
        if where == "metadata":
            return cluster_of(call)
        if where == "in request":
            return str(request.cluster)
        if where == "by machine":
            member = self._store.find("default", "ClusterMachines.omni.sidero.dev", request.machine_id)
            return "" if member is None else member.labels.get("omni.sidero.dev/cluster", "")
        return ""


def cluster_of(call: Incoming) -> str:
    """Return the cluster that a call's metadata name; empty for none."""
    return call.header("cluster") or call.header("context") or ""


def check_machine(machine: str) -> None:
    """Refuse a call that names no machine.

    Raises:
        StateError: `INVALID_ARGUMENT`.
    """
    if not machine:
        raise StateError("INVALID_ARGUMENT", "machine id is required")


def found(store: Store, namespace: str, type_name: str, id_: str) -> Stored:
    """Return a resource that a call of this service needs.

    Raises:
        StateError: `UNKNOWN`: this service does not translate the state's errors.
    """
    try:
        return store.get(namespace, type_name, id_)
    except StateError as error:
        raise StateError("UNKNOWN", error.message) from None


def missing_here(call: Incoming, what: str) -> StateError:
    """Return the refusal of what the emulator does not do.

    Args:
        call: The call.
        what: What it does not do, to follow "the emulator does not".
    """
    return StateError("UNIMPLEMENTED", f"{call.path}: the emulator does not {what}")
