"""Resources of Talos on the machines of a cluster, as ResourceService reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.access import acting, insufficient, rank
from omniherd.emulator.records import StateError
from omniherd.emulator.talos.node_resources import SENSITIVE

if TYPE_CHECKING:
    from omniherd.emulator.policies import Policies
    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming
    from omniherd.emulator.store import Store
    from omniherd.emulator.talos.machines import Machines

__all__ = ["OfNodes"]


class OfNodes:
    """The reads.

    Args:
        store: The state of Omni.
        machines: The emulated machines.
        policies: Roles that an access policy gives on clusters.
    """

    def __init__(self, store: Store, machines: Machines, policies: Policies) -> None:
        self._store = store
        self._machines = machines
        self._policies = policies

    def get(self, call: Incoming, namespace: str, type_name: str, id_: str) -> tuple[Stored, str]:
        """Return a resource, and the machine it is on as the caller named it; empty for none.

        Raises:
            StateError: The caller may not see it, or it is not there.
        """
        node, store = self._stores(call, type_name)[0]
        return store.get(namespace, type_name, id_), node

    def list_all(self, call: Incoming, namespace: str, type_name: str) -> list[tuple[Stored, str]]:
        """Return the resources of a kind on each machine that the caller names, the same way.

        Raises:
            StateError: The caller may not see them, or a machine is not there.
        """
        return [
            (one, node) for node, store in self._stores(call, type_name) for one in store.list(namespace, type_name)
        ]

    def _stores(self, call: Incoming, type_name: str) -> list[tuple[str, Store]]:
        cluster = call.header("cluster") or call.header("context") or ""
        role = acting(self._policies, call.principal, cluster).role
        if rank(role) < rank("Reader"):
            raise StateError("PERMISSION_DENIED", insufficient(role))
        try:
            self._store.get("default", "ClusterEndpoints.omni.sidero.dev", cluster)
        except StateError as error:
            raise StateError(error.code, f"talos API client is not available: {error.message}") from None
        machines = self._machines
        names = [name for key, value in call.metadata if key == "nodes" for name in value.split(",")]
        nodes = [(name, machines.nodes.resolve(cluster, name)) for name in names]
        nodes = nodes or [("", machines.nodes.control_planes(cluster)[0])]
        for _, node in nodes:
            machines.running.check(node)
        if type_name == SENSITIVE:
            raise StateError("PERMISSION_DENIED", "not authorized")
        return [(name, machines.resources.store(node)) for name, node in nodes]
