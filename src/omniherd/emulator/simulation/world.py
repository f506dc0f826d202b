"""What all parts of a living fleet share: the store in short words, the time, chance, and who belongs to whom."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from omniherd.emulator.finalizers import hold, release
from omniherd.emulator.forms import default_namespace
from omniherd.emulator.records import CREATED, DESTROYED, RUNNING, TEARING_DOWN, Event

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from omniherd.emulator.records import Stored
    from omniherd.emulator.simulation.machine import Machine
    from omniherd.emulator.simulation.schedule import Schedule
    from omniherd.emulator.store import Store

__all__ = [
    "CLUSTER",
    "CLUSTER_LOCKED",
    "CLUSTER_MACHINE",
    "CONTROL_PLANE",
    "IMPORTED",
    "LOCKED",
    "MACHINE_SET",
    "WORKER",
    "L",
    "O",
    "World",
    "labels_of_node",
]

O = ".omni.sidero.dev"  # noqa: E741 - the ending of every type's name
L = "omni.sidero.dev/"
CLUSTER = L + "cluster"
MACHINE_SET = L + "machine-set"
CLUSTER_MACHINE = L + "cluster-machine"
CONTROL_PLANE = L + "role-controlplane"
WORKER = L + "role-worker"
LOCKED = L + "locked"
CLUSTER_LOCKED = L + "cluster-locked"
IMPORTED = L + "tainted-by-importing"


def labels_of_node(labels: Mapping[str, str]) -> dict[str, str]:
    """Return those labels of a node that what is made for it carries: cluster, machine set and role."""
    return {key: labels[key] for key in (CLUSTER, MACHINE_SET, CONTROL_PLANE, WORKER) if key in labels}


class World:
    """The store as controllers see it, and what they remember.

    Types are named without their ending, namespaces never: each type lives in its own.

    Args:
        store: The state.
        schedule: The time.
        chance: Where all chance comes from.

    Attributes:
        store: The state.
        schedule: The time.
        chance: Where all chance comes from.
        machines: The living machines by id.
        sets: Ids of the machine sets of each cluster.
        nodes: Ids of the nodes of each machine set.
        members: Ids of the cluster machines of each machine set.
        patches: Ids of the config patches of each cluster.
        diffs: Ids of the kept differences of each machine's configurations.
    """

    def __init__(self, store: Store, schedule: Schedule, chance: random.Random) -> None:
        self.store = store
        self.schedule = schedule
        self.chance = chance
        self.machines: dict[str, Machine] = {}
        self.sets: dict[str, set[str]] = defaultdict(set)
        self.nodes: dict[str, set[str]] = defaultdict(set)
        self.members: dict[str, set[str]] = defaultdict(set)
        self.patches: dict[str, set[str]] = defaultdict(set)
        self.diffs: dict[str, list[str]] = defaultdict(list)

    def reset(self) -> None:
        """Forget everybody, and look anew who belongs to whom."""
        self.machines.clear()
        for group in (self.sets, self.nodes, self.members, self.patches, self.diffs):
            group.clear()
        for kind in ("MachineSets", "MachineSetNodes", "ClusterMachines", "ConfigPatches"):
            for resource in self.list(kind):
                self.note(Event(CREATED, resource))
        for diff in self.list("MachineConfigDiffs"):
            self.diffs[diff.labels.get(L + "machine", "")].append(diff.id)

    def note(self, event: Event) -> None:
        """Keep track of who belongs to whom."""
        resource = event.resource
        if resource is None:
            return
        if resource.type == "ConfigPatches" + O:
            if event.old is not None:
                self.patches[event.old.labels.get(CLUSTER, "")].discard(resource.id)
            if event.kind == DESTROYED:
                self.patches[resource.labels.get(CLUSTER, "")].discard(resource.id)
            else:
                self.patches[resource.labels.get(CLUSTER, "")].add(resource.id)
        if event.kind not in {CREATED, DESTROYED}:
            return
        if resource.type == "MachineSets" + O:
            group = self.sets[resource.labels.get(CLUSTER, "")]
        elif resource.type == "MachineSetNodes" + O:
            group = self.nodes[resource.labels.get(MACHINE_SET, "")]
        elif resource.type == "ClusterMachines" + O:
            group = self.members[resource.labels.get(MACHINE_SET, "")]
        else:
            return
        if event.kind == CREATED:
            group.add(resource.id)
        else:
            group.discard(resource.id)

    # --- time ---------------------------------------------------------------------------------------------------------

    def later(self, machine: Machine, seconds: float, action: Callable[[Machine], None]) -> None:
        """Plan a step of a machine.

        It is void when the machine enters or leaves a cluster meanwhile, and comes late when it does not answer.

        Args:
            machine: The machine.
            seconds: How long from now.
            action: What to do then.
        """
        generation = machine.generation

        def run() -> None:
            with self.store.lock:
                if machine.generation != generation or machine.id not in self.machines:
                    return
                if machine.away:
                    machine.waiting.append(run)
                else:
                    action(machine)

        self.schedule.after(seconds, run)

    def soon(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan something that no machine has to answer for."""

        def run() -> None:
            with self.store.lock:
                action()

        self.schedule.after(seconds, run)

    # --- who belongs to whom ----------------------------------------------------------------------------------------

    def sets_of(self, cluster: str) -> list[str]:
        """Return the machine sets of a cluster, those of control planes first."""
        return sorted(self.sets[cluster], key=lambda id_: (not self.is_control_plane(id_), id_))

    def members_of(self, cluster: str) -> list[str]:
        """Return the cluster machines of a cluster, control planes first."""
        return [id_ for machine_set in self.sets_of(cluster) for id_ in sorted(self.members[machine_set])]

    def control_planes(self, cluster: str) -> list[str]:
        """Return the control planes of a cluster."""
        sets = [id_ for id_ in self.sets_of(cluster) if self.is_control_plane(id_)]
        return [id_ for machine_set in sets for id_ in sorted(self.members[machine_set])]

    def is_control_plane(self, machine_set: str) -> bool:
        """Whether a machine set is one of control planes."""
        found = self.find("MachineSets", machine_set)
        return found is not None and CONTROL_PLANE in found.labels

    # --- reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, id_: str) -> Stored | None:
        """Return a resource, None when it is not there."""
        type_name = kind + O
        return self.store.find(default_namespace(type_name), type_name, id_)

    def running(self, kind: str, id_: str) -> Stored | None:
        """Return a resource, None when it is not there or torn down."""
        found = self.find(kind, id_)
        return None if found is None or found.phase != RUNNING else found

    def list(self, kind: str) -> list[Stored]:
        """Return all resources of a kind."""
        type_name = kind + O
        return self.store.list(default_namespace(type_name), type_name)

    def spec(self, kind: str, id_: str) -> Any:
        """Return the spec of a resource, None when it is not there."""
        found = self.find(kind, id_)
        return None if found is None else found.decode()

    # --- writing ----------------------------------------------------------------------------------------------------

    def put(
        self,
        kind: str,
        id_: str,
        spec: Mapping[str, Any] | None = None,
        *,
        owner: str = "",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        finalizers: Iterable[str] | None = None,
    ) -> Stored:
        """Create a resource, or replace what is given of one that is there."""
        return self.store.put(
            kind + O, id_, spec or {}, owner=owner, labels=labels, annotations=annotations, finalizers=finalizers
        )

    def change(self, kind: str, id_: str, **fields: Any) -> None:
        """Change fields of a spec, lists and messages included; nothing is written when they are so already."""
        found = self.find(kind, id_)
        if found is None:
            return
        spec = found.decode()
        for name, value in fields.items():
            if isinstance(value, list):
                del getattr(spec, name)[:]
                getattr(spec, name).extend(value)
            elif isinstance(value, dict):
                getattr(spec, name).clear()
                getattr(spec, name).update(value)
            else:
                setattr(spec, name, value)
        data = spec.SerializeToString(deterministic=True)
        if data != found.spec:
            self.store.modify(found.namespace, found.type, id_, spec=data)

    def label(self, kind: str, id_: str, add: Mapping[str, str] | None = None, drop: Iterable[str] = ()) -> None:
        """Add and take off labels; nothing is written when they are so already."""
        found = self.find(kind, id_)
        if found is None:
            return
        gone = frozenset(drop)
        labels = {**{key: value for key, value in found.labels.items() if key not in gone}, **(add or {})}
        if labels != found.labels:
            self.store.modify(found.namespace, found.type, id_, labels=labels)

    def annotate(self, kind: str, id_: str, add: Mapping[str, str] | None = None, drop: Iterable[str] = ()) -> None:
        """Add and take off annotations; nothing is written when they are so already."""
        found = self.find(kind, id_)
        if found is None:
            return
        gone = frozenset(drop)
        annotations = {**{key: value for key, value in found.annotations.items() if key not in gone}, **(add or {})}
        if annotations != found.annotations:
            self.store.modify(found.namespace, found.type, id_, annotations=annotations)

    def hold(self, kind: str, id_: str, *holders: str) -> None:
        """Add finalizers, one write for each."""
        found = self.find(kind, id_)
        if found is not None:
            hold(self.store, found, holders)

    def release(self, kind: str, id_: str, *holders: str) -> None:
        """Take finalizers off, one write for each."""
        found = self.find(kind, id_)
        if found is not None:
            release(self.store, found, holders)

    def tear_down(self, kind: str, id_: str) -> None:
        """Begin to tear a resource down; one that is torn down stays as it is."""
        found = self.running(kind, id_)
        if found is not None:
            self.store.modify(found.namespace, found.type, id_, phase=TEARING_DOWN)

    def end(self, kind: str, id_: str, *first: str) -> None:
        """Tear a resource down, let everybody go of it, those given first, and destroy it."""
        self.tear_down(kind, id_)
        found = self.find(kind, id_)
        if found is not None:
            release(self.store, found, (*first, *found.finalizers))
            self.store.remove(found.namespace, found.type, id_)

    def remove(self, kind: str, id_: str) -> None:
        """Destroy a resource at once."""
        type_name = kind + O
        self.store.remove(default_namespace(type_name), type_name, id_)
