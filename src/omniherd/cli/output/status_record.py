"""The status of a cluster as one document, for programs. Pure: resources in, mappings out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omniherd.template import ClusterState

__all__ = ["status_record"]

_MACHINE_SET = "omni.sidero.dev/machine-set"
_CONTROL_PLANE = "omni.sidero.dev/role-controlplane"
_CONNECTED = "omni.sidero.dev/connected"
_LOCKED = "omni.sidero.dev/locked"
_NODE_NAME = "omni.sidero.dev/node-name"


def status_record(parts: ClusterState, *, healthy: bool) -> dict[str, Any]:
    """Return what is known of a cluster, under names that stay.

    Args:
        parts: Its resources.
        healthy: Whether all of it runs.
    """
    spec = parts.cluster.spec
    return {
        "id": parts.cluster.id,
        "healthy": healthy,
        "phase": _word(spec, "phase"),
        "ready": spec.ready,
        "available": spec.available,
        "control_plane_ready": spec.controlplaneReady,
        "kubernetes_api_ready": spec.kubernetesAPIReady,
        "kubernetes_version": spec.kubernetes_version,
        "talos_version": spec.talos_version,
        "machines": _counts(spec),
        "load_balancers": [{"id": one.id, "healthy": one.spec.healthy} for one in parts.load_balancers],
        "upgrades": [
            {"of": what, "phase": _word(one.spec, "phase"), "step": one.spec.step, "error": one.spec.error}
            for what, upgrades in (("kubernetes", parts.kubernetes), ("talos", parts.talos))
            for one in upgrades
        ],
        "machine_sets": [
            {
                "id": one.id,
                "control_plane": _CONTROL_PLANE in one.labels,
                "phase": _word(one.spec, "phase"),
                "ready": one.spec.ready,
                "error": one.spec.error,
                "machines": _counts(one.spec),
            }
            for one in parts.sets
        ],
        "cluster_machines": [
            {
                "id": one.id,
                "name": one.labels.get(_NODE_NAME, ""),
                "machine_set": one.labels.get(_MACHINE_SET, ""),
                "stage": _word(one.spec, "stage"),
                "ready": one.spec.ready,
                "connected": _CONNECTED in one.labels,
                "locked": _LOCKED in one.labels or _LOCKED in one.annotations,
                "config_up_to_date": one.spec.config_up_to_date,
                "last_config_error": one.spec.last_config_error,
            }
            for one in parts.machines
        ],
    }


def _word(spec: Any, field: str) -> str:
    number = getattr(spec, field)
    found = spec.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return (str(number) if found is None else str(found.name)).lower()


def _counts(spec: Any) -> dict[str, int]:
    return {name: getattr(spec.machines, name) for name in ("total", "healthy", "connected", "requested")}
