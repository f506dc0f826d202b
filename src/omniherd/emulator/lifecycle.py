"""What becomes of clusters: who holds them, which status resources stand beside them, how they are taken down.

The steps and their order are those of a real server. They happen at once: a cluster without machines of its own is as
far as it gets when its creation is answered, and gone when its teardown is, unless somebody else holds a part of it.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any

from omniherd.emulator.companions import CLUSTER_HOLDERS, CONTROL_PLANE_HOLDERS, MACHINE_SET_HOLDERS, accompany
from omniherd.emulator.finalizers import hold, release
from omniherd.emulator.records import CREATED, DESTROYED, RUNNING, TEARING_DOWN

if TYPE_CHECKING:
    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.store import Store

__all__ = ["Lifecycle"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
_CLUSTER = _L + "cluster"
_MACHINE_SET = _L + "machine-set"
_CONTROL_PLANE = _L + "role-controlplane"

# By the order in which a real server lets go: the last ones tell the end.
_LAST_TO_LEAVE = ("ClusterController", "ClusterDestroyStatusController", "ClusterStatusController")

_GONE_FIRST = ("ClusterEndpoints", "TalosUpgradeStatuses", "ClusterConfigVersions")
_GONE_LATER = (
    "ClusterUUIDs",
    "ClusterBootstrapStatuses",
    "ClusterKubernetesNodes",
    "ClusterWorkloadProxyStatuses",
    "ClusterSecretsRotationStatuses",
    "ClusterKubernetesManifestsStatuses",
    "KubernetesUpgradeManifestStatuses",
    "KubernetesUpgradeStatuses",
    "KubernetesStatuses",
    "ClusterStatuses",
)
_GONE_WITH_CLUSTER = (
    "ConfigPatches",
    "ExtensionsConfigurations",
    "KubernetesManifestGroups",
    "KubernetesHealthChecks",
)
_OF_A_CLUSTER_MACHINE = (
    "ClusterMachineStatuses",
    "ClusterMachineIdentities",
    "ClusterMachineTalosVersions",
    "ClusterMachineConfigPatches",
    "ClusterMachineConfigStatuses",
    "RedactedClusterMachineConfigs",
    "ClusterMachines",
)
_OF_A_MACHINE = (
    "LinkStatuses",
    "MachineStatuses",
    "MachineStatusLabels",
    "MachineStatusLinks",
    "MachineStatusSnapshots",
    "NodeUniqueTokenStatuses",
    "Machines",
)
_SCALING_UP = 1
_NOTHING_HASH = hashlib.sha256(b"").hexdigest()


class Lifecycle:
    """The controllers of clusters, machine sets and their machines.

    Args:
        store: What they watch and change.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._handlers = {
            "Clusters" + _O: self._cluster,
            "MachineSets" + _O: self._machine_set,
            "MachineSetNodes" + _O: self._machine_set_node,
            "ClusterMachineStatuses" + _O: self._cluster_machine_status,
            "ConfigPatches" + _O: self._config_patch,
            "Links" + _O: self._link,
        }

    def handle(self, event: Event) -> None:
        """Do what a change calls for."""
        if event.resource is None:
            return
        handler = self._handlers.get(event.resource.type)
        if handler is not None:
            handler(event, event.resource)

    # --- clusters ---------------------------------------------------------------------------------------------------

    def _cluster(self, event: Event, resource: Stored) -> None:
        if event.kind == DESTROYED:
            self._drop("LoadBalancerConfigs", resource.id)
            return
        if resource.phase == TEARING_DOWN:
            self._take_down_cluster(resource.id)
            return
        hold(self._store, resource, CLUSTER_HOLDERS)
        if event.kind == CREATED:
            accompany(self._store, resource, str(uuid.uuid4()))

    def _take_down_cluster(self, name: str) -> None:
        store = self._store
        store.remove("ephemeral", "UpgradeRollouts" + _O, name)
        for machine_set in self._of_cluster("MachineSets", name):
            if machine_set.phase == RUNNING:
                store.modify("default", machine_set.type, machine_set.id, phase=TEARING_DOWN)
        store.put(
            "ClusterDestroyStatuses" + _O,
            name,
            {"phase": self._destroy_phase(name)},
            owner="ClusterDestroyStatusController",
        )
        for kind in _GONE_FIRST:
            self._drop(kind, name)
        self._finish_cluster(name)

    def _destroy_phase(self, name: str) -> str:
        sets, nodes = len(self._of_cluster("MachineSets", name)), len(self._of_cluster("MachineSetNodes", name))
        return f"Destroying: {sets} machine sets, {nodes} machines"

    def _finish_cluster(self, name: str) -> None:
        """Let go of a cluster that is being taken down, once none of its machine sets is left."""
        store = self._store
        cluster = store.find("default", "Clusters" + _O, name)
        if cluster is None or cluster.phase != TEARING_DOWN or self._of_cluster("MachineSets", name):
            return
        for kind in _GONE_WITH_CLUSTER:
            for one in self._of_cluster(kind, name):
                if one.owner:
                    store.remove("default", one.type, one.id)
                elif one.phase == RUNNING:
                    store.modify("default", one.type, one.id, phase=TEARING_DOWN)
        if any(not patch.owner for patch in self._of_cluster("ConfigPatches", name) if patch.finalizers):
            return
        for kind in (*_GONE_LATER, "ClusterDestroyStatuses", "LoadBalancerStatuses"):
            self._drop(kind, name)
        store.remove("metrics", "EtcdBackupStatuses" + _O, name)
        order = [holder for holder in CLUSTER_HOLDERS if holder not in _LAST_TO_LEAVE]
        release(store, cluster, (*order, *_LAST_TO_LEAVE))

    def _of_cluster(self, kind: str, cluster: str) -> list[Stored]:
        return self._store.list("default", kind + _O, lambda found: found.labels.get(_CLUSTER) == cluster)

    def _drop(self, kind: str, id_: str) -> None:
        from omniherd.emulator.forms import default_namespace

        type_name = kind + _O
        self._store.remove(default_namespace(type_name), type_name, id_)

    def _config_patch(self, event: Event, resource: Stored) -> None:
        if event.kind == DESTROYED and _CLUSTER in resource.labels:
            self._finish_cluster(resource.labels[_CLUSTER])

    # --- machine sets -----------------------------------------------------------------------------------------------

    def _machine_set(self, event: Event, resource: Stored) -> None:
        cluster = resource.labels.get(_CLUSTER, "")
        if event.kind == DESTROYED:
            self._tell_cluster(cluster)
            self._finish_cluster(cluster)
            return
        if resource.phase == TEARING_DOWN:
            self._take_down_machine_set(resource)
            return
        control_plane = _CONTROL_PLANE in resource.labels
        hold(self._store, resource, MACHINE_SET_HOLDERS + (CONTROL_PLANE_HOLDERS if control_plane else ()))
        if event.kind == CREATED:
            put = self._store.put
            put("ClusterSecretsRotationStatuses" + _O, cluster, owner="SecretRotationStatusController")
            put(
                "KubernetesUpgradeManifestStatuses" + _O,
                cluster,
                owner="KubernetesUpgradeManifestStatusController",
            )
        self._tell_machine_set(resource.id)
        self._tell_cluster(cluster)

    def _take_down_machine_set(self, resource: Stored) -> None:
        store = self._store
        store.put(
            "MachineSetDestroyStatuses" + _O,
            resource.id,
            {"phase": f"Destroying: {len(self._nodes(resource.id))} machines"},
            owner="MachineSetDestroyStatusController",
        )
        for node in self._nodes(resource.id):
            if node.phase == RUNNING:
                store.modify("default", node.type, node.id, phase=TEARING_DOWN)
        self._finish_machine_set(resource.id)

    def _finish_machine_set(self, id_: str) -> None:
        store = self._store
        machine_set = store.find("default", "MachineSets" + _O, id_)
        if machine_set is None or machine_set.phase != TEARING_DOWN or self._nodes(id_):
            return
        for kind in ("MachineSetStatuses", "ControlPlaneStatuses", "MachineSetDestroyStatuses"):
            self._drop(kind, id_)
        release(store, machine_set, MACHINE_SET_HOLDERS + CONTROL_PLANE_HOLDERS)

    def _nodes(self, machine_set: str) -> list[Stored]:
        return self._store.list(
            "default", "MachineSetNodes" + _O, lambda found: found.labels.get(_MACHINE_SET) == machine_set
        )

    def _tell_machine_set(self, id_: str) -> None:
        """Write the status of a machine set anew."""
        store = self._store
        machine_set = store.find("default", "MachineSets" + _O, id_)
        if machine_set is None or machine_set.phase != RUNNING:
            return
        counts = self._counts(self._nodes(id_))
        control_plane = _CONTROL_PLANE in machine_set.labels
        allocation = machine_set.decode().machine_allocation
        # A set with a class wants machines that are not picked yet.
        wanted = max(counts["requested"], allocation.machine_count)
        fields: dict[str, Any] = {"machines": counts, "config_hash": _NOTHING_HASH}
        if control_plane and not wanted:
            fields |= {"phase": "Failed", "error": "control plane machine set must have at least one node"}
        elif counts["total"] < wanted:
            fields |= {"phase": "ScalingUp"}
        else:
            fields |= {"phase": "Running", "ready": counts["healthy"] == counts["requested"]}
        store.put(
            "MachineSetStatuses" + _O,
            id_,
            fields,
            owner="MachineSetStatusController",
            labels={key: value for key, value in machine_set.labels.items() if key.startswith(_L)},
            finalizers=("ClusterStatusController",),
        )

    def _counts(self, nodes: list[Stored]) -> dict[str, int]:
        statuses = [self._store.find("default", "ClusterMachineStatuses" + _O, node.id) for node in nodes]
        present = [status for status in statuses if status is not None]
        return {
            "total": len(present),
            "healthy": sum(status.decode().ready for status in present),
            "connected": sum(_L + "connected" in status.labels for status in present),
            "requested": len(nodes),
        }

    def _tell_cluster(self, name: str) -> None:
        """Write the machine counts and the phase of a cluster's status anew."""
        store = self._store
        status = store.find("default", "ClusterStatuses" + _O, name)
        cluster = store.find("default", "Clusters" + _O, name)
        if status is None or cluster is None or cluster.phase != RUNNING:
            return
        counts = self._counts(self._of_cluster("MachineSetNodes", name))
        spec = status.decode()
        spec.machines.Clear()
        for key, value in counts.items():
            setattr(spec.machines, key, value)
        spec.machines.SetInParent()
        growing = any(found.decode().phase == _SCALING_UP for found in self._of_cluster("MachineSetStatuses", name))
        spec.phase = 1 if growing or counts["total"] < counts["requested"] else 3
        spec.ready = bool(counts["total"]) and counts["healthy"] == counts["requested"]
        data = spec.SerializeToString(deterministic=True)
        if data != status.spec:
            store.modify("default", status.type, name, spec=data)
        quota = {found.id: 1 for found in self._of_cluster("MachineSets", name) if found.phase == RUNNING}
        store.put(
            "UpgradeRollouts" + _O,
            name,
            {"machine_sets_upgrade_quota": quota},
            owner="TalosUpgradeStatusController",
        )

    # --- machines ---------------------------------------------------------------------------------------------------

    def _machine_set_node(self, event: Event, resource: Stored) -> None:
        machine_set = resource.labels.get(_MACHINE_SET, "")
        cluster = resource.labels.get(_CLUSTER, "")
        if event.kind == DESTROYED:
            self._finish_machine_set(machine_set)
        elif resource.phase == TEARING_DOWN:
            for kind in _OF_A_CLUSTER_MACHINE:
                self._drop(kind, resource.id)
            self._free_machine(resource.id)
            release(self._store, resource, ("MachineSetStatusController",))
        else:
            hold(self._store, resource, ("MachineSetStatusController",))
        self._tell_machine_set(machine_set)
        self._tell_cluster(cluster)

    def _cluster_machine_status(self, event: Event, resource: Stored) -> None:
        """Count anew when a machine of a cluster changes how it is."""
        if event.kind != DESTROYED:
            self._tell_machine_set(resource.labels.get(_MACHINE_SET, ""))
            self._tell_cluster(resource.labels.get(_CLUSTER, ""))

    def _free_machine(self, id_: str) -> None:
        """Take the marks of a cluster off a machine that left it."""
        store = self._store
        of_cluster = {_CLUSTER, _MACHINE_SET, _CONTROL_PLANE, _L + "role-worker", _L + "installed"}
        for kind in ("MachineStatuses", "MachineStatusLabels"):
            found = store.find("default", kind + _O, id_)
            if found is None:
                continue
            labels = {key: value for key, value in found.labels.items() if key not in of_cluster}
            changes: dict[str, Any] = {"labels": {**labels, _L + "available": ""}}
            if kind == "MachineStatuses":
                spec = found.decode()
                spec.cluster = ""
                spec.role = 0
                spec.maintenance = True
                changes["spec"] = spec.SerializeToString(deterministic=True)
            store.modify("default", found.type, id_, **changes)

    def _link(self, event: Event, resource: Stored) -> None:
        """Forget a machine whose link is removed."""
        if event.kind != DESTROYED and resource.phase == RUNNING:
            return
        for kind in _OF_A_MACHINE:
            self._drop(kind, f"{resource.id}/Links{_O}" if kind == "LinkStatuses" else resource.id)
        if event.kind != DESTROYED:
            release(self._store, resource, resource.finalizers)
