"""What MachineSets and MachineSetNodes may say: labels, state and locks of their cluster, where machines come from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from omniherd.emulator.gotext import quote, size
from omniherd.emulator.records import RUNNING, TEARING_DOWN, missing
from omniherd.emulator.versions import order

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["MachineSetRules", "allocated", "is_locked", "relation_faults"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
CLUSTER = _L + "cluster"
MACHINE_SET = _L + "machine-set"
CONTROL_PLANE = _L + "role-controlplane"
WORKER = _L + "role-worker"
LOCKED = _L + "locked"
MANAGED = _L + "managed-by-machine-set-node-controller"
CLUSTER_LOCKED = _L + "cluster-locked"
IMPORTING = _L + "cluster-import-is-in-progress"
_UNLIMITED = 1
_STRICT = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]+)?"
_SNAPSHOT = 4096


def is_locked(cluster: Stored) -> bool:
    """Whether a cluster's parts may not change: it is locked and not being imported."""
    return CLUSTER_LOCKED in cluster.annotations and IMPORTING not in cluster.annotations


def relation_faults(verb: str, current: Stored | None, resource: Stored, *labels: str) -> list[str]:
    """Return what is wrong with the labels that tie a resource to others: missing, empty, changed.

    Args:
        verb: The verb; only `create` and `update` are judged.
        current: What is stored.
        resource: What is to be stored.
        *labels: The labels.
    """
    if verb not in {"create", "update"}:
        return []
    texts: list[str] = []
    for key in labels:
        if key not in resource.labels:
            texts.append(f"label {quote(key)} does not exist")
        elif not resource.labels[key]:
            texts.append(f"label {quote(key)} has empty value")
    for key in labels if verb == "update" and current is not None else ():
        old, new = ("" if one is None else one.labels.get(key, "") for one in (current, resource))
        if old and old != new:
            texts.append(f"changing value of label {quote(key)} from {quote(old)} to {quote(new)}")
    return texts


class MachineSetRules:
    """The rules.

    Args:
        store: The state that they look things up in.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def _find(self, name: str, id_: str) -> Stored | None:
        return self._store.find("default", name + _O, id_)

    # --- sets -------------------------------------------------------------------------------------------------------

    def judge_set(self, verb: str, current: Stored | None, resource: Stored) -> list[str]:
        """Return what is wrong with a write of a MachineSet; see `Validators.judge`."""
        texts = relation_faults(verb, current, resource, CLUSTER)
        if verb == "create":
            fault = self._created_set(resource)
        elif verb == "update" and current is not None:
            fault = self._updated_set(current, resource)
        else:
            fault = self._removed_set(resource)
        return texts if fault is None else [*texts, fault]

    def _created_set(self, resource: Stored) -> str | None:
        cluster = resource.labels.get(CLUSTER, "")
        found = self._find("Clusters", cluster)
        if found is None:
            return f"the cluster {quote(cluster)} does not exist"
        if found.phase != RUNNING:
            return f"the cluster {quote(cluster)} is tearing down"
        if is_locked(found):
            named = f"adding machine set {quote(resource.id)} to the cluster {quote(cluster)}"
            return f"{named} is not allowed: the cluster is locked"
        spec = resource.decode()
        return (
            _role_fault(resource)
            or self._second_control_plane(resource, cluster)
            or self._bootstrap(resource, spec)
            or self._allocation(None, spec)
            or _id_fault(resource, cluster)
        )

    def _second_control_plane(self, resource: Stored, cluster: str) -> str | None:
        status = self._find("ClusterBootstrapStatuses", cluster)
        if CONTROL_PLANE not in resource.labels or status is None or not status.decode().bootstrapped:
            return None
        return "adding control plane machine set to an already bootstrapped cluster is not allowed"

    def _updated_set(self, current: Stored, resource: Stored) -> str | None:
        cluster = resource.labels.get(CLUSTER, "")
        found = self._find("Clusters", cluster)
        if found is None:
            return f"the cluster {quote(cluster)} does not exist" if resource.phase == RUNNING else None
        if is_locked(found) and resource.phase == RUNNING:
            named = f"updating machine set {quote(resource.id)} on the cluster {quote(cluster)}"
            return f"{named} is not allowed: the cluster is locked"
        role = _role_fault(resource)
        if role is not None:
            return role
        old, new = current.decode(), resource.decode()
        if new.HasField("bootstrap_spec") and CONTROL_PLANE not in resource.labels:
            return "bootstrap spec is not allowed for worker machine sets"
        if old.bootstrap_spec != new.bootstrap_spec or old.HasField("bootstrap_spec") != new.HasField("bootstrap_spec"):
            return "bootstrap spec is immutable after creation"
        return self._allocation(old, new) or self._mode(resource.id, old, new)

    def _mode(self, id_: str, old: Any, new: Any) -> str | None:
        before, after = allocated(old) is not None, allocated(new) is not None
        if before == after or not any(
            node.labels.get(MACHINE_SET) == id_ for node in self._store.list("default", "MachineSetNodes" + _O)
        ):
            return None
        if after:
            return (
                "machine set is not empty and is using manual nodes management, "
                "updating to machine class mode is not allowed"
            )
        return (
            "machine set is not empty and is using machine class based node management, "
            "updating to manual mode is not allowed"
        )

    def _removed_set(self, resource: Stored) -> str | None:
        cluster = resource.labels.get(CLUSTER, "")
        found = self._find("Clusters", cluster)
        if found is None or found.phase != RUNNING or not is_locked(found):
            return None
        named = f"removing machine set {quote(resource.id)} from the cluster {quote(cluster)}"
        return f"{named} is not allowed: the cluster is locked"

    def _bootstrap(self, resource: Stored, spec: Any) -> str | None:
        if not spec.HasField("bootstrap_spec"):
            return None
        if CONTROL_PLANE not in resource.labels:
            return "bootstrap spec is not allowed for worker machine sets"
        snapshot, source = spec.bootstrap_spec.snapshot, spec.bootstrap_spec.cluster_uuid
        if size(snapshot) > _SNAPSHOT:
            return f"bootstrap snapshot path is too long: {size(snapshot)} bytes (max {_SNAPSHOT})"
        if snapshot and not _is_local(snapshot):
            return "bootstrap snapshot must be a relative path without parent-directory references"
        known = [one for one in self._store.list("default", "ClusterUUIDs" + _O) if one.decode().uuid == source]
        if not known:
            return f"invalid cluster UUID {quote(source)}"
        if len(known) > 1:
            return f"inconsistent state on cluster UUID {quote(source)}"
        data = missing("default", "BackupDatas" + _O, known[0].id).message
        return f"error getting backup data: {data}"

    def _allocation(self, old: Any, new: Any) -> str | None:
        allocation = allocated(new)
        if allocation is None:
            return None
        if not allocation.name:
            return "machine allocation source name is not set"
        if allocation.machine_count and allocation.allocation_type == _UNLIMITED:
            return "machine count can be set only if static allocation type is used"
        if old is not None:
            # A set that had none is not asked whether its class is there.
            before = allocated(old)
            if before is None or before.name == allocation.name:
                return None
        found = self._find("MachineClasses", allocation.name)
        if found is None:
            return f"machine class with name {quote(allocation.name)} doesn't exist"
        if found.decode().HasField("auto_provision") and allocation.allocation_type == _UNLIMITED:
            return (
                f"machine class {quote(allocation.name)} is using autoprovision, "
                "so unlimited machine set allocation is not supported"
            )
        return None

    # --- their nodes ------------------------------------------------------------------------------------------------

    def judge_node(self, verb: str, current: Stored | None, resource: Stored) -> list[str]:
        """Return what is wrong with a write of a MachineSetNode; see `Validators.judge`."""
        texts = relation_faults(verb, current, resource, CLUSTER, MACHINE_SET)
        if verb == "create":
            fault = self._placed_node("adding machine set node to", resource, None)
        elif verb == "update" and current is not None:
            fault = None
            if resource.phase != TEARING_DOWN:
                fault = self._placed_node("updating machine set node on", current, resource)
        else:
            fault = self._removed_node(resource)
        return texts if fault is None else [*texts, fault]

    def _placed_node(self, doing: str, resource: Stored, changed: Stored | None) -> str | None:
        """Judge a node where it is: before its update the old labels count."""
        machine_set, cluster = resource.labels.get(MACHINE_SET, ""), resource.labels.get(CLUSTER, "")
        refusal = f"{doing} the machine set {quote(machine_set)} is not allowed: "
        found = self._find("MachineSets", machine_set)
        if found is None:
            return refusal + "the machine set does not exist"
        if found.phase != RUNNING:
            return refusal + "the machine set is tearing down"
        if changed is None and allocated(found.decode()) is not None and not self._comes_back(resource):
            return refusal + "the machine set is using automated machine allocation"
        owner = self._find("Clusters", cluster)
        if owner is None:
            return refusal + f"the cluster {quote(cluster)} does not exist"
        if owner.phase != RUNNING:
            return refusal + f"the cluster {quote(cluster)} is tearing down"
        if is_locked(owner):
            return refusal + f"the cluster {quote(cluster)} is locked"
        if changed is not None and MACHINE_SET not in changed.labels:
            return "missing machine set label"
        if changed is None or changed.labels[MACHINE_SET] != machine_set:
            fault = self._talos(resource.id, owner)
            if fault is not None:
                return fault
        locks = LOCKED in (resource if changed is None else changed).annotations
        return "locking controlplanes is not allowed" if locks and CONTROL_PLANE in found.labels else None

    def _comes_back(self, node: Stored) -> bool:
        """Whether a node of a class is made again for a machine that is still in the cluster."""
        machine = self._find("ClusterMachines", node.id)
        return machine is not None and machine.phase == RUNNING and MANAGED in node.labels

    def _talos(self, id_: str, cluster: Stored) -> str | None:
        status = self._find("MachineStatuses", id_)
        if status is None:
            return None
        machine = status.decode()
        old, new = machine.talos_version.lstrip("v"), cluster.decode().talos_version
        if not re.fullmatch(_STRICT, old) or machine.schematic.in_agent_mode:
            return None
        before, after = order(old), order(new)
        if before[0] > after[0] or before[1] > after[1]:
            return (
                f"cannot add machine set node to the cluster {cluster.id} as it will trigger Talos downgrade "
                f"on the node ({old} -> {new})"
            )
        disks = (device.linux_name for device in machine.hardware.blockdevices if device.system_disk)
        installed = bool(next(disks, ""))
        if not installed and before[:2] != after[:2]:
            return (
                "machines which are running Talos without installation can be added only to Talos clusters "
                "with the same major and minor versions"
            )
        return None

    def _removed_node(self, resource: Stored) -> str | None:
        machine_set, cluster = resource.labels.get(MACHINE_SET, ""), resource.labels.get(CLUSTER, "")
        found, owner = self._find("MachineSets", machine_set), self._find("Clusters", cluster)
        if found is None or owner is None or TEARING_DOWN in {found.phase, owner.phase}:
            return None
        refusal = f"removing machine set node from the machine set {quote(machine_set)} is not allowed: "
        if LOCKED in resource.annotations:
            return refusal + "machine set node is locked"
        if CLUSTER_LOCKED in owner.annotations:
            return refusal + f"the cluster {quote(cluster)} is locked"
        return None


def _role_fault(resource: Stored) -> str | None:
    if CONTROL_PLANE in resource.labels or WORKER in resource.labels:
        return None
    return f"machine set must have either {quote(CONTROL_PLANE)} or {quote(WORKER)} label"


def _id_fault(resource: Stored, cluster: str) -> str | None:
    if not resource.id.startswith(f"{cluster}-"):
        prefix = quote(f"{cluster}-")
        return f"machine set of cluster {quote(cluster)} ID must have {prefix} as prefix"
    own = f"{cluster}-control-planes"
    if CONTROL_PLANE in resource.labels and resource.id != own:
        return f"control plane machine set must have ID {quote(own)}"
    if CONTROL_PLANE not in resource.labels and resource.id == own:
        return f"worker machine set must not have ID {quote(own)}"
    return None


def allocated(spec: Any) -> Any:
    """Return where a set takes its machines from, the deprecated field first; None when somebody picks them."""
    for name in ("machine_class", "machine_allocation"):
        if spec.HasField(name):
            return getattr(spec, name)
    return None


def _is_local(path: str) -> bool:
    """Whether a path is one of Go's file systems: relative, of real names only."""
    return path == "." or not {"", ".", ".."}.intersection(path.split("/"))
