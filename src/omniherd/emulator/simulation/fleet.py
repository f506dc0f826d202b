"""A living fleet: machines that join, and the controllers that make clusters of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from omniherd.emulator.records import CREATED, DESTROYED, RUNNING, TEARING_DOWN
from omniherd.emulator.seed import MachinePlan, plan_of
from omniherd.emulator.simulation.allocation import Allocation
from omniherd.emulator.simulation.clusters import Clusters
from omniherd.emulator.simulation.connection import Connection
from omniherd.emulator.simulation.kubernetes import Kubernetes
from omniherd.emulator.simulation.machine import RUNNING_STAGE, Machine
from omniherd.emulator.simulation.membership import Membership
from omniherd.emulator.simulation.metrics import Metrics
from omniherd.emulator.simulation.patches import Patches
from omniherd.emulator.simulation.recall import Recall, recalled
from omniherd.emulator.simulation.reports import FREE, INSTALLED, Reports
from omniherd.emulator.simulation.schedule import Schedule
from omniherd.emulator.simulation.statuses import Statuses
from omniherd.emulator.simulation.talos import TalosUpgrades
from omniherd.emulator.simulation.world import CLUSTER, CONTROL_PLANE, MACHINE_SET, O, World
from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.store import Store

__all__ = ["Fleet"]

_FIRST = 101  # the fleet that the emulator is seeded with has the numbers below
_TALOS = "v1.13.5"
_OF_A_MACHINE = (
    "MachineStatuses",
    "MachineStatusLabels",
    "MachineStatusLinks",
    "MachineStatusSnapshots",
    "MachineUpgradeStatuses",
    "MachineExtensionsStatuses",
    "NodeUniqueTokenStatuses",
    "Machines",
)


class Fleet:
    """Machines that join, and run what the resources of a store ask of them.

    A machine becomes a node when a machine set names it or takes it by a machine class, in the steps that were recorded
    from a real server. What the server does by itself happens at once; what machines do takes time, and time passes
    only with `step`, `run_until` or a `Pace`.

    Args:
        store: What they see and change.
        machines: How many machines join, at second 0.
        seed: What all chance comes from: with the same seed and the same calls the same happens.
        schedule: The time that they live in; one of its own for None.

    Attributes:
        schedule: The time that they live in.

    Example:
        >>> from omniherd.emulator import Emulator
        >>> with Emulator(machines=2, speed=0) as emulator:
        ...     len(emulator.fleet.machines)
        2
    """

    def __init__(self, store: Store, machines: int = 8, seed: int = 0, schedule: Schedule | None = None) -> None:
        self.schedule = schedule or Schedule()
        self._world = world = World(store, self.schedule, random.Random(seed))
        self._statuses = Statuses(world)
        self._reports = Reports(world)
        self._patches = Patches(world, self._statuses)
        self._membership = Membership(world, self._reports, self._patches)
        self._talos = TalosUpgrades(world, self._reports, self._patches, self._statuses, self._membership)
        self._kubernetes = Kubernetes(world, self._patches)
        self._clusters = Clusters(world, self._kubernetes, self._patches)
        self._connection = Connection(world, self._reports, self._clusters)
        self._allocation = Allocation(world)
        self._metrics = Metrics(world)
        self._handlers: dict[str, Callable[[Event, Stored], None]] = {
            "Clusters" + O: self._cluster,
            "MachineSets" + O: self._machine_set,
            "MachineSetNodes" + O: self._node,
            "MachineClasses" + O: self._machine_class,
            "MachineLabels" + O: self._machine_labels,
            "MachineSetStatuses" + O: self._set_status,
            "MachineStatuses" + O: self._machine_status,
            "ClusterMachines" + O: self._member,
            "ClusterMachineStatuses" + O: self._member_status,
            "ClusterMachineConfigStatuses" + O: self._config_status,
            "MachinePendingUpdates" + O: self._member_part,
            "ClusterMachineIdentities" + O: self._identity,
            "ClusterBootstrapStatuses" + O: self._bootstrap,
            "ClusterStatuses" + O: self._cluster_status,
            "ControlPlaneStatuses" + O: self._plane_status,
            "LoadBalancerStatuses" + O: self._balancer,
            "ConfigPatches" + O: self._patch,
            "Links" + O: self._link,
        }
        self._recall = Recall(
            world,
            membership=self._membership,
            patches=self._patches,
            talos=self._talos,
            kubernetes=self._kubernetes,
            clusters=self._clusters,
        )
        numbers = range(_FIRST, _FIRST + machines)
        self._plans = [MachinePlan(number, MachinePlan(number, "").id) for number in numbers]
        self.recall()

    def recall(self) -> None:
        """Take the state of the store for what is, whatever was before; machines that are not in it join at once."""
        world = self._world
        with world.store.lock:
            self.schedule.clear()
            self._statuses.reset()
            self._kubernetes.forget_all()
            self._patches.reset()
            self._membership.reset()
            world.reset()
            self._metrics.reset()
            for plan in self._plans:
                known = recalled(world, plan)
                if known is None:
                    self.schedule.after(0, lambda plan=plan: self._join(plan))  # type: ignore[misc]
                else:
                    world.machines[plan.id] = known
            for plan in filter(None, map(plan_of, world.list("MachineStatuses"))):
                known = recalled(world, plan)
                if known is not None:
                    world.machines[plan.id] = known
            self.schedule.after(0, self._go_on)

    def _go_on(self) -> None:
        with self._world.store.lock:
            self._recall.go_on()

    # --- for tests --------------------------------------------------------------------------------------------------

    @property
    def machines(self) -> list[str]:
        """Ids of the machines in the order in which they joined."""
        return list(self._world.machines)

    def step(self, seconds: float) -> None:
        """Let time pass, and do all that becomes due.

        Args:
            seconds: How long; 0 does what is due now.
        """
        self.schedule.step(seconds)

    def run_until(self, predicate: Callable[[], bool], limit: float = 3600.0) -> bool:
        """Let time pass from one event to the next until something is true.

        Args:
            predicate: What to wait for.
            limit: How many seconds to let pass at most.

        Returns:
            Whether it became true.
        """
        return self.schedule.run_until(predicate, limit)

    def disconnect(self, machine: str) -> None:
        """Cut a machine off. The server notices after minutes, as a real one does.

        Args:
            machine: Its id.

        Raises:
            InputError: The fleet has no such machine.
        """
        with self._world.store.lock:
            self._connection.lose(self._machine(machine))

    def reconnect(self, machine: str) -> None:
        """Bring a machine back; the server sees it when it looks next, within half a minute.

        Args:
            machine: Its id.

        Raises:
            InputError: The fleet has no such machine.
        """
        with self._world.store.lock:
            self._connection.find(self._machine(machine))

    def is_away(self, machine: str) -> bool:
        """Tell whether a machine is cut off, seen by the server or not.

        Args:
            machine: Its id.

        Raises:
            InputError: The fleet has no such machine.
        """
        return self._machine(machine).away

    def stall_upgrade(self, machine: str) -> None:
        """Let upgrades of a machine hang: of Talos in its reboot, of Kubernetes in the restart of what runs on it.

        Args:
            machine: Its id.

        Raises:
            InputError: The fleet has no such machine.
        """
        with self._world.store.lock:
            self._machine(machine).stalled = True

    def resume_upgrade(self, machine: str) -> None:
        """Let upgrades of a machine go on.

        Args:
            machine: Its id.

        Raises:
            InputError: The fleet has no such machine.
        """
        with self._world.store.lock:
            found = self._machine(machine)
            found.stalled = False
            self._talos.resume(found)
            if not found.away:
                waiting, found.waiting = found.waiting, []
                for action in waiting:
                    action()

    def reject_config(self, machine: str, error: str) -> None:
        """Let a machine refuse every configuration that it is given.

        Args:
            machine: Its id.
            error: What it says.

        Raises:
            InputError: The fleet has no such machine.
        """
        with self._world.store.lock:
            self._machine(machine).refusal = error

    def accept_config(self, machine: str) -> None:
        """Let a machine take configurations again; what it refused is offered anew.

        Args:
            machine: Its id.

        Raises:
            InputError: The fleet has no such machine.
        """
        with self._world.store.lock:
            self._machine(machine).refusal = ""
            self._patches.retry(machine)

    def _machine(self, id_: str) -> Machine:
        found = self._world.machines.get(id_)
        if found is None:
            raise InputError(f"the fleet has no machine {id_!r}", hint="fleet.machines lists those it has")
        return found

    # --- events -----------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Do what a change calls for; called by the controllers, one event after the other."""
        if event.resource is None:
            return
        self._world.note(event)
        handler = self._handlers.get(event.resource.type)
        if handler is not None:
            handler(event, event.resource)

    def settle(self) -> bool:
        """Bring a status up to date that changes since then were about; tell whether there was one."""
        return self._statuses.settle() or self._metrics.settle()

    def _join(self, plan: MachinePlan) -> None:
        with self._world.store.lock:
            machine = self._world.machines[plan.id] = Machine(plan, _TALOS)
            self._reports.join(machine)

    def receive(self, plan: MachinePlan, talos: str, schematic: str) -> None:
        """Let a machine join at once that runs a configuration from elsewhere.

        Args:
            plan: What it is made of.
            talos: The Talos version that it runs.
            schematic: Id of the schematic that it runs.
        """
        with self._world.store.lock:
            machine = Machine(plan, f"v{talos}", schematic, plan.hostname)
            machine.foreign = machine.installed = True
            machine.stage = RUNNING_STAGE
            self._world.machines[plan.id] = machine
            self._reports.join(machine)

    def _cluster(self, event: Event, cluster: Stored) -> None:
        if event.kind == DESTROYED:
            self._clusters.cluster_gone(cluster.id)
            return
        self._statuses.touch_cluster(cluster.id)
        if cluster.phase == TEARING_DOWN:
            if event.old is None or event.old.phase == RUNNING:
                self._statuses.tell_cluster(cluster.id)
                self._clusters.cluster_leaving(cluster.id)
            return
        self._clusters.cluster_changed(event, cluster)
        old = event.old
        if old is None:
            return
        if old.spec != cluster.spec:
            before, after = old.decode(), cluster.decode()
            if before.talos_version != after.talos_version:
                self._talos.version_changed(cluster.id)
            if before.kubernetes_version != after.kubernetes_version:
                self._kubernetes.version_changed(cluster.id)
        if old.annotations != cluster.annotations:
            self._look_at_locks(cluster.id, self._world.members_of(cluster.id))

    def _machine_set(self, event: Event, machine_set: Stored) -> None:
        cluster = machine_set.labels.get(CLUSTER, "")
        self._statuses.touch_set(machine_set.id)
        if event.kind == DESTROYED:
            self._statuses.touch_cluster(cluster)
            self._clusters.finish_cluster(cluster)
            return
        if machine_set.phase == TEARING_DOWN:
            if event.old is None or event.old.phase == RUNNING:
                self._clusters.set_leaving(machine_set)
            return
        self._clusters.set_changed(machine_set)
        if event.kind == CREATED:
            self._clusters.set_created(machine_set)
        if event.old is None or event.old.spec != machine_set.spec:
            self._allocation.fill(machine_set)

    def _node(self, event: Event, node: Stored) -> None:
        machine_set = node.labels.get(MACHINE_SET, "")
        self._statuses.touch_set(machine_set)
        if event.kind == DESTROYED:
            self._allocation.look()
            self._clusters.finish_set(machine_set)
        elif node.phase == TEARING_DOWN:
            self._membership.node_leaving(node)
        elif event.kind == CREATED:
            self._membership.node_created(node)
        elif event.old is not None and event.old.annotations != node.annotations:
            self._look_at_locks(node.labels.get(CLUSTER, ""), [node.id])

    def _look_at_locks(self, cluster: str, machines: list[str]) -> None:
        for id_ in machines:
            self._patches.mark_lock(id_)
            if id_ in self._world.machines:
                self._membership.take_over(self._world.machines[id_])
        self._kubernetes.look(cluster)
        self._talos.advance(cluster)

    def _machine_class(self, event: Event, _class: Stored) -> None:
        if event.kind != DESTROYED:
            self._allocation.look()

    def _machine_labels(self, event: Event, labels: Stored) -> None:
        if event.kind == DESTROYED:
            self._reports.take_labels(labels, None)
        else:
            self._reports.take_labels(event.old, labels)

    def _machine_status(self, event: Event, status: Stored) -> None:
        self._metrics.machine(event, status)
        if event.kind == DESTROYED:
            return
        self._reports.copy_labels(status)
        machine = self._world.machines.get(status.id)
        if machine is not None and not machine.config:
            # Somebody may have installed or upgraded it in maintenance.
            machine.talos = status.decode().talos_version
            machine.installed = machine.installed or INSTALLED in status.labels
        if FREE in status.labels and (event.old is None or event.old.labels != status.labels):
            self._allocation.look()

    def _set_status(self, event: Event, status: Stored) -> None:
        if event.kind == DESTROYED:
            self._statuses.touch_cluster(status.labels.get(CLUSTER, ""))

    def _member(self, event: Event, member: Stored) -> None:
        cluster = member.labels.get(CLUSTER, "")
        self._statuses.touch_machine(member.id, member.labels.get(MACHINE_SET, ""))
        if event.kind != DESTROYED and member.phase == TEARING_DOWN:
            if event.old is not None and event.old.phase == RUNNING:
                self._membership.member_leaving(member)
        elif event.kind == DESTROYED:
            self._clusters.member_gone(member)
            self._allocation.look()
            self._kubernetes.nodes_changed(cluster)
        if CONTROL_PLANE in member.labels and event.kind in {CREATED, DESTROYED}:
            self._clusters.planes_changed(cluster)
        if event.old is not None and event.old.finalizers != member.finalizers:
            self._statuses.touch_cluster(cluster)
            self._talos.look(cluster)

    def _member_status(self, event: Event, status: Stored) -> None:
        self._member_part(event, status)
        if event.kind != DESTROYED and self._world.running("MachinePendingUpdates", status.id) is not None:
            self._patches.soon(status.labels.get(MACHINE_SET, ""))

    def _config_status(self, event: Event, status: Stored) -> None:
        self._member_part(event, status)
        member = self._world.find("ClusterMachines", status.id)
        if event.kind == CREATED and member is not None and CONTROL_PLANE in member.labels:
            self._clusters.plane_configured(member.labels.get(CLUSTER, ""))

    def _member_part(self, _event: Event, part: Stored) -> None:
        self._statuses.touch_machine(part.id, part.labels.get(MACHINE_SET, "") or self._set_of(part.id))

    def _set_of(self, id_: str) -> str:
        member = self._world.find("ClusterMachines", id_)
        return "" if member is None else member.labels.get(MACHINE_SET, "")

    def _identity(self, event: Event, identity: Stored) -> None:
        if event.kind == DESTROYED or event.old is None or event.old.spec != identity.spec:
            self._kubernetes.nodes_changed(identity.labels.get(CLUSTER, ""))

    def _bootstrap(self, event: Event, status: Stored) -> None:
        if event.kind == DESTROYED or event.old is None:
            return
        if status.decode().bootstrapped and not event.old.decode().bootstrapped:
            self._clusters.bootstrapped(status.id)

    def _cluster_status(self, event: Event, status: Stored) -> None:
        self._metrics.cluster(event, status)
        if event.kind == DESTROYED or event.old is None or event.old.spec == status.spec:
            return
        self._talos.look(status.id)
        self._kubernetes.look(status.id)
        self._talos.advance(status.id)

    def _plane_status(self, _event: Event, status: Stored) -> None:
        self._statuses.touch_cluster(status.labels.get(CLUSTER, ""))

    def _balancer(self, _event: Event, balancer: Stored) -> None:
        self._statuses.touch_cluster(balancer.id)

    def _patch(self, event: Event, patch: Stored) -> None:
        if event.kind == DESTROYED:
            self._patches.patch_changed(patch, None)
            self._clusters.finish_cluster(patch.labels.get(CLUSTER, ""))
        elif event.old is None or event.old.spec != patch.spec or event.old.labels != patch.labels:
            self._patches.patch_changed(event.old, patch)

    def _link(self, event: Event, link: Stored) -> None:
        """Forget a machine whose link is removed."""
        if event.kind != DESTROYED and link.phase == RUNNING:
            return
        world = self._world
        world.machines.pop(link.id, None)
        world.tear_down("MachineSetNodes", link.id)
        world.tear_down("ClusterMachines", link.id)
        world.remove("LinkStatuses", f"{link.id}/Links{O}")
        for kind in _OF_A_MACHINE:
            world.remove(kind, link.id)
        if event.kind != DESTROYED:
            world.release("Links", link.id, *link.finalizers)
