"""What stands beside a cluster and its machine sets: their holders, and the resources that come with a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.versions import talos_upgrades

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["CLUSTER_HOLDERS", "CONTROL_PLANE_HOLDERS", "MACHINE_SET_HOLDERS", "accompany"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
_CLUSTER = _L + "cluster"

CLUSTER_HOLDERS = (
    "ClusterController",
    "BackupDataController",
    "ClusterConfigVersionController",
    "ClusterDestroyStatusController",
    "ClusterEndpointController",
    "SecretsController",
    "ClusterStatusController",
    "ClusterUUIDController",
    "KubernetesUpgradeStatusController",
    "ClusterWorkloadProxyStatusController",
    "ClusterKubernetesManifestsStatusController",
    "TalosUpgradeStatusController",
    "ClusterWorkloadProxyController",
)
MACHINE_SET_HOLDERS = (
    "MachineSetController",
    "MachineProvisionController",
    "MachineSetDestroyStatusController",
    "ControlPlaneStatusController",
    "MachineSetStatusController",
)
CONTROL_PLANE_HOLDERS = ("ClusterBootstrapStatusController", "MachineSetEtcdAuditController")


def accompany(store: Store, cluster: Stored, identity: str) -> None:
    """Put the resources beside a new cluster.

    Args:
        store: Where they are kept.
        cluster: The cluster.
        identity: Its UUID.
    """
    name, spec, put = cluster.id, cluster.decode(), store.put
    embedded = spec.features.use_embedded_discovery_service
    put(
        "ClusterConfigVersions" + _O,
        name,
        {"version": f"v{spec.talos_version}"},
        owner="ClusterConfigVersionController",
    )
    put("ClusterEndpoints" + _O, name, owner="ClusterEndpointController")
    put(
        "ClusterStatuses" + _O,
        name,
        {
            "machines": {},
            "talos_version": spec.talos_version,
            "kubernetes_version": spec.kubernetes_version,
            "use_embedded_discovery_service": embedded,
        },
        owner="ClusterStatusController",
        labels=cluster.labels,
        finalizers=("ClusterBootstrapStatusController", "DiscoveryServiceConfigPatchController"),
    )
    put(
        "ClusterUUIDs" + _O,
        name,
        {"uuid": identity},
        owner="ClusterUUIDController",
        labels={_L + "cluster-uuid": identity},
        finalizers=(
            "ClusterKubernetesNodesController",
            "ClusterDiagnosticsController",
            "EtcdBackupEncryptionController",
        ),
    )
    put("ClusterBootstrapStatuses" + _O, name, owner="ClusterBootstrapStatusController")
    put("ClusterWorkloadProxyStatuses" + _O, name, owner="ClusterWorkloadProxyStatusController")
    put(
        "ClusterKubernetesNodes" + _O,
        name,
        owner="ClusterKubernetesNodesController",
        finalizers=("KubernetesNodeAuditController",),
    )
    port = _free_port(store)
    put(
        "LoadBalancerConfigs" + _O,
        name,
        {"bind_port": str(port), "siderolink_endpoint": f"https://[fdae:41e4:649b:9303::1]:{port}"},
        owner="ClusterLoadBalancerController",
    )
    put(
        "LoadBalancerStatuses" + _O,
        name,
        {"stopped": True},
        owner="LoadBalancerController",
        labels={_CLUSTER: name},
    )
    put(
        "TalosUpgradeStatuses" + _O,
        name,
        {
            "phase": "Done",
            "last_upgrade_version": spec.talos_version,
            "upgrade_versions": talos_upgrades(store, spec.talos_version, spec.kubernetes_version, spec.talos_version),
        },
        owner="TalosUpgradeStatusController",
    )
    put("UpgradeRollouts" + _O, name, owner="TalosUpgradeStatusController")
    if embedded:
        put(
            "ConfigPatches" + _O,
            f"950-discovery-service-{name}",
            {
                "data": "cluster:\n  discovery:\n    registries:\n      service:\n"
                "        endpoint: http://[fdae:41e4:649b:9303::1]:8093\n"
            },
            owner="DiscoveryServiceConfigPatchController",
            labels={_CLUSTER: name, _L + "system-patch": ""},
        )
    if spec.HasField("backup_configuration"):
        put("EtcdBackupStatuses" + _O, name, owner="EtcdBackupController")


def _free_port(store: Store) -> int:
    used = {int(found.decode().bind_port or 0) for found in store.list("default", "LoadBalancerConfigs" + _O)}
    return next(port for port in range(10_000, 65_536) if port not in used)
