"""How a cluster is: healthy or not, and the tree that says so part by part. Pure: resources in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from omniherd.resource import Resource

__all__ = ["ClusterState"]

_MACHINE_SET = "omni.sidero.dev/machine-set"
_CONTROL_PLANE = "omni.sidero.dev/role-controlplane"
_CONNECTED = "omni.sidero.dev/connected"
_LOCKED = "omni.sidero.dev/locked"
_UPDATE_LOCKED = "omni.sidero.dev/locked-update"
_NODE_NAME = "omni.sidero.dev/node-name"
# Values of the specs' enums.
_CLUSTER_RUNNING = _SET_RUNNING = 3
_DONE = 2
_STAGE_RUNNING = 4
_CONDITION_NOT_READY = 2
_APPLY_FAILED = 3


class ClusterState(NamedTuple):
    """What is known of a cluster.

    Attributes:
        cluster: Its ClusterStatus.
        sets: MachineSetStatuses.
        control_planes: ControlPlaneStatuses.
        load_balancers: LoadBalancerStatuses.
        kubernetes: KubernetesUpgradeStatuses.
        talos: TalosUpgradeStatuses.
        machines: ClusterMachineStatuses.
    """

    cluster: Resource[Any]
    sets: Sequence[Resource[Any]] = ()
    control_planes: Sequence[Resource[Any]] = ()
    load_balancers: Sequence[Resource[Any]] = ()
    kubernetes: Sequence[Resource[Any]] = ()
    talos: Sequence[Resource[Any]] = ()
    machines: Sequence[Resource[Any]] = ()

    @property
    def healthy(self) -> bool:
        """Whether all of the cluster runs and nothing is being upgraded."""
        spec = self.cluster.spec
        return (
            spec.phase == _CLUSTER_RUNNING
            and spec.ready
            and all(one.spec.phase == _SET_RUNNING and one.spec.ready for one in self.sets)
            and all(one.spec.phase == _DONE for one in (*self.kubernetes, *self.talos))
        )

    def tree(self) -> str:
        """Return how the cluster is as a tree, each line ended, as `omnictl cluster status` prints it."""
        return _tree(self)


def _tree(parts: ClusterState) -> str:
    cluster = parts.cluster
    children: list[tuple[str, list[str]]] = []
    for title, upgrades in (("Kubernetes Upgrade", parts.kubernetes), ("Talos Upgrade", parts.talos)):
        # A blank stands at the end where there is no step, as in omnictl's tree.
        children += [(f"{title} {_word(one.spec, 'phase')} {one.spec.step}", []) for one in upgrades]
    for one in sorted(parts.sets, key=lambda one: _rank(cluster.id, one)):
        children.append(
            (f"{_title(cluster.id, one)} {_word(one.spec, 'phase')} {_counts(one.spec)}", _below(parts, one))
        )
    lines = [f'Cluster "{cluster.id}" {_word(cluster.spec, "phase")} {_counts(cluster.spec)} (healthy/total)']
    for number, (line, below) in enumerate(children):
        last = number == len(children) - 1
        lines.append(f"{'└── ' if last else '├── '}{line}")
        for position, inner in enumerate(below):
            branch = "└── " if position == len(below) - 1 else "├── "
            lines.append(f"{'    ' if last else '│   '}{branch}{inner}")
    return "".join(f"{line}\n" for line in lines)


def _word(spec: Any, field: str) -> str:
    number = getattr(spec, field)
    found = spec.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(number) if found is None else found.name


def _ready(value: bool) -> str:
    return "Ready" if value else "Not Ready"


def _counts(spec: Any) -> str:
    return f"{_ready(spec.ready)} ({spec.machines.healthy}/{spec.machines.total})"


def _rank(cluster: str, one: Resource[Any]) -> tuple[int, str]:
    if _CONTROL_PLANE in one.labels:
        return 0, one.id
    return (1 if one.id == f"{cluster}-workers" else 2), one.id


def _title(cluster: str, one: Resource[Any]) -> str:
    kinds = ("Control Plane", "Workers", "Additional Workers")
    return f'{kinds[_rank(cluster, one)[0]]} "{one.id}"'


def _below(parts: ClusterState, one: Resource[Any]) -> list[str]:
    lines: list[str] = []
    if _CONTROL_PLANE in one.labels:
        lines += [f"Load Balancer {_ready(found.spec.healthy)}" for found in parts.load_balancers]
        lines += [_checks(found) for found in parts.control_planes if found.id == one.id]
    members = (found for found in parts.machines if found.labels.get(_MACHINE_SET) == one.id)
    return lines + [_machine(found) for found in sorted(members, key=lambda found: found.id)]


def _checks(status: Resource[Any]) -> str:
    failing: Iterable[str] = [
        _word(condition, "type") for condition in status.spec.conditions if condition.status == _CONDITION_NOT_READY
    ]
    return f"Status Checks Failing: [{' '.join(failing)}]" if failing else "Status Checks OK"


def _machine(status: Resource[Any]) -> str:
    spec = status.spec
    name = status.labels.get(_NODE_NAME, "")
    words = [f'Machine "{status.id}"{f"({name})" if name else ""} {_word(spec, "stage")}']
    if spec.stage == _STAGE_RUNNING:
        words.append(_ready(spec.ready))
    if _CONNECTED not in status.labels:
        words.append("Unreachable")
    if _LOCKED in status.annotations:
        words.append("Locked")
    if not spec.config_up_to_date:
        words.append("Config Outdated")
    if _UPDATE_LOCKED in status.labels:
        words.append("Pending Config Update")
    elif spec.config_apply_status == _APPLY_FAILED:
        words.append("Config Apply Failed")
    return " ".join(words)
