"""What a real server did around machines, replayed on the emulator in stepped time, and compared step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lifecycle_player import Names, compare, play, read, record, watch

from omniherd.emulator.catalog import add_catalog
from omniherd.emulator.controllers import Controllers
from omniherd.emulator.definitions import add_definitions
from omniherd.emulator.records import TEARING_DOWN
from omniherd.emulator.simulation import Fleet
from omniherd.emulator.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from lifecycle_player import Track

O = ".omni.sidero.dev"  # noqa: E741
L = "omni.sidero.dev/"

RECORDED = {f"100{number}1802-c798-4da7-a410-f09abb48c8d8": f"m{number}" for number in range(6)}

# Copies of other resources, and what stands for nothing in the life of a machine here.
LEFT_OUT = {
    "OngoingTasks": "not made: no view of them outside Omni's own pages",
    "KernelArgsStatuses": "not made: kernel arguments do not change here",
    "SchematicConfigurations": "not made: one schematic for all",
    "MachineConfigGenOptions": "not made: nothing reads them",
    "MachineExtensionsStatuses": "there are no extensions",
    "MachineStatusLabels": "a copy of the labels of MachineStatuses",
    "KubernetesNodeAuditResults": "not made: no nodes are audited",
}

# How many of the recorded steps must come out the same, and how many others may come beside them.
FLOORS = {"lifecycle.jsonl": (490, 70), "lifecycle-class.jsonl": (700, 140)}


class Operator:
    """Does to a store what the operator of the record did."""

    def __init__(self, store: Store, machines: list[str], cluster: str) -> None:
        self.store = store
        self.machines = machines
        self.cluster = cluster

    def make_cluster(self, talos: str, kubernetes: str, **metadata: Any) -> None:
        spec = {
            "talos_version": talos,
            "kubernetes_version": kubernetes,
            "features": {"use_embedded_discovery_service": True},
        }
        annotations = {L + "managed-by-cluster-templates": ""}
        self.store.put("Clusters" + O, self.cluster, spec, annotations=annotations, **metadata)

    def labels(self, role: str, **others: str) -> dict[str, str]:
        return {L + "cluster": self.cluster, L + f"role-{role}": "", **others}

    def make_set(self, suffix: str, role: str, allocation: tuple[str, int] | None = None) -> None:
        spec: dict[str, Any] = {"update_strategy": 1}
        if allocation is not None:
            spec["machine_allocation"] = dict(zip(("name", "machine_count"), allocation, strict=True))
        self.store.put("MachineSets" + O, f"{self.cluster}-{suffix}", spec, labels=self.labels(role))

    def make_node(self, number: int, suffix: str, role: str) -> None:
        labels = self.labels(role, **{L + "machine-set": f"{self.cluster}-{suffix}"})
        self.store.put("MachineSetNodes" + O, self.machines[number], labels=labels)

    def make_patch(self, id_: str, data: str, **labels: str) -> None:
        named = {L + key.replace("_", "-"): value for key, value in labels.items()}
        self.store.put("ConfigPatches" + O, id_, {"data": data}, labels={L + "cluster": self.cluster, **named})

    def change(self, kind: str, id_: str, edit: Callable[[Any], None]) -> None:
        spec = self.store.get("default", kind + O, id_).decode()
        edit(spec)
        self.store.modify("default", kind + O, id_, spec=spec.SerializeToString(deterministic=True))

    def want(self, **versions: str) -> None:
        def edit(spec: Any) -> None:
            for name, version in versions.items():
                setattr(spec, name, version)

        self.change("Clusters", self.cluster, edit)

    def scale(self, count: int) -> None:
        def edit(spec: Any) -> None:
            spec.machine_allocation.machine_count = count

        self.change("MachineSets", f"{self.cluster}-workers", edit)

    def tear_down(self, kind: str, id_: str) -> None:
        self.store.modify("default", kind + O, id_, phase=TEARING_DOWN)


def by_id(operator: Operator) -> list[tuple[float, Callable[[], None]]]:
    """Return what was done in lifecycle.jsonl: machines by id, scale, Kubernetes upgrade, deletion."""
    wide = "machine:\n    network:\n        nameservers:\n            - 127.0.0.1\n"
    patch = f"200-cluster-{operator.cluster}-cluster-wide"
    return [
        (2.76, lambda: operator.make_cluster("1.13.5", "1.35.5", labels={"env": "test"})),
        (2.76, lambda: operator.make_patch(patch, wide)),
        (2.77, lambda: operator.make_set("control-planes", "controlplane")),
        (2.86, lambda: operator.make_set("workers", "worker")),
        (2.89, lambda: operator.make_node(5, "workers", "worker")),
        (2.93, lambda: operator.make_node(3, "control-planes", "controlplane")),
        (3.01, lambda: operator.make_node(4, "workers", "worker")),
        (153.13, lambda: operator.tear_down("MachineSetNodes", operator.machines[5])),
        (158.3, lambda: operator.want(kubernetes_version="1.36.0")),
        (188.96, lambda: operator.tear_down("Clusters", operator.cluster)),
    ]


def by_class(operator: Operator) -> list[tuple[float, Callable[[], None]]]:
    """Return what was done in lifecycle-class.jsonl: machine classes, scale, both upgrades, patches, deletion."""
    put, machines = operator.store.put, operator.machines
    sysctls = 'machine:\n  sysctls:\n    net.core.somaxconn: "{}"\n'
    bad = "machine:\n  kubelet:\n    nodeIP:\n      validSubnets:\n        - not-a-cidr\n"
    four = "machine:\n  nodeLabels:\n    mach-own: four\n"

    def label(number: int) -> None:
        role = "cp" if number == 3 else "worker"
        put("MachineLabels" + O, machines[number], labels={"mach-role": role})

    def make_class(name: str) -> None:
        put("MachineClasses" + O, name, {"match_labels": selectors[name]})

    def patch_workers() -> None:
        data = "machine:\n  nodeLabels:\n    mach: worker\n"
        operator.make_patch("500-mach-a-workers", data, machine_set="mach-a-workers")

    selectors = {"mach-cp": ["mach-role = cp"], "mach-workers": ["mach-role = worker, site != far"]}
    return [
        (0.44, lambda: label(3)),
        (0.46, lambda: label(4)),
        (0.47, lambda: label(5)),
        *(
            (0.56, lambda name=name: put("MachineClasses" + O, name, {"match_labels": selectors[name]}))
            for name in selectors
        ),
        (3.88, lambda: operator.make_cluster("1.13.4", "1.35.5")),
        (3.90, lambda: operator.make_set("control-planes", "controlplane", ("mach-cp", 1))),
        (3.91, lambda: operator.make_set("workers", "worker", ("mach-workers", 2))),
        (55.82, lambda: operator.scale(1)),
        (64.81, lambda: operator.scale(2)),
        (73.0, lambda: operator.want(talos_version="1.13.5")),
        (82.37, lambda: operator.want(kubernetes_version="1.36.0")),
        (171.03, lambda: operator.make_patch("500-mach-a-cluster", sysctls.format(4096))),
        (176.13, patch_workers),
        (181.28, lambda: operator.make_patch("500-mach-a-cm", four, cluster_machine=machines[4])),
        (188.70, lambda: operator.make_patch("500-mach-a-cluster", sysctls.format(8192))),
        (201.39, lambda: operator.make_patch("500-mach-a-bad2", bad, cluster_machine=machines[5])),
        (209.95, lambda: operator.tear_down("ConfigPatches", "500-mach-a-bad2")),
        (223.69, lambda: operator.tear_down("Clusters", operator.cluster)),
    ]


def without_teardowns(track: Track) -> None:
    """Leave out what the second record leaves out."""
    for (kind, _), steps in track.steps.items():
        if kind in {"MachinePendingUpdates", "MachineConfigDiffs"}:
            steps[:] = [step for step in steps if (step.kind, step.phase) != ("UPDATED", TEARING_DOWN)]


@pytest.fixture(scope="module")
def replayed() -> dict[str, tuple[Track, Track]]:
    """Play both records one after the other on the same machines, as they were taken."""
    store = Store()
    add_definitions(store)
    add_catalog(store, "acme0")
    fleet = Fleet(store, 6, seed=0)
    Controllers(store, fleet)
    fleet.step(0)
    names = Names({id_: f"m{number}" for number, id_ in enumerate(fleet.machines)})
    theirs = Names(RECORDED)
    lines = read("lifecycle.jsonl")
    kinds = {line["type"].removesuffix(O) for line in lines} - LEFT_OUT.keys()
    track = watch(store, names, kinds)
    play(fleet, by_id(Operator(store, fleet.machines, "judge-two")), 0, 210)
    track.closed = True
    found = {"lifecycle.jsonl": (record(lines, theirs, kinds), track)}
    lines = [line for line in read("lifecycle-class.jsonl") if line["at"] < 240]
    kinds = {line["type"].removesuffix(O) for line in lines if "type" in line} - LEFT_OUT.keys()
    track = watch(store, names, kinds)
    play(fleet, by_class(Operator(store, fleet.machines, "mach-a")), 0, 240)
    found["lifecycle-class.jsonl"] = (record(lines, theirs, kinds), track)
    for pair in found["lifecycle-class.jsonl"]:
        without_teardowns(pair)
    return found


@pytest.mark.parametrize("file", FLOORS)
def test_the_recorded_steps_come_out(replayed, file, request):
    recorded, played = replayed[file]
    tallies = compare(recorded, played)
    print()
    for kind, tally in tallies.items():
        print(f"{file}: {kind}: {tally.same} of {tally.recorded} steps the same, {tally.more} others")
    same = sum(tally.same for tally in tallies.values())
    steps = sum(tally.recorded for tally in tallies.values())
    more = sum(tally.more for tally in tallies.values())
    print(f"{file}: {same} of {steps} steps the same ({100 * same / steps:.0f} %), {more} others")
    if request.config.getoption("verbose") > 1:
        for tally in tallies.values():
            print("\n".join(tally.unlike))
    floor, ceiling = FLOORS[file]
    assert same >= floor
    assert more <= ceiling
