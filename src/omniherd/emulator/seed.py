"""The fleet that the emulator starts with: three clusters on nine of twelve machines, always the same."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omniherd.emulator.catalog import JOIN_TOKEN, kernel_args
from omniherd.emulator.versions import kubernetes_upgrades, talos_upgrades

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = [
    "OUTSIDE",
    "ClusterPlan",
    "MachinePlan",
    "add_cluster",
    "add_cluster_machine",
    "add_fleet",
    "add_machine",
    "plan_of",
]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"

CLUSTER_FINALIZERS = (
    "ClusterController",
    "ClusterWorkloadProxyStatusController",
    "KubernetesUpgradeStatusController",
    "BackupDataController",
    "ClusterStatusController",
    "ClusterConfigVersionController",
    "ClusterDestroyStatusController",
    "SecretsController",
    "ClusterUUIDController",
    "ClusterEndpointController",
    "TalosUpgradeStatusController",
    "ClusterWorkloadProxyController",
    "ClusterKubernetesManifestsStatusController",
)
"""Who holds a cluster once the server has seen it."""

MACHINE_SET_FINALIZERS = (
    "MachineSetController",
    "ControlPlaneStatusController",
    "MachineSetStatusController",
    "MachineProvisionController",
    "MachineSetDestroyStatusController",
)
"""Who holds a machine set once the server has seen it."""

OUTSIDE = 63_745
"""The number of the first machine that stands outside; they have a network of their own, 192.0.251.0/24."""


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """A machine of the fleet.

    Attributes:
        number: Its place in the fleet; id, addresses and names follow from it.
        hostname: Its name.
        cores: Processor cores.
        memory: Memory in GiB.
        arch: `amd64` or `arm64`.
        platform: Where it runs, `metal` or a cloud.
        labels: Labels given by users.
        connected: Whether it answers.
    """

    number: int
    hostname: str
    cores: int = 8
    memory: int = 32
    arch: str = "amd64"
    platform: str = "metal"
    labels: dict[str, str] = field(default_factory=dict[str, str])
    connected: bool = True

    @property
    def id(self) -> str:
        """The id, a machine's UUID."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"machine-{self.number}.fleet.example"))

    @property
    def address(self) -> str:
        """Its address in the server's own network."""
        return f"fdae:41e4:649b:9303:c87:a304:3e04:{self.number:x}"

    @property
    def outside(self) -> str:
        """Its address in the network that it stands in."""
        return f"192.0.{2 + self.number // 256}.{self.number % 256}"


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """A cluster of the fleet.

    Attributes:
        name: Its id.
        kubernetes: Kubernetes version.
        talos: Talos version.
        labels: Labels given by users.
        control_planes: Its control plane machines.
        workers: Its worker machines.
        annotations: Annotations.
    """

    name: str
    kubernetes: str
    talos: str
    labels: dict[str, str]
    control_planes: tuple[MachinePlan, ...]
    workers: tuple[MachinePlan, ...]
    annotations: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def machines(self) -> tuple[MachinePlan, ...]:
        """All its machines."""
        return self.control_planes + self.workers


def _plans() -> tuple[tuple[ClusterPlan, ...], tuple[MachinePlan, ...]]:
    fra = {"site": "fra", "environment": "production"}
    lab = {"site": "lab", "environment": "test"}
    prod = ClusterPlan(
        "prod",
        "1.35.5",
        "1.13.4",
        {"env": "prod", "team": "platform"},
        tuple(MachinePlan(number, f"fra-cp-{number}", labels=fra) for number in (1, 2, 3)),
        tuple(MachinePlan(number, f"fra-worker-{number - 3}", 32, 128, labels=fra) for number in (4, 5)),
        {_L + "managed-by-cluster-templates": ""},
    )
    staging = ClusterPlan(
        "staging",
        "1.36.0",
        "1.13.5",
        {"env": "staging", "team": "platform"},
        (MachinePlan(6, "ams-cp-1", platform="hcloud", labels={"site": "ams", "environment": "staging"}),),
        (MachinePlan(7, "ams-worker-1", platform="hcloud", labels={"site": "ams", "environment": "staging"}),),
    )
    edge = ClusterPlan(
        "edge-lab",
        "1.34.3",
        "1.12.8",
        {"env": "test", "retired": ""},
        (MachinePlan(8, "lab-cp-1", 4, 8, "arm64", labels=lab),),
        (MachinePlan(9, "lab-worker-1", 4, 8, "arm64", labels=lab, connected=False),),
    )
    free = (
        MachinePlan(10, "spare-1", labels={"site": "fra"}),
        MachinePlan(11, "spare-2", 16, 64, labels={"site": "ams", "gpu": "true"}),
        MachinePlan(12, "spare-3", 4, 8, "arm64", labels=lab),
    )
    return (prod, staging, edge), free


def add_fleet(store: Store) -> None:
    """Store the fleet."""
    clusters, free = _plans()
    for cluster in clusters:
        add_cluster(store, cluster)
    for machine in free:
        add_machine(store, machine)
    store.put("MachineClasses" + _O, "arm-small", {"match_labels": [_L + "arch = arm64", _L + "cores < 8"]})
    store.put("MachineClasses" + _O, "gpu", {"match_labels": ["gpu = true"]})
    store.put(
        "ConfigPatches" + _O,
        "500-prod-ntp",
        {"data": "machine:\n  time:\n    servers:\n      - ntp.example.org\n"},
        labels={_L + "cluster": "prod"},
        annotations={"name": "ntp"},
    )
    store.put(
        "ConfigPatches" + _O,
        "400-edge-lab-workers",
        {"data": "machine:\n  nodeLabels:\n    place: shelf\n"},
        labels={_L + "cluster": "edge-lab", _L + "machine-set": "edge-lab-workers"},
        annotations={"name": "shelf"},
    )
    _add_metrics(store, clusters, free)


def add_machine(
    store: Store,
    machine: MachinePlan,
    cluster: ClusterPlan | None = None,
    machine_set: str = "",
    *,
    foreign: str = "",
) -> None:
    """Store what a server knows of a machine that joined.

    Args:
        store: Where to.
        machine: The machine.
        cluster: The cluster it is in; None for a free one.
        machine_set: The machine set it is in.
        foreign: The Talos version of a machine that runs a configuration from elsewhere; empty for all others.
    """
    talos = f"v{cluster.talos if cluster else foreign or '1.13.5'}"
    labels = _machine_labels(machine, talos, cluster, machine_set)
    if foreign:
        del labels[_L + "available"]
        labels |= {_L + "installed": "", _L + "ready-to-use": ""}
    control_plane = cluster is not None and machine in cluster.control_planes
    link = {
        "node_subnet": f"{machine.address}/64",
        "node_public_key": _key(machine, "wireguard"),
        "last_endpoint": f"127.0.0.1:{59000 + machine.number % 5000}",
        "connected": machine.connected,
    }
    store.put(
        "Links" + _O,
        machine.id,
        link,
        annotations={_L + "created-with-unique-token": ""},
        finalizers=("LinkStatusController[Links.omni.sidero.dev]", "MachineController", "LinkCleanupController"),
    )
    store.put(
        "LinkStatuses" + _O,
        f"{machine.id}/Links{_O}",
        {"node_subnet": link["node_subnet"], "node_public_key": link["node_public_key"], "link_id": machine.id},
        owner="LinkStatusController[Links.omni.sidero.dev]",
    )
    store.put(
        "Machines" + _O,
        machine.id,
        {"management_address": machine.address, "connected": machine.connected},
        owner="MachineController",
        labels={_L + "address": machine.address},
        finalizers=("MachineCleanupController", "MachineStatusController", "MachineSetStatusController"),
    )
    status = machine_status(machine, talos, cluster.name if cluster else "", control_plane=control_plane)
    status["maintenance"] = not cluster and not foreign
    store.put(
        "MachineStatuses" + _O,
        machine.id,
        status,
        owner="MachineStatusController",
        labels=labels,
        finalizers=("LabelsExtractor[MachineStatuses.omni.sidero.dev]", "MachineTeardownController"),
    )
    store.put("MachineLabels" + _O, machine.id, labels=machine.labels)
    store.put(
        "MachineStatusLabels" + _O,
        machine.id,
        owner="LabelsExtractor[MachineStatuses.omni.sidero.dev]",
        labels=labels,
    )
    store.put(
        "MachineStatusLinks" + _O,
        machine.id,
        {"message_status": status},
        owner="MachineStatusLinkController",
        labels=labels,
    )
    store.put(
        "MachineStatusSnapshots" + _O,
        machine.id,
        {"machine_status": {"stage": "RUNNING" if cluster or foreign else "MAINTENANCE", "status": {"ready": True}}},
        owner="MachineStatusSnapshotController",
    )
    store.put(
        "NodeUniqueTokenStatuses" + _O,
        machine.id,
        {"state": "PERSISTENT" if cluster or foreign else "EPHEMERAL"},
        owner="NodeUniqueTokenStatusController",
    )


def _machine_labels(machine: MachinePlan, talos: str, cluster: ClusterPlan | None, machine_set: str) -> dict[str, str]:
    labels = {
        _L + "arch": machine.arch,
        _L + "cores": str(machine.cores),
        _L + "cpu": "intel" if machine.arch == "amd64" else "ampere",
        _L + "mem": f"{machine.memory}GiB",
        _L + "platform": machine.platform,
        _L + "storage": "256GB",
        _L + "talos-version": talos,
        _L + "reporting-events": "",
        **machine.labels,
    }
    labels[_L + ("connected" if machine.connected else "disconnected")] = ""
    if cluster is None:
        labels[_L + "available"] = ""
        return labels
    labels[_L + "installed"] = ""
    labels[_L + "ready-to-use"] = ""
    labels[_L + "cluster"] = cluster.name
    labels[_L + "machine-set"] = machine_set
    labels[_role_label(cluster, machine)] = ""
    return labels


def _role_label(cluster: ClusterPlan, machine: MachinePlan) -> str:
    return _L + ("role-controlplane" if machine in cluster.control_planes else "role-worker")


def plan_of(status: Stored) -> MachinePlan | None:
    """Return what a machine is made of that came from outside; None for all others.

    Args:
        status: Its `MachineStatuses` resource.
    """
    spec = status.decode()
    _, _, last = spec.management_address.rpartition(":")
    number = int(last, 16) if re.fullmatch("[0-9a-f]{1,4}", last) else 0
    plan = MachinePlan(number, spec.network.hostname)
    return plan if number >= OUTSIDE and plan.id == status.id else None


def machine_status(machine: MachinePlan, talos: str, cluster: str, *, control_plane: bool) -> dict[str, Any]:
    """Return the spec of a machine's status, by proto field name.

    Args:
        machine: The machine.
        talos: The Talos version that it runs, with a leading `v`.
        cluster: The cluster it is in, empty for none.
        control_plane: Whether it is a control plane of it.
    """
    role: dict[str, Any] = {"role": "CONTROL_PLANE" if control_plane else "WORKER"} if cluster else {}
    return {
        "talos_version": talos,
        "hardware": {
            "processors": [
                {
                    "core_count": machine.cores,
                    "thread_count": 2 * machine.cores,
                    "frequency": 3200,
                    "description": "Model E 32" if machine.arch == "amd64" else "Model A 4",
                    "manufacturer": "Intel" if machine.arch == "amd64" else "Ampere",
                }
            ],
            "memory_modules": [{"size_mb": machine.memory * 1024, "description": "DDR5"}],
            "blockdevices": [
                {
                    "size": 256 * 10**9,
                    "model": "SSD256",
                    "linux_name": "/dev/nvme0n1",
                    "type": "NVME",
                    "system_disk": True,
                    "transport": "nvme",
                }
            ],
            "arch": machine.arch,
        },
        "network": {
            "hostname": machine.hostname,
            "domainname": "fleet.example",
            "addresses": [f"{machine.outside}/24"],
            "default_gateways": ["192.0.2.254"],
            "network_links": [
                {
                    "linux_name": "eth0",
                    "hardware_address": f"02:00:00:00:{machine.number // 256:02x}:{machine.number % 256:02x}",
                    "speed_mbps": 10000,
                    "link_up": True,
                    "description": "",
                }
            ],
        },
        "management_address": machine.address,
        "connected": machine.connected,
        "cluster": cluster,
        **role,
        "maintenance": not cluster,
        "platform_metadata": {"platform": machine.platform, "hostname": machine.hostname, "instance_id": machine.id},
        "schematic": {"full_id": SCHEMATIC, "initial_schematic": SCHEMATIC, "initial_state": {}},
        "initial_talos_version": talos,
        "power_state": "POWER_STATE_ON",
        "security_state": {},
        "kernel_cmdline": kernel_args(JOIN_TOKEN),
    }


SCHEMATIC = hashlib.sha256(b"customization: {}\n").hexdigest()
"""Id of the schematic without any customization."""


def _key(machine: MachinePlan, use: str) -> str:
    import base64

    return base64.b64encode(hashlib.sha256(f"{use} {machine.number}".encode()).digest()).decode()


def add_cluster(store: Store, cluster: ClusterPlan) -> None:
    """Store a cluster that is up, its machine sets and machines with it."""
    name = cluster.name
    store.put(
        "Clusters" + _O,
        name,
        {
            "kubernetes_version": cluster.kubernetes,
            "talos_version": cluster.talos,
            "features": {"use_embedded_discovery_service": True},
        },
        labels=cluster.labels,
        annotations=cluster.annotations,
        finalizers=CLUSTER_FINALIZERS,
    )
    for suffix, machines in (("control-planes", cluster.control_planes), ("workers", cluster.workers)):
        _add_machine_set(store, cluster, f"{name}-{suffix}", machines)
    total = len(cluster.machines)
    up = sum(machine.connected for machine in cluster.machines)
    ready = up == total
    counts = {"total": total, "healthy": up, "connected": up, "requested": total}
    store.put(
        "ClusterStatuses" + _O,
        name,
        {
            "available": True,
            "machines": counts,
            "phase": "RUNNING",
            "ready": ready,
            "kubernetesAPIReady": True,
            "controlplaneReady": True,
            "has_connected_control_planes": True,
            "use_embedded_discovery_service": True,
            "talos_version": cluster.talos,
            "kubernetes_version": cluster.kubernetes,
        },
        owner="ClusterStatusController",
        labels=cluster.labels,
        finalizers=("DiscoveryServiceConfigPatchController", "ClusterBootstrapStatusController"),
    )
    _add_cluster_records(store, cluster)


def _add_cluster_records(store: Store, cluster: ClusterPlan) -> None:
    name = cluster.name
    of_cluster = {_L + "cluster": name}
    cluster_uuid = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.fleet.example"))
    put = store.put
    put("ClusterBootstrapStatuses" + _O, name, {"bootstrapped": True}, owner="ClusterBootstrapStatusController")
    put(
        "ClusterConfigVersions" + _O,
        name,
        {"version": f"v{cluster.talos}"},
        owner="ClusterConfigVersionController",
    )
    addresses = [machine.address for machine in cluster.control_planes]
    put("ClusterEndpoints" + _O, name, {"management_addresses": addresses}, owner="ClusterEndpointController")
    nodes = sorted(machine.hostname for machine in cluster.machines)
    put("ClusterKubernetesNodes" + _O, name, {"nodes": nodes}, owner="ClusterKubernetesNodesController")
    put(
        "ClusterUUIDs" + _O,
        name,
        {"uuid": cluster_uuid},
        owner="ClusterUUIDController",
        labels={_L + "cluster-uuid": cluster_uuid},
    )
    put("ClusterWorkloadProxyStatuses" + _O, name, owner="ClusterWorkloadProxyStatusController")
    put("ClusterSecretsRotationStatuses" + _O, name, owner="SecretRotationStatusController")
    put(
        "KubernetesStatuses" + _O,
        name,
        {
            "nodes": [
                {"nodename": machine.hostname, "kubelet_version": cluster.kubernetes, "ready": machine.connected}
                for machine in cluster.machines
            ],
            "static_pods": [
                {
                    "nodename": machine.hostname,
                    "static_pods": [
                        {"app": app, "version": cluster.kubernetes, "ready": True}
                        for app in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
                    ],
                }
                for machine in cluster.control_planes
            ],
        },
        owner="KubernetesStatusController",
        labels=of_cluster,
    )
    put(
        "KubernetesUpgradeStatuses" + _O,
        name,
        {
            "phase": "Done",
            "last_upgrade_version": cluster.kubernetes,
            "upgrade_versions": kubernetes_upgrades(store, cluster.talos, cluster.kubernetes),
        },
        owner="KubernetesUpgradeStatusController",
        labels=of_cluster,
    )
    put(
        "TalosUpgradeStatuses" + _O,
        name,
        {
            "phase": "Done",
            "last_upgrade_version": cluster.talos,
            "upgrade_versions": talos_upgrades(store, cluster.talos, cluster.kubernetes),
        },
        owner="TalosUpgradeStatusController",
    )
    port = 10_000 + cluster.control_planes[0].number % 50_000
    put(
        "LoadBalancerConfigs" + _O,
        name,
        {
            "bind_port": str(port),
            "endpoints": [f"[{address}]:6443" for address in addresses],
            "siderolink_endpoint": f"https://[fdae:41e4:649b:9303::1]:{port}",
        },
        owner="ClusterLoadBalancerController",
    )
    put("LoadBalancerStatuses" + _O, name, {"healthy": True}, owner="LoadBalancerController", labels=of_cluster)
    put(
        "ControlPlaneStatuses" + _O,
        f"{name}-control-planes",
        {
            "conditions": [
                {"type": "WireguardConnection", "status": "Ready"},
                {"type": "Etcd", "status": "Ready"},
            ]
        },
        owner="ControlPlaneStatusController",
        labels=of_cluster,
    )


def _add_machine_set(store: Store, cluster: ClusterPlan, id_: str, machines: tuple[MachinePlan, ...]) -> None:
    role = _L + ("role-controlplane" if id_.endswith("-control-planes") else "role-worker")
    labels = {_L + "cluster": cluster.name, role: ""}
    store.put(
        "MachineSets" + _O,
        id_,
        {"update_strategy": "Rolling"},
        labels=labels,
        finalizers=MACHINE_SET_FINALIZERS,
    )
    total = len(machines)
    up = sum(machine.connected for machine in machines)
    store.put(
        "MachineSetStatuses" + _O,
        id_,
        {
            "phase": "Running",
            "ready": up == total,
            "machines": {"total": total, "healthy": up, "connected": up, "requested": total},
            "config_hash": hashlib.sha256(id_.encode()).hexdigest(),
        },
        owner="MachineSetStatusController",
        labels=labels,
        finalizers=("ClusterStatusController",),
    )
    for machine in machines:
        add_machine(store, machine, cluster, id_)
        add_cluster_machine(store, cluster, machine, {**labels, _L + "machine-set": id_})


def add_cluster_machine(store: Store, cluster: ClusterPlan, machine: MachinePlan, labels: dict[str, str]) -> None:
    """Store a machine as a member of a cluster that is up.

    Args:
        store: Where to.
        cluster: The cluster.
        machine: The machine.
        labels: Labels that say where it belongs.
    """
    put = store.put
    put(
        "MachineSetNodes" + _O,
        machine.id,
        labels=labels,
        finalizers=("MachineSetStatusController",),
    )
    put(
        "ClusterMachines" + _O,
        machine.id,
        {"kubernetes_version": cluster.kubernetes},
        owner="MachineSetStatusController",
        labels=labels,
        finalizers=("ClusterMachineController", "ClusterMachineStatusController"),
    )
    names = {_L + "node-name": machine.hostname, _L + "hostname": machine.hostname}
    connected = {_L + ("connected" if machine.connected else "disconnected"): ""}
    put(
        "ClusterMachineStatuses" + _O,
        machine.id,
        {
            "ready": machine.connected,
            "stage": "RUNNING",
            "config_up_to_date": True,
            "management_address": machine.address,
            "config_apply_status": "APPLIED",
            "provision_status": {},
        },
        owner="ClusterMachineStatusController",
        labels={**labels, **names, **connected},
        finalizers=("ClusterWorkloadProxyStatusController",),
    )
    put(
        "ClusterMachineIdentities" + _O,
        machine.id,
        {
            "node_identity": _key(machine, "node").rstrip("="),
            "nodename": machine.hostname,
            "node_ips": [machine.outside],
            "discovery_service_endpoint": "http://[fdae:41e4:649b:9303::1]:8093",
        },
        owner="ClusterMachineIdentityController",
        labels=labels,
    )
    put(
        "ClusterMachineTalosVersions" + _O,
        machine.id,
        {"talos_version": cluster.talos, "schematic_id": SCHEMATIC},
        owner="TalosUpgradeStatusController",
        labels={_L + "cluster": cluster.name},
    )


def _add_metrics(store: Store, clusters: tuple[ClusterPlan, ...], free: tuple[MachinePlan, ...]) -> None:
    taken = [machine for cluster in clusters for machine in cluster.machines]
    machines = [*taken, *free]
    platforms: dict[str, int] = {}
    for machine in machines:
        platforms[machine.platform] = platforms.get(machine.platform, 0) + 1
    store.put(
        "MachineStatusMetrics" + _O,
        "metrics",
        {
            "registered_machines_count": len(machines),
            "connected_machines_count": sum(machine.connected for machine in machines),
            "allocated_machines_count": len(taken),
            "platforms": platforms,
        },
        owner="MachineStatusMetricsController",
    )
    not_ready = sum(not all(machine.connected for machine in cluster.machines) for cluster in clusters)
    store.put(
        "ClusterStatusMetrics" + _O,
        "metrics",
        {"not_ready_count": not_ready, "phases": {3: len(clusters)}},
        owner="ClusterStatusMetricsController",
    )
