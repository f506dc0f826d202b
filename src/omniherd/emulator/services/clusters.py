"""The management calls about a cluster's life: checks before an upgrade, manifests, the support bundle."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, cluster_of, found, missing_here, require

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming, Method, Send
    from omniherd.emulator.store import Store

__all__ = ["ClusterCalls"]

_O = ".omni.sidero.dev"
_UPGRADES = "KubernetesUpgradeStatuses" + _O
_NEWEST_MINOR = 36
_BUNDLED = (
    "Clusters",
    "ClusterStatuses",
    "KubernetesUpgradeStatuses",
    "TalosUpgradeStatuses",
    "LoadBalancerStatuses",
    "ClusterBootstrapStatuses",
    "MachineSets",
    "MachineSetStatuses",
    "MachineSetNodes",
    "ClusterMachines",
    "ClusterMachineStatuses",
)


class ClusterCalls:
    """The calls.

    Args:
        store: The state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {
            PREFIX + "KubernetesUpgradePreChecks": self.pre_checks,
            PREFIX + "KubernetesSyncManifests": self.sync_manifests,
            PREFIX + "GetSupportBundle": self.support_bundle,
        }

    async def pre_checks(self, call: Incoming, request: Any) -> Any:
        """Answer KubernetesUpgradePreChecks; the emulated clusters have nothing that an upgrade would break."""
        require(call)
        status = found(self._store, "default", _UPGRADES, cluster_of(call)).decode()
        now = _minor(status.last_upgrade_version, "from")
        wanted = _minor(request.new_version, "to")
        if wanted[0] != now[0] or wanted[1] - now[1] not in {0, 1} or wanted[1] > _NEWEST_MINOR:
            text = f"unsupported upgrade path: {now[0]}.{now[1]}->{wanted[0]}.{wanted[1]}"
            raise StateError("INVALID_ARGUMENT", text)
        return message("management.KubernetesUpgradePreChecksResponse")(ok=True)

    async def sync_manifests(self, call: Incoming, request: Any, _send: Send) -> None:
        """Answer KubernetesSyncManifests: a dry run of a running cluster finds nothing to do."""
        require(call)
        cluster = cluster_of(call)
        if not self._runs(cluster):
            text = f"failed to get kubeconfig: kubeconfig for cluster {cluster} is not found"
            raise StateError("UNKNOWN", text)
        if not request.dry_run:
            raise missing_here(call, "write manifests into Kubernetes")

    async def support_bundle(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer GetSupportBundle with Omni's resources; what nodes would add is said to be missing."""
        require(call)
        if request.encrypt or request.encryption_recipients:
            raise missing_here(call, "encrypt support bundles")
        response: Any = message("management.GetSupportBundleResponse")

        async def tell(**progress: Any) -> None:
            await send(response(progress=progress).SerializeToString())

        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
            for cluster in self._clusters(request.cluster):
                if self._runs(cluster):
                    await tell(source="cluster", error="the emulator has no nodes to collect from")
                else:
                    text = f"failed to get kubernetes client kubeconfig for cluster {cluster} is not found"
                    await tell(source="cluster", error=text)
                resources = self._resources(cluster)
                for resource in resources:
                    name = f"{resource.type}-{resource.id}.yaml"
                    bundle.writestr(f"omni/resources/{name}", _yaml(resource))
                    await tell(source="omni", state=f"collect {name}", total=len(resources))
        await send(response(bundle_data=buffer.getvalue()).SerializeToString())

    def _clusters(self, wanted: str) -> list[str]:
        return [wanted] if wanted else [one.id for one in self._store.list("default", "Clusters" + _O)]

    def _runs(self, cluster: str) -> bool:
        return self._store.find("default", _UPGRADES, cluster) is not None

    def _resources(self, cluster: str) -> list[Stored]:
        return [
            resource
            for name in _BUNDLED
            for resource in self._store.list("default", name + _O)
            if resource.id == cluster or resource.labels.get("omni.sidero.dev/cluster") == cluster
        ]


def _yaml(resource: Stored) -> str:
    from omniherd.resource import Resource

    cls: type[Resource[Any]] = Resource
    return cls.from_proto(resource.to_proto()).to_yaml()


def _minor(version: str, which: str) -> tuple[int, int]:
    text = version.removeprefix("v")
    major, _, rest = text.partition(".")
    if not re.fullmatch(r"\d+", major):
        problem = f'Invalid character(s) found in major number "{major}"'
        raise StateError("INVALID_ARGUMENT", f"invalid upgrade path: error parsing {which} version: {problem}")
    minor = rest.partition(".")[0]
    if not re.fullmatch(r"\d+\.\d+\.\d+(?:[-+].*)?", text):
        problem = "No Major.Minor.Patch elements found"
        raise StateError("INVALID_ARGUMENT", f"invalid upgrade path: error parsing {which} version: {problem}")
    return int(major), int(minor)
