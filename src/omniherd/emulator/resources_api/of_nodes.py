"""Resources of Talos on the machines of a cluster, as ResourceService reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.access import acting, insufficient, rank
from omniherd.emulator.records import StateError
from omniherd.emulator.talos.node_resources import SENSITIVE

if TYPE_CHECKING:
    from omniherd.emulator.policies import Policies
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

    def stores(self, call: Incoming, type_name: str) -> list[tuple[str, Store]]:
        """Return the resources of each machine that a call names, by that name; of the cluster's first for none.

        Raises:
            StateError: The caller may not see the type, or a machine is not there.
        """
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
