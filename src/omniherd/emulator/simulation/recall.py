"""Going on from a state that was kept: what machines are follows from what the server knew of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.records import RUNNING, TEARING_DOWN
from omniherd.emulator.simulation.machine import MAINTENANCE, REBOOTING, Machine
from omniherd.emulator.simulation.reports import INSTALLED

if TYPE_CHECKING:
    from omniherd.emulator.seed import MachinePlan
    from omniherd.emulator.simulation.clusters import Clusters
    from omniherd.emulator.simulation.kubernetes import Kubernetes
    from omniherd.emulator.simulation.membership import Membership
    from omniherd.emulator.simulation.patches import Patches
    from omniherd.emulator.simulation.talos import TalosUpgrades
    from omniherd.emulator.simulation.world import World

__all__ = ["Recall", "recalled"]

_DONE = 2
_BALANCER = 1.0


def recalled(world: World, plan: MachinePlan) -> Machine | None:
    """Return a machine as the server knew it last; None when it never joined.

    Args:
        world: What it lives in.
        plan: What it is made of.
    """
    status = world.find("MachineStatuses", plan.id)
    if status is None:
        return None
    spec, snapshot = status.decode(), world.spec("MachineStatusSnapshots", plan.id)
    config = world.spec("RedactedClusterMachineConfigs", plan.id)
    machine = Machine(plan, spec.talos_version, spec.schematic.full_id, spec.network.hostname)
    machine.installed = INSTALLED in status.labels
    machine.config = "" if config is None else config.data
    machine.foreign = config is None and not spec.maintenance
    machine.seen = spec.connected
    machine.away = not spec.connected
    machine.stage = MAINTENANCE if snapshot is None else snapshot.machine_status.stage
    if snapshot is not None:
        machine.unmet = tuple(found.reason for found in snapshot.machine_status.status.unmet_conditions)
    return machine


class Recall:
    """Finds out what is next for machines and clusters that were kept in the middle of something.

    Args:
        world: What they live in.
        membership: What makes machines members.
        patches: What gives machines their configuration.
        talos: What upgrades Talos.
        kubernetes: What runs on clusters.
        clusters: What looks after clusters.
    """

    def __init__(
        self,
        world: World,
        *,
        membership: Membership,
        patches: Patches,
        talos: TalosUpgrades,
        kubernetes: Kubernetes,
        clusters: Clusters,
    ) -> None:
        self._world = world
        self._membership = membership
        self._patches = patches
        self._talos = talos
        self._kubernetes = kubernetes
        self._clusters = clusters

    def go_on(self) -> None:
        """Plan what is next for everything."""
        world = self._world
        for machine in list(world.machines.values()):
            self._go_on_with(machine)
        for cluster in world.list("Clusters"):
            if cluster.phase == RUNNING:
                self._go_on_with_cluster(cluster.id)
            else:
                self._clusters.finish_cluster(cluster.id)
        for machine_set in world.list("MachineSets"):
            self._patches.soon(machine_set.id)
            if machine_set.phase == TEARING_DOWN:
                self._clusters.finish_set(machine_set.id)

    def _go_on_with(self, machine: Machine) -> None:
        world, id_ = self._world, machine.id
        node, member = world.find("MachineSetNodes", id_), world.find("ClusterMachines", id_)
        if node is not None and node.phase == TEARING_DOWN:
            self._membership.node_leaving(node)
        if member is not None and member.phase == TEARING_DOWN:
            self._membership.member_leaving(member)
        elif member is not None:
            upgrade = world.spec("MachinePendingUpdates", id_)
            known = world.find("ClusterMachineIdentities", id_) is not None
            if upgrade is not None and upgrade.HasField("upgrade"):
                self._talos.go_on(machine)
                if not known:
                    self._membership.make_known(machine)
            elif not known or machine.stage == REBOOTING or machine.foreign:
                self._membership.go_on(machine)
            else:
                self._patches.go_on(machine)
        elif node is not None and node.phase == RUNNING:
            self._membership.node_created(node)

    def _go_on_with_cluster(self, cluster: str) -> None:
        world = self._world
        bootstrap = world.spec("ClusterBootstrapStatuses", cluster)
        kubernetes = world.spec("KubernetesUpgradeStatuses", cluster)
        if (
            bootstrap is not None
            and bootstrap.bootstrapped
            and (kubernetes is None or not kubernetes.last_upgrade_version)
        ):
            world.remove("KubernetesStatuses", cluster)
            world.remove("KubernetesUpgradeStatuses", cluster)
            self._clusters.bootstrapped(cluster)
        elif kubernetes is not None:
            self._kubernetes.go_on(cluster)
            world.soon(_BALANCER, lambda: self._clusters.look_at_balancer(cluster))
        talos = world.spec("TalosUpgradeStatuses", cluster)
        if talos is not None and talos.phase != _DONE:
            self._talos.version_changed(cluster)
