"""What machine sets and clusters say of themselves: counts, phases, readiness, and whose turn an upgrade is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import RUNNING, TEARING_DOWN
from omniherd.emulator.simulation.world import CONTROL_PLANE, LOCKED, L, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from omniherd.emulator.records import Stored

__all__ = ["Member", "SetState", "Statuses", "quota_of", "set_state"]

_UNSET, _SCALING_UP, _SCALING_DOWN, _RUNNING, _DESTROYING, _FAILED, _RECONFIGURING, _UPGRADING = range(8)
_RUNNING_STAGE, _DESTROYING_STAGE = 4, 5
_CONFIG, _UPGRADE = "config", "upgrade"
_UNLIMITED = 1
_COUNTS = ("total", "healthy", "connected", "requested")


@dataclass(frozen=True, slots=True)
class Member:
    """How a machine of a set is.

    Attributes:
        leaving: Whether it is on its way out.
        reported: Whether it has a status.
        healthy: Whether it runs and is ready.
        connected: Whether it answers.
        locked: Whether changes of it wait until somebody unlocks it.
        pending: What waits: `config`, `upgrade` or nothing.
    """

    leaving: bool = False
    reported: bool = False
    healthy: bool = False
    connected: bool = False
    locked: bool = False
    pending: str = ""


@dataclass(frozen=True, slots=True)
class SetState:
    """What the status of a machine set says.

    Attributes:
        phase: Its phase, as Omni numbers them.
        ready: Whether all is as it should be.
        error: What is wrong.
        counts: Machines in total, healthy, connected and requested.
        locked_updates: How many changes wait for a lock.
    """

    phase: int
    ready: bool
    error: str
    counts: tuple[int, int, int, int]
    locked_updates: int


def set_state(
    members: Sequence[Member], requested: int, *, control_plane: bool = False, destroying: bool = False
) -> SetState:
    """Decide what the status of a machine set says.

    Args:
        members: Its machines.
        requested: How many it should have.
        control_plane: Whether it is one of control planes.
        destroying: Whether it is torn down.
    """
    total = len(members)
    if destroying:
        return SetState(_DESTROYING, ready=False, error="", counts=(total, 0, 0, 0), locked_updates=0)
    healthy = sum(member.healthy for member in members)
    counts = (total, healthy, sum(member.connected for member in members), requested)
    locked = sum(member.locked and bool(member.pending) for member in members)
    if control_plane and not requested and not total:
        text = "control plane machine set must have at least one node"
        return SetState(_FAILED, ready=False, error=text, counts=counts, locked_updates=0)
    staying = sum(not member.leaving for member in members)
    waiting = {member.pending for member in members if not member.locked}
    if staying < requested or (total and not any(member.reported for member in members)):
        phase = _SCALING_UP
    elif total > requested:
        phase = _SCALING_DOWN
    elif _UPGRADE in waiting:
        phase = _UPGRADING
    elif _CONFIG in waiting:
        phase = _RECONFIGURING
    else:
        phase = _RUNNING
    return SetState(phase, phase == _RUNNING and healthy == requested, "", counts, locked)


def quota_of(sets: Iterable[tuple[str, bool]], *, at_rest: bool, control_planes_first: bool) -> dict[str, int]:
    """Decide which machine sets may let a machine upgrade: none while one is not well, control planes first.

    Args:
        sets: Ids of machine sets, and whether they are of control planes.
        at_rest: Whether all machines are well.
        control_planes_first: Whether a control plane has still to upgrade.
    """
    if not at_rest:
        return {}
    return {id_: 1 for id_, control_plane in sets if control_plane or not control_planes_first}


class Statuses:
    """Keeps the statuses of machine sets and clusters in step with their machines.

    Args:
        world: What they live in.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._members: dict[str, Member] = {}
        self._sets: set[str] = set()
        self._clusters: set[str] = set()

    def touch_machine(self, id_: str, machine_set: str) -> None:
        """Look at a machine of a set again, and at all that is counted from it."""
        self._members.pop(id_, None)
        self.touch_set(machine_set)

    def touch_set(self, machine_set: str) -> None:
        """Look at a machine set again."""
        if machine_set:
            self._sets.add(machine_set)

    def touch_cluster(self, cluster: str) -> None:
        """Look at a cluster again."""
        if cluster:
            self._clusters.add(cluster)

    def reset(self) -> None:
        """Look at everything again when somebody asks."""
        self._members.clear()
        self._sets.clear()
        self._clusters.clear()

    def settle(self) -> bool:
        """Write one status that may have changed; tell whether there was one."""
        if self._sets:
            self._tell_set(self._take(self._sets))
            return True
        if self._clusters:
            self.tell_cluster(self._take(self._clusters))
            return True
        return False

    def at_rest(self, cluster: str) -> bool:
        """Whether all machines of a cluster are well."""
        return all(self.member(id_).healthy for id_ in self._world.members_of(cluster))

    @staticmethod
    def _take(waiting: set[str]) -> str:
        first = min(waiting)
        waiting.discard(first)
        return first

    # --- machine sets -----------------------------------------------------------------------------------------------

    def member(self, id_: str) -> Member:
        """Return how a machine of a cluster is."""
        found = self._members.get(id_)
        if found is None:
            found = self._members[id_] = self._look(id_)
        return found

    def _look(self, id_: str) -> Member:
        world = self._world
        member = world.find("ClusterMachines", id_)
        status = world.find("ClusterMachineStatuses", id_)
        pending = world.running("MachinePendingUpdates", id_)
        leaving = member is None or member.phase == TEARING_DOWN
        waits = "" if pending is None else _UPGRADE if pending.decode().HasField("upgrade") else _CONFIG
        if status is None:
            return Member(leaving=leaving, pending=waits)
        spec = status.decode()
        return Member(
            leaving=leaving,
            reported=True,
            healthy=spec.ready and spec.stage == _RUNNING_STAGE and not leaving,
            connected=L + "connected" in status.labels,
            locked=LOCKED in status.annotations,
            pending=waits,
        )

    def requested(self, machine_set: Stored) -> int:
        """Return how many machines a set should have."""
        world, spec = self._world, machine_set.decode()
        nodes = [world.running("MachineSetNodes", id_) for id_ in world.nodes[machine_set.id]]
        present = sum(node is not None for node in nodes)
        allocation = spec.machine_allocation
        if not spec.HasField("machine_allocation") or allocation.allocation_type == _UNLIMITED:
            return present
        return int(allocation.machine_count)

    def _tell_set(self, id_: str) -> None:
        world = self._world
        machine_set = world.find("MachineSets", id_)
        if machine_set is None:
            return
        cluster = machine_set.labels.get(L + "cluster", "")
        destroying = machine_set.phase == TEARING_DOWN
        if destroying and world.running("MachineSetStatuses", id_) is None:
            return
        ids = sorted(world.members[id_])
        state = set_state(
            [self.member(member) for member in ids],
            self.requested(machine_set),
            control_plane=CONTROL_PLANE in machine_set.labels,
            destroying=destroying,
        )
        fields: dict[str, Any] = {
            "phase": state.phase,
            "ready": state.ready,
            "error": state.error,
            "machines": dict(zip(_COUNTS, state.counts, strict=True)),
            "config_hash": self._hash(ids),
            "locked_updates": state.locked_updates,
        }
        spec = machine_set.decode()
        if spec.HasField("machine_allocation"):
            fields["machine_allocation"] = spec.machine_allocation
        world.put(
            "MachineSetStatuses",
            id_,
            fields,
            owner="MachineSetStatusController",
            labels={key: value for key, value in machine_set.labels.items() if key.startswith(L)},
        )
        world.hold("MachineSetStatuses", id_, "ClusterStatusController")
        self.touch_cluster(cluster)

    def _hash(self, ids: list[str]) -> str:
        digests = hashlib.sha256()
        for id_ in ids:
            spec = self._world.spec("ClusterMachineConfigStatuses", id_)
            if spec is not None:
                digests.update(spec.cluster_machine_config_sha256.encode())
        return digests.hexdigest()

    # --- clusters ---------------------------------------------------------------------------------------------------

    def tell_cluster(self, name: str) -> None:
        """Write the status of a cluster now."""
        world = self._world
        cluster, status = world.find("Clusters", name), world.running("ClusterStatuses", name)
        if cluster is None or status is None:
            return
        sets = world.sets_of(name)
        states = {id_: world.spec("MachineSetStatuses", id_) for id_ in sets}
        known = [state for state in states.values() if state is not None]
        spec = status.decode()
        for count in _COUNTS:
            setattr(spec.machines, count, sum(getattr(state.machines, count) for state in known))
        spec.machines.SetInParent()
        phases = {state.phase for state in known}
        if cluster.phase == TEARING_DOWN:
            spec.phase = 4
        else:
            spec.phase = 1 if _SCALING_UP in phases else 2 if _SCALING_DOWN in phases else 3 if known else 0
        spec.available = spec.machines.total > 0
        spec.ready = spec.available and spec.phase == 3 and all(state.ready for state in known)
        wanted = cluster.decode()
        spec.talos_version, spec.kubernetes_version = wanted.talos_version, wanted.kubernetes_version
        self._tell_control_planes(name, spec, states)
        data = spec.SerializeToString(deterministic=True)
        if data != status.spec:
            world.store.modify(status.namespace, status.type, name, spec=data)
        if cluster.phase == RUNNING:
            self._tell_quota(name, sets)
            self._tell_static_pods(name, ready=spec.ready)

    def _tell_control_planes(self, name: str, spec: Any, states: dict[str, Any]) -> None:
        world = self._world
        planes = [id_ for id_ in states if world.is_control_plane(id_)]
        spec.has_connected_control_planes = any(
            states[id_] is not None and states[id_].machines.connected for id_ in planes
        )
        spec.controlplaneReady = bool(planes) and all(
            world.running("ControlPlaneStatuses", id_) is not None and states[id_] is not None and states[id_].ready
            for id_ in planes
        )
        balancer = world.spec("LoadBalancerStatuses", name)
        spec.kubernetesAPIReady = balancer is not None and balancer.healthy

    def _tell_quota(self, name: str, sets: list[str]) -> None:
        world = self._world
        quota = quota_of(
            [(id_, world.is_control_plane(id_)) for id_ in sets if world.running("MachineSets", id_) is not None],
            at_rest=self.at_rest(name),
            control_planes_first=any(
                self.member(id_).pending == _UPGRADE or self._is_outdated(id_) for id_ in world.control_planes(name)
            ),
        )
        world.change("UpgradeRollouts", name, machine_sets_upgrade_quota=quota)

    def _is_outdated(self, id_: str) -> bool:
        """Whether a machine runs another Talos than its cluster wants, and is configured already."""
        machine = self._world.machines.get(id_)
        member = self._world.running("ClusterMachines", id_)
        if machine is None or member is None or not machine.config:
            return False
        cluster = self._world.spec("Clusters", member.labels.get(L + "cluster", ""))
        return cluster is not None and machine.talos != f"v{cluster.talos_version}"

    def _tell_static_pods(self, name: str, *, ready: bool) -> None:
        """Say that static pods are not ready while a cluster is not; a server looks no closer."""
        world = self._world
        status = world.spec("KubernetesUpgradeStatuses", name)
        if status is None or status.phase != 2:
            return
        nodes = world.spec("KubernetesStatuses", name)
        pods = [f'"{node.nodename}/{pod.app}"' for node in nodes.static_pods for pod in node.static_pods]
        text = "" if ready else f"static pods [{' '.join(pods)}] are not ready"
        world.change("KubernetesUpgradeStatuses", name, status=text)
