"""The management calls about a cluster's life: checks before an upgrade, and manifests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, cluster_of, found

if TYPE_CHECKING:
    from omniherd.emulator.server import Incoming, Method, Send
    from omniherd.emulator.services.guards import Gate
    from omniherd.emulator.store import Store

__all__ = ["ClusterCalls"]

_O = ".omni.sidero.dev"
_UPGRADES = "KubernetesUpgradeStatuses" + _O
_NEWEST_MINOR = 36


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
        now = _minor(status.last_upgrade_version, "from")
        wanted = _minor(request.new_version, "to")
        if wanted[0] != now[0] or wanted[1] - now[1] not in {0, 1} or wanted[1] > _NEWEST_MINOR:
            text = f"unsupported upgrade path: {now[0]}.{now[1]}->{wanted[0]}.{wanted[1]}"
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
