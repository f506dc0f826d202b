"""The machines that calls can be let through to, and which of them is meant by an id, a name or an address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["Node", "Nodes"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
_IDENTITIES = "ClusterMachineIdentities" + _O
_STATUSES = "MachineStatuses" + _O
_MEMBERS = "ClusterMachines" + _O
_ENDPOINTS = "ClusterEndpoints" + _O
_REBOOTING = 7  # ClusterMachineStatusSpec.REBOOTING
_MISSING = "node not found, cannot resolve its management address"


@dataclass(frozen=True, slots=True)
class Node:
    """A machine, as the resources of the store tell of it.

    Attributes:
        id: Its id.
        cluster: The cluster that it belongs to; empty for a free machine.
        name: Its name in Kubernetes, or its host name while it has none there.
        address: Its address in Omni's own network.
        address_in_cluster: Its address among the nodes; the other one while it is not known.
        control_plane: Whether it is a control plane of its cluster.
        connected: Whether Omni reaches it.
        joined: When it joined, in seconds since 1970.
        status: The spec of its MachineStatuses resource.
        identity: The id that it has as a member of its cluster; empty for a free machine.
        kubernetes: The Kubernetes version of its cluster; empty for a free machine.
        rebooting: Whether Omni sees it reboot.
    """

    id: str
    cluster: str
    name: str
    address: str
    address_in_cluster: str
    control_plane: bool
    connected: bool
    joined: int
    status: Any
    identity: str = ""
    kubernetes: str = ""
    rebooting: bool = False

    @property
    def version(self) -> str:
        """Its Talos version, with a leading `v`."""
        return str(self.status.talos_version)


class Nodes:
    """The machines of a store.

    Args:
        store: The state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def resolve(self, cluster: str, name: str) -> Node:
        """Return the machine that a name means.

        Args:
            cluster: Where to look, empty for everywhere.
            name: An id, a name in Kubernetes or an address.

        Raises:
            StateError: `NOT_FOUND`, or `INVALID_ARGUMENT` for a name that several machines have; without the words
                that the server puts before it.
        """
        if not name:
            raise StateError("INVALID_ARGUMENT", "empty node value")
        found = self.node(name)
        if found is None:
            matching = [node for id_ in self._named(name) if (node := self.node(id_)) is not None]
            if cluster:
                matching = [node for node in matching if node.cluster == cluster]
            if len(matching) > 1:
                text = f'name or address "{name}" is ambiguous, please specify the cluster name explicitly'
                raise StateError("INVALID_ARGUMENT", text)
            found = matching[0] if matching else None
        if found is None or (cluster and found.cluster not in {"", cluster}):
            raise StateError("NOT_FOUND", _MISSING)
        return found

    def _named(self, name: str) -> list[str]:
        named = [
            one.id
            for one in self._store.list("default", _IDENTITIES)
            if (spec := one.decode()).nodename == name or name in spec.node_ips
        ]
        return named or [
            one.id for one in self._store.list("default", _STATUSES) if one.decode().management_address == name
        ]

    def node(self, id_: str) -> Node | None:
        """Return the machine of an id; None when there is none."""
        status = self._store.find("default", _STATUSES, id_)
        if status is None:
            return None
        spec = status.decode()
        member = self._store.find("default", _MEMBERS, id_)
        labels: Mapping[str, str] = {} if member is None else member.labels
        cluster = labels.get(_L + "cluster", "")
        known = self._identity(id_) if cluster else None
        ips = [] if known is None else list(known.node_ips)
        name = (known.nodename if known is not None else "") or spec.network.hostname or id_
        return Node(
            id_,
            cluster,
            name,
            spec.management_address,
            ips[0] if ips else spec.management_address,
            _L + "role-controlplane" in labels,
            spec.connected,
            status.created[0],
            spec,
            known.node_identity if known is not None else "",
            member.decode().kubernetes_version if member is not None else "",
            self._stage(id_) == _REBOOTING,
        )

    def _stage(self, id_: str) -> int:
        found = self._store.find("default", "ClusterMachineStatuses" + _O, id_)
        return 0 if found is None else found.decode().stage

    def _identity(self, id_: str) -> Any | None:
        found = self._store.find("default", _IDENTITIES, id_)
        return None if found is None else found.decode()

    def members(self, cluster: str) -> list[Node]:
        """Return the machines of a cluster that have become nodes, sorted by id."""
        if not cluster:
            return []

        def belongs(one: Stored) -> bool:
            return one.labels.get(_L + "cluster") == cluster

        found = [self.node(one.id) for one in self._store.list("default", _IDENTITIES, belongs)]
        return [node for node in found if node is not None and node.cluster == cluster]

    def control_planes(self, cluster: str) -> list[Node]:
        """Return the machines that answer for a cluster.

        Raises:
            StateError: `UNAVAILABLE`: the cluster has none.
        """
        endpoint = self._store.find("default", _ENDPOINTS, cluster)
        if endpoint is None:
            raise StateError("UNAVAILABLE", f'cluster "{cluster}" endpoint not found')
        planes = [node for node in self.members(cluster) if node.control_plane]
        wanted = set(endpoint.decode().management_addresses)
        found = [node for node in planes if not wanted or node.address in wanted]
        if not found:
            raise StateError("UNAVAILABLE", f'cluster "{cluster}" has no management addresses')
        return found
