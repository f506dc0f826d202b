"""Machine classes: which free machines a machine set takes, and which it gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.records import RUNNING
from omniherd.emulator.simulation.reports import FREE
from omniherd.emulator.simulation.world import CLUSTER, CONTROL_PLANE, MACHINE_SET, WORKER, L
from omniherd.errors import SelectorError
from omniherd.selectors import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from omniherd.emulator.records import Stored
    from omniherd.emulator.simulation.world import World

__all__ = ["Allocation", "choose", "matches"]

_MANAGED = L + "managed-by-machine-set-node-controller"
_UNLIMITED = 1


def matches(selectors: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Whether a machine is one of a class.

    Args:
        selectors: The class's selectors; one that matches is enough.
        labels: The machine's labels.
    """
    for selector in selectors:
        try:
            if parse(selector).matches(labels):
                return True
        except SelectorError:
            continue  # validators refuse it, unless it came as a seed
    return False


def choose(have: Sequence[str], free: Sequence[str], wanted: int | None) -> tuple[list[str], list[str]]:
    """Decide which machines a set takes and which it gives back.

    Args:
        have: The machines that it has by allocation, in their order.
        free: Free machines that match, in their order.
        wanted: How many it should have; None for all that match.

    Returns:
        The machines to take, and those to give back: the first ones go first.
    """
    if wanted is None:
        return list(free), []
    missing = wanted - len(have)
    return list(free[: max(0, missing)]), list(have[: max(0, -missing)])


class Allocation:
    """Makes nodes for machine sets that name a machine class.

    Args:
        world: What they live in.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def look(self) -> None:
        """Give every machine set what it lacks and can have, and take what it has too much."""
        world = self._world
        for sets in list(world.sets.values()):
            for id_ in sorted(sets):
                machine_set = world.running("MachineSets", id_)
                if machine_set is not None and machine_set.decode().HasField("machine_allocation"):
                    self.fill(machine_set)

    def fill(self, machine_set: Stored) -> None:
        """Give a machine set what it lacks and can have, and take what it has too much."""
        world, spec = self._world, machine_set.decode()
        if not spec.HasField("machine_allocation"):
            return
        allocation = spec.machine_allocation
        world.hold("MachineSets", machine_set.id, "MachineSetNodeController")
        nodes = [world.running("MachineSetNodes", id_) for id_ in sorted(world.nodes[machine_set.id])]
        have = [node.id for node in nodes if node is not None and _MANAGED in node.labels]
        wanted = None if allocation.allocation_type == _UNLIMITED else int(allocation.machine_count)
        lacks = wanted is None or len(have) < wanted
        take, give = choose(have, self._free(allocation.name) if lacks else (), wanted)
        for id_ in give:
            world.tear_down("MachineSetNodes", id_)
        for id_ in take:
            self._make(machine_set, id_)

    def _free(self, class_name: str) -> list[str]:
        world = self._world
        selectors = world.spec("MachineClasses", class_name)
        if selectors is None or selectors.HasField("auto_provision"):
            return []
        wanted = list(selectors.match_labels)
        found: list[str] = []
        for id_ in sorted(world.machines):
            status = world.find("MachineStatuses", id_)
            taken = world.find("MachineSetNodes", id_) is not None or world.find("ClusterMachines", id_) is not None
            if status is not None and not taken and FREE in status.labels and matches(wanted, status.labels):
                found.append(id_)
        return found

    def _make(self, machine_set: Stored, id_: str) -> None:
        role = CONTROL_PLANE if CONTROL_PLANE in machine_set.labels else WORKER
        cluster = machine_set.labels.get(CLUSTER, "")
        if machine_set.phase == RUNNING:
            self._world.put(
                "MachineSetNodes",
                id_,
                labels={CLUSTER: cluster, MACHINE_SET: machine_set.id, role: "", _MANAGED: ""},
                finalizers=("MachineSetNodeController",),
            )
