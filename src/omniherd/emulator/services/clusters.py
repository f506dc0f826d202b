"""The management calls about a cluster's life: checks before an upgrade, and manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, cluster_of, found
from omniherd.emulator.versions import kubernetes_path, on_path

if TYPE_CHECKING:
    from omniherd.emulator.server import Incoming, Method, Send
    from omniherd.emulator.services.guards import Gate
    from omniherd.emulator.store import Store

__all__ = ["ClusterCalls"]

_O = ".omni.sidero.dev"
_UPGRADES = "KubernetesUpgradeStatuses" + _O


class ClusterCalls:
    """The calls.

    Args:
        store: The state.
        gate: Who may call.
    """

    def __init__(self, store: Store, gate: Gate) -> None:
        self._gate = gate
        self._store = store

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {
            PREFIX + "KubernetesUpgradePreChecks": self.pre_checks,
            PREFIX + "KubernetesSyncManifests": self.sync_manifests,
        }

    async def pre_checks(self, call: Incoming, request: Any) -> Any:
        """Answer KubernetesUpgradePreChecks; the emulated clusters have nothing that an upgrade would break."""
        self._gate.require(call, request)
        status = found(self._store, "default", _UPGRADES, cluster_of(call)).decode()
        if not status.last_upgrade_version:
            raise StateError("FAILED_PRECONDITION", "current version is not known yet")
        from omniherd.template.versions import VersionRefused

        try:
            now, wanted = kubernetes_path(status.last_upgrade_version, request.new_version)
        except VersionRefused as refused:
            raise StateError("INVALID_ARGUMENT", f"invalid upgrade path: {refused}") from None
        if not on_path(now, wanted):
            text = f"unsupported upgrade path: {now.major}.{now.minor}->{wanted.major}.{wanted.minor}"
            raise StateError("INVALID_ARGUMENT", text)
        return message("management.KubernetesUpgradePreChecksResponse")(ok=True)

    async def sync_manifests(self, call: Incoming, request: Any, _send: Send) -> None:
        """Answer KubernetesSyncManifests: in the emulated clusters nothing is ever out of step, dry run or not."""
        self._gate.require(call, request)
        cluster = cluster_of(call)
        if not self._runs(cluster):
            text = f"failed to get kubeconfig: kubeconfig for cluster {cluster} is not found"
            raise StateError("UNKNOWN", text)

    def _runs(self, cluster: str) -> bool:
        return self._store.find("default", _UPGRADES, cluster) is not None
