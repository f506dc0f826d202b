"""Clusters and machine sets: what comes up beside them, their load balancer, and how they are taken down."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from omniherd.emulator.companions import CLUSTER_HOLDERS, CONTROL_PLANE_HOLDERS, MACHINE_SET_HOLDERS, accompany
from omniherd.emulator.records import CREATED, RUNNING, TEARING_DOWN
from omniherd.emulator.simulation.world import CLUSTER, CLUSTER_MACHINE, CONTROL_PLANE, MACHINE_SET

if TYPE_CHECKING:
    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.simulation.kubernetes import Kubernetes
    from omniherd.emulator.simulation.patches import Patches
    from omniherd.emulator.simulation.world import World

__all__ = ["Clusters", "destroying"]

_BALANCE, _BALANCE_DOWN, _BALANCE_UP = 0.1, 0.4, 17.0
_BALANCE_GONE = 0.3

# Who lets go of a cluster, by when.
_FIRST_TO_LEAVE = (
    "ClusterWorkloadProxyController",
    "BackupDataController",
    "ClusterConfigVersionController",
    "ClusterWorkloadProxyStatusController",
    "TalosUpgradeStatusController",
    "KubernetesUpgradeStatusController",
    "ClusterKubernetesManifestsStatusController",
    "ClusterEndpointController",
)
# Who lets go of a machine set while its machines are still there: one of control planes, and others.
_EARLY_PLANES = (
    "MachineSetController",
    "ClusterBootstrapStatusController",
    "MachineSetEtcdAuditController",
    "MachineProvisionController",
    "MachineSetNodeController",
    "ControlPlaneStatusController",
)
_EARLY = (
    "ControlPlaneStatusController",
    "MachineProvisionController",
    "MachineSetController",
    "MachineSetNodeController",
)
_GONE_FIRST = (
    "ClusterConfigVersions",
    "ClusterWorkloadProxyStatuses",
    "ClusterEndpoints",
    "TalosUpgradeStatuses",
    "KubernetesUpgradeStatuses",
    "ClusterKubernetesManifestsStatuses",
    "UpgradeRollouts",
    "ImagePullStatuses",
)
_GONE_LAST = ("ClusterSecretsRotationStatuses", "KubernetesUpgradeManifestStatuses")


def destroying(machines: int, sets: int | None = None) -> str:
    """Return what a cluster or machine set says while it is taken down.

    Args:
        machines: How many machines are left.
        sets: How many machine sets are left; None for a machine set itself.
    """
    parts = [] if sets is None else [f"{sets} machine set{'' if sets == 1 else 's'}"]
    parts.append(f"{machines} machine{'' if machines == 1 else 's'}")
    return f"Destroying: {', '.join(parts)}"


class Clusters:
    """Looks after clusters and machine sets.

    Args:
        world: What they live in.
        kubernetes: What runs on them.
        patches: What gives machines their configuration.
    """

    def __init__(self, world: World, kubernetes: Kubernetes, patches: Patches) -> None:
        self._world = world
        self._patches = patches
        self._kubernetes = kubernetes

    # --- coming up --------------------------------------------------------------------------------------------------

    def cluster_changed(self, event: Event, cluster: Stored) -> None:
        """Hold a cluster, and put beside a new one what comes with it."""
        world = self._world
        world.hold("Clusters", cluster.id, *CLUSTER_HOLDERS)
        if event.kind == CREATED:
            identity = uuid.UUID(int=world.chance.getrandbits(128), version=4)
            accompany(world.store, cluster, str(identity))

    def set_changed(self, machine_set: Stored) -> None:
        """Hold a machine set."""
        control_plane = CONTROL_PLANE in machine_set.labels
        self._world.hold(
            "MachineSets", machine_set.id, *MACHINE_SET_HOLDERS, *(CONTROL_PLANE_HOLDERS if control_plane else ())
        )

    def set_created(self, machine_set: Stored) -> None:
        """Put beside a new machine set what comes with it."""
        world, cluster = self._world, machine_set.labels.get(CLUSTER, "")
        world.put("ClusterSecretsRotationStatuses", cluster, owner="SecretRotationStatusController")
        world.put("KubernetesUpgradeManifestStatuses", cluster, owner="KubernetesUpgradeManifestStatusController")

    # --- load balancer ----------------------------------------------------------------------------------------------

    def planes_changed(self, cluster: str) -> None:
        """Lead the load balancer of a cluster to its control planes."""
        world = self._world
        if world.running("Clusters", cluster) is None:
            return
        machines = [world.machines[id_] for id_ in world.control_planes(cluster) if id_ in world.machines]
        addresses = [machine.plan.address for machine in machines]
        before = world.spec("ClusterEndpoints", cluster)
        world.change("ClusterEndpoints", cluster, management_addresses=addresses)
        world.change("LoadBalancerConfigs", cluster, endpoints=[f"[{address}]:6443" for address in addresses])
        if before is not None and not before.management_addresses and addresses:
            world.soon(_BALANCE, lambda: self._balance(cluster, healthy=True))

    def plane_configured(self, cluster: str) -> None:
        """Lose the load balancer's target: the first control plane starts anew with its configuration."""
        found = self._world.spec("ClusterBootstrapStatuses", cluster)
        if found is not None and not found.bootstrapped:
            self._balance(cluster, healthy=False)

    def bootstrapped(self, cluster: str) -> None:
        """Plan that Kubernetes answers through the load balancer."""
        self._kubernetes.bootstrapped(cluster)
        self._world.soon(_BALANCE_UP, lambda: self._balance(cluster, healthy=True))

    def look_at_balancer(self, cluster: str) -> None:
        """Say what the load balancer of a cluster finds behind it."""
        world = self._world
        if world.running("Clusters", cluster) is None:
            return
        planes = [world.machines[id_] for id_ in world.control_planes(cluster) if id_ in world.machines]
        if planes and not any(machine.seen for machine in planes):
            world.change("LoadBalancerStatuses", cluster, healthy=False, stopped=True)
        elif planes and all(machine.away for machine in planes):
            world.change("LoadBalancerStatuses", cluster, healthy=False)
        elif planes and world.find("KubernetesStatuses", cluster) is not None:
            world.change("LoadBalancerStatuses", cluster, healthy=True, stopped=False)

    def _balance(self, cluster: str, *, healthy: bool) -> None:
        world = self._world
        if world.running("Clusters", cluster) is None:
            return
        world.change("LoadBalancerStatuses", cluster, healthy=healthy, stopped=False)
        if world.find("KubernetesStatuses", cluster) is not None:
            owner = "ClusterKubernetesManifestsStatusController"
            world.put("ClusterKubernetesManifestsStatuses", cluster, owner=owner)

    # --- a cluster goes ---------------------------------------------------------------------------------------------

    def cluster_leaving(self, name: str) -> None:
        """Begin to take a cluster down: its workers first."""
        world = self._world
        self._kubernetes.forget(name)
        self._tell(name)
        self._take_sets_down(name)
        for id_ in world.members_of(name):
            world.release("ClusterMachineStatuses", id_, "ClusterWorkloadProxyStatusController")
        for id_ in sorted(world.patches[name]):
            patch = world.find("ConfigPatches", id_)
            if patch is not None and patch.owner == "KubernetesUpgradeStatusController":
                world.remove("ConfigPatches", id_)
        for id_ in world.control_planes(name):
            self._patches.regenerate(id_)
        world.remove("ImagePullRequests", name)
        for kind in _GONE_FIRST:
            world.end(kind, name)
        world.change("LoadBalancerConfigs", name, endpoints=[])
        world.soon(_BALANCE_GONE, lambda: world.change("LoadBalancerStatuses", name, healthy=False))
        for id_ in world.members_of(name):
            world.end("ClusterMachineTalosVersions", id_)
        world.release("Clusters", name, *_FIRST_TO_LEAVE)
        self.finish_cluster(name)

    def _take_sets_down(self, name: str) -> None:
        """Tear down the machine sets of workers, and those of control planes when no others are left."""
        world = self._world
        sets = world.sets_of(name)
        workers = [id_ for id_ in sets if not world.is_control_plane(id_)]
        for id_ in workers or sets:
            world.tear_down("MachineSets", id_)

    def _tell(self, name: str) -> None:
        world = self._world
        sets = [id_ for id_ in world.sets_of(name) if world.find("MachineSetStatuses", id_) is not None]
        world.put(
            "ClusterDestroyStatuses",
            name,
            {"phase": destroying(len(world.members_of(name)), len(sets))},
            owner="ClusterDestroyStatusController",
        )

    def finish_cluster(self, name: str) -> None:
        """Let go of a cluster that is taken down, once nothing of it is left."""
        world, cluster = self._world, self._world.find("Clusters", name)
        if cluster is None or cluster.phase == RUNNING:
            return
        if world.sets_of(name):
            self._take_sets_down(name)
            return
        patches = [world.find("ConfigPatches", id_) for id_ in sorted(world.patches[name])]
        users = [patch.id for patch in patches if patch is not None and not patch.owner]
        for id_ in users:
            world.tear_down("ConfigPatches", id_)
        if users:
            return  # the last one that goes leads here again
        for kind in _GONE_LAST:
            world.end(kind, name)
        world.release("Clusters", name, "SecretsController")
        world.remove("KubernetesStatuses", name)
        world.release("Clusters", name, "ClusterController")
        world.end("ClusterKubernetesNodes", name)
        world.end("ClusterUUIDs", name, "ClusterDiagnosticsController", "EtcdBackupEncryptionController")
        world.release("Clusters", name, "ClusterUUIDController")
        world.end("EtcdBackupStatuses", name)
        world.end("ClusterDestroyStatuses", name)
        world.release("Clusters", name, "ClusterDestroyStatusController")
        world.end("ClusterBootstrapStatuses", name)
        for id_ in sorted(world.patches[name]):
            world.end("ConfigPatches", id_)
        world.end("ClusterStatuses", name)
        world.release("Clusters", name, "ClusterStatusController")

    def cluster_gone(self, name: str) -> None:
        """Write off the load balancer of a cluster that is gone."""
        self._world.remove("LoadBalancerStatuses", name)
        self._world.end("LoadBalancerConfigs", name)

    # --- a machine set goes -----------------------------------------------------------------------------------------

    def set_leaving(self, machine_set: Stored) -> None:
        """Begin to take a machine set down."""
        world, id_ = self._world, machine_set.id
        self._tell_set(id_)
        cluster = machine_set.labels.get(CLUSTER, "")
        for node in sorted(world.nodes[id_]):
            world.tear_down("MachineSetNodes", node)
        if CONTROL_PLANE in machine_set.labels:
            world.end("ControlPlaneStatuses", id_)
            world.change("ClusterBootstrapStatuses", cluster, bootstrapped=False)
            world.change("LoadBalancerStatuses", cluster, healthy=False, stopped=True)
        world.release("MachineSets", id_, *(_EARLY_PLANES if CONTROL_PLANE in machine_set.labels else _EARLY))
        for patch_id in sorted(world.patches[cluster]):
            patch = world.find("ConfigPatches", patch_id)
            if patch is not None and patch.labels.get(MACHINE_SET) == id_ and CLUSTER_MACHINE not in patch.labels:
                world.tear_down("ConfigPatches", patch_id)
        self.finish_set(id_)

    def _tell_set(self, id_: str) -> None:
        world = self._world
        world.put(
            "MachineSetDestroyStatuses",
            id_,
            {"phase": destroying(len(world.members[id_]))},
            owner="MachineSetDestroyStatusController",
        )

    def member_gone(self, member: Stored) -> None:
        """Count what is left of a machine set and a cluster that are taken down."""
        world, machine_set = self._world, member.labels.get(MACHINE_SET, "")
        if world.find("MachineSetDestroyStatuses", machine_set) is not None:
            self._tell_set(machine_set)
        if world.find("ClusterDestroyStatuses", member.labels.get(CLUSTER, "")) is not None:
            self._tell(member.labels.get(CLUSTER, ""))
        # What counts the machines of the set writes before it goes.
        world.soon(0, lambda: self.finish_set(machine_set))

    def finish_set(self, id_: str) -> None:
        """Let go of a machine set that is taken down, once none of its machines is left."""
        world = self._world
        found = world.find("MachineSets", id_)
        if found is None or found.phase != TEARING_DOWN or world.members[id_] or world.nodes[id_]:
            return
        world.end("MachineSetStatuses", id_)
        world.release("MachineSets", id_, "MachineSetStatusController")
        cluster = found.labels.get(CLUSTER, "")
        if world.find("ClusterDestroyStatuses", cluster) is not None:
            self._tell(cluster)
        world.end("MachineSetDestroyStatuses", id_)
        world.release("MachineSets", id_, "MachineSetDestroyStatusController")
