"""Talos upgrades: machine by machine, control planes first, each reboots into the version that the cluster wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.seed import SCHEMATIC
from omniherd.emulator.simulation.machine import REBOOTING, RUNNING_STAGE
from omniherd.emulator.simulation.membership import REDISCOVERED
from omniherd.emulator.simulation.patches import Candidate, whose_turn
from omniherd.emulator.simulation.world import CLUSTER, MACHINE_SET
from omniherd.emulator.versions import talos_upgrades

if TYPE_CHECKING:
    from omniherd.emulator.simulation.machine import Machine
    from omniherd.emulator.simulation.membership import Membership
    from omniherd.emulator.simulation.patches import Patches
    from omniherd.emulator.simulation.reports import Reports
    from omniherd.emulator.simulation.statuses import Statuses
    from omniherd.emulator.simulation.world import World

__all__ = ["TalosUpgrades", "progress"]

_UPGRADING, _DONE, _REVERTING = 1, 2, 4
_UPGRADE, _CONFIGURE = "UpgradePendingFinalizer", "ConfigUpdatePendingFinalizer"
_ROLLING = 1

_REGENERATE, _MARK, _MARK_NEXT, _SHOW_DIFF = 0.1, 0.15, 0.07, 0.03
_REBOOT, _BOOT, _RELEASE, _CONFIGURED, _VERSION_SEEN = 0.05, 2.0, 0.06, 0.03, 1.1


def progress(upgrading: list[str], *, at_rest: bool) -> str:
    """Return what a cluster says of the step that its Talos upgrade is at.

    Args:
        upgrading: The machines that upgrade now.
        at_rest: Whether all machines are well.
    """
    if not at_rest:
        return "waiting for the cluster to be ready"
    return f"current machine: {upgrading[0]}" if upgrading else "no machines are currently upgrading"


class TalosUpgrades:
    """Upgrades Talos.

    Args:
        world: What they live in.
        reports: What tells the server of machines.
        patches: What gives machines their configuration.
        statuses: What counts machines.
        membership: What makes machines members.
    """

    def __init__(
        self, world: World, reports: Reports, patches: Patches, statuses: Statuses, membership: Membership
    ) -> None:
        self._world = world
        self._membership = membership
        self._reports = reports
        self._patches = patches
        self._statuses = statuses

    def version_changed(self, cluster: str) -> None:
        """Begin to bring the machines of a cluster to the Talos version that it wants."""
        world = self._world
        status, wanted = world.spec("TalosUpgradeStatuses", cluster), world.spec("Clusters", cluster)
        if status is None or wanted is None:
            return
        world.change(
            "TalosUpgradeStatuses",
            cluster,
            phase=_REVERTING if status.last_upgrade_version == wanted.talos_version else _UPGRADING,
            step="no machines are currently upgrading",
            status="updating",
            current_upgrade_version=wanted.talos_version,
            upgrade_versions=[],
        )
        wait = _MARK
        for id_ in world.members_of(cluster):
            world.soon(_REGENERATE, lambda id_=id_: self._patches.regenerate(id_))  # type: ignore[misc]
            world.soon(wait, lambda id_=id_: self._mark(id_))  # type: ignore[misc]
            wait += _MARK_NEXT
        world.soon(wait, lambda: self.look(cluster))

    def _mark(self, id_: str) -> None:
        """Write down that a machine has to upgrade."""
        world, machine = self._world, self._world.machines.get(id_)
        member = world.running("ClusterMachines", id_)
        wanted = None if member is None else world.spec("Clusters", member.labels.get(CLUSTER, ""))
        if member is None or machine is None or wanted is None:
            return
        world.change("ClusterMachineTalosVersions", id_, talos_version=wanted.talos_version)
        if not machine.config:
            return
        old = machine.talos.removeprefix("v")
        if old == wanted.talos_version:
            world.end("MachinePendingUpdates", id_)
            self._patches.compare(id_)
            return
        self._patches.wait_for_upgrade(id_, (old, machine.schematic), (wanted.talos_version, SCHEMATIC))
        world.soon(_SHOW_DIFF, lambda: self._patches.compare(id_))
        world.soon(_SHOW_DIFF, lambda: self.advance(member.labels.get(CLUSTER, "")))

    def look(self, cluster: str) -> None:
        """Say how far the upgrade of a cluster is, and end it when it is done."""
        world = self._world
        status, wanted = world.spec("TalosUpgradeStatuses", cluster), world.spec("Clusters", cluster)
        if status is None or wanted is None or status.phase == _DONE:
            return
        members = world.members_of(cluster)
        waiting = [id_ for id_ in members if self._statuses.member(id_).pending == "upgrade"]
        marked = [world.spec("ClusterMachineTalosVersions", id_) for id_ in members]
        if not waiting and all(found is not None and found.talos_version == wanted.talos_version for found in marked):
            kubernetes, initial = wanted.kubernetes_version, world.spec("ClusterConfigVersions", cluster)
            world.change(
                "TalosUpgradeStatuses",
                cluster,
                phase=_DONE,
                step="",
                status="",
                last_upgrade_version=wanted.talos_version,
                current_upgrade_version="",
                upgrade_versions=talos_upgrades(
                    world.store, wanted.talos_version, kubernetes, "" if initial is None else initial.version
                ),
            )
            return
        upgrading = [id_ for id_ in members if self._is_held(id_)]
        fields = {"step": progress(upgrading, at_rest=self._statuses.at_rest(cluster))}
        if waiting:
            fields["status"] = f"updating machines {len(members) - len(waiting) + 1}/{len(members)}"
        world.change("TalosUpgradeStatuses", cluster, **fields)

    # --- whose turn it is -------------------------------------------------------------------------------------------

    def advance(self, cluster: str) -> None:
        """Let those machines upgrade whose turn it is."""
        world = self._world
        rollout = world.spec("UpgradeRollouts", cluster)
        if rollout is None:
            return
        for machine_set in world.sets_of(cluster):
            found = world.running("MachineSets", machine_set)
            if found is None or machine_set not in rollout.machine_sets_upgrade_quota:
                continue
            spec = found.decode()
            parallelism = spec.upgrade_strategy_config.rolling.max_parallelism or 1
            if world.is_control_plane(machine_set):
                parallelism = 1
            candidates = [self._candidate(id_) for id_ in sorted(world.members[machine_set])]
            for id_ in whose_turn([found for found in candidates if found is not None], parallelism):
                world.hold("ClusterMachines", id_, _UPGRADE)
                world.later(world.machines[id_], _REBOOT, self._reboot)

    def _candidate(self, id_: str) -> Candidate | None:
        state = self._statuses.member(id_)
        if state.pending != "upgrade" or state.leaving or id_ not in self._world.machines:
            return None
        able = state.healthy and state.connected and not self._patches.is_locked(id_)
        return Candidate(id_, self._is_held(id_), able)

    def _is_held(self, id_: str) -> bool:
        member = self._world.running("ClusterMachines", id_)
        return member is not None and _UPGRADE in member.finalizers

    # --- a machine upgrades -----------------------------------------------------------------------------------------

    def _reboot(self, machine: Machine) -> None:
        self._reports.status(machine, "unknown error")
        machine.stage = REBOOTING
        self._reports.stage(machine)
        if not machine.stalled:
            self._world.later(machine, _BOOT, self._booted)

    def resume(self, machine: Machine) -> None:
        """Let a machine come back whose upgrade hung."""
        if machine.stage == REBOOTING and self._is_held(machine.id):
            self._world.later(machine, _BOOT, self._booted)

    def go_on(self, machine: Machine) -> None:
        """Go on with the upgrade of a machine that was under way."""
        world, id_ = self._world, machine.id
        version, member = world.spec("ClusterMachineTalosVersions", id_), world.running("ClusterMachines", id_)
        if version is None or member is None:
            return
        if machine.stage == REBOOTING:
            self.resume(machine)
        elif machine.talos == f"v{version.talos_version}":
            world.later(machine, _RELEASE, self._release)
        else:
            world.release("ClusterMachines", id_, _UPGRADE, _CONFIGURE)
            world.soon(_SHOW_DIFF, lambda: self.advance(member.labels.get(CLUSTER, "")))

    def _booted(self, machine: Machine) -> None:
        world, id_ = self._world, machine.id
        if machine.stalled:
            return
        version = world.spec("ClusterMachineTalosVersions", id_)
        machine.stage = RUNNING_STAGE
        self._reports.stage(machine)
        if version is not None:
            machine.talos, machine.schematic = f"v{version.talos_version}", SCHEMATIC
        world.later(machine, _RELEASE, self._release)
        world.later(machine, _VERSION_SEEN, self._reports.status)
        world.later(machine, REDISCOVERED, self._membership.rediscover)

    def _release(self, machine: Machine) -> None:
        self._world.release("ClusterMachines", machine.id, _UPGRADE)
        self._world.hold("ClusterMachines", machine.id, _CONFIGURE)
        self._world.later(machine, _CONFIGURED, self._configured)

    def _configured(self, machine: Machine) -> None:
        world, id_ = self._world, machine.id
        member = world.running("ClusterMachines", id_)
        if member is None:
            return
        cluster = member.labels.get(CLUSTER, "")
        self._patches.take(machine)
        version = world.spec("ClusterMachineTalosVersions", id_)
        if version is not None and machine.talos != f"v{version.talos_version}":
            self._mark(id_)  # the cluster wants another one by now
        self._patches.soon(member.labels.get(MACHINE_SET, ""))
        world.soon(_REBOOT, lambda: self.advance(cluster))
