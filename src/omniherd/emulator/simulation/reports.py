"""What the server learns of a machine: that it joined, what it does, what it is called, whether it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.seed import SCHEMATIC, add_machine
from omniherd.emulator.simulation.machine import FROM_MEDIA, Machine, cluster_stage
from omniherd.emulator.simulation.world import CLUSTER, CONTROL_PLANE, MACHINE_SET, WORKER, L

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from omniherd.emulator.records import Stored
    from omniherd.emulator.simulation.world import World

__all__ = ["FREE", "INSTALLED", "Reports"]

FREE = L + "available"
INSTALLED = L + "installed"

_STATUS_HOLDERS = (
    "LabelsExtractor[MachineStatuses.omni.sidero.dev]",
    "MachineTeardownController",
    "MachineConfigGenOptionsController",
    "MachineConfigExtractionController",
    "SchematicConfigurationController",
    "MachineUpgradeStatusController",
    "KernelArgsStatusController",
)
_MACHINE_HOLDERS = (
    "MachineCleanupController",
    "MachineStatusController",
    "MachineStatusSnapshotController",
    "MachineJoinConfigController",
)
_SYSTEM = frozenset({CLUSTER, MACHINE_SET, CONTROL_PLANE, WORKER})


class Reports:
    """Writes what the server knows of machines.

    Args:
        world: What they live in.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    # --- joining ----------------------------------------------------------------------------------------------------

    def join(self, machine: Machine) -> None:
        """Let a machine be seen for the first time."""
        world, id_ = self._world, machine.id
        add_machine(world.store, machine.plan, foreign=machine.talos.removeprefix("v") if machine.foreign else "")
        spec = world.spec("Machines", id_)
        world.put("Machines", id_, spec, owner="MachineController", finalizers=_MACHINE_HOLDERS)
        world.hold("MachineStatuses", id_, *_STATUS_HOLDERS)
        world.annotate(
            "MachineStatuses",
            id_,
            {L + "kernel-args-initialized": "", L + "platform-tag-labels-initialized": ""},
        )
        world.label("MachineStatuses", id_, {L + "ready-to-use": ""})
        world.annotate("MachineLabels", id_, {L + "platform-tag-labels-initialized": ""})
        world.put(
            "MachineExtensionsStatuses",
            id_,
            {"talos_version": machine.talos},
            owner="SchematicConfigurationController",
        )
        self.status(machine)
        self.stage(machine)

    # --- what it does -----------------------------------------------------------------------------------------------

    def stage(self, machine: Machine) -> None:
        """Tell what a machine does and whether it is ready."""
        world, id_ = self._world, machine.id
        unmet = [{"name": "serviceNotReady", "reason": reason} for reason in machine.unmet]
        world.put(
            "MachineStatusSnapshots",
            id_,
            {
                "machine_status": {
                    "stage": machine.stage,
                    "status": {"ready": machine.ready, "unmet_conditions": unmet},
                }
            },
            owner="MachineStatusSnapshotController",
        )
        self.member(machine)

    def member(self, machine: Machine) -> None:
        """Tell how a machine is as a member of a cluster."""
        world = self._world
        member = world.find("ClusterMachines", machine.id)
        status = world.running("ClusterMachineStatuses", machine.id)
        if member is None or status is None:
            return
        destroying = member.phase != "running"
        world.change(
            "ClusterMachineStatuses",
            machine.id,
            stage=cluster_stage(machine.stage, destroying=destroying),
            ready=machine.ready and machine.seen,
        )

    def status(self, machine: Machine, error: str = "") -> None:
        """Tell what runs on a machine and what it is called.

        Args:
            machine: The machine.
            error: What its status says is wrong.
        """
        world, id_ = self._world, machine.id
        found = world.find("MachineStatuses", id_)
        if found is None:
            return
        spec = found.decode()
        spec.talos_version, spec.last_error = machine.talos, error
        spec.network.hostname = machine.hostname
        spec.maintenance = machine.in_maintenance
        spec.schematic.full_id = machine.schematic
        for disk in spec.hardware.blockdevices:
            disk.system_disk = machine.installed
        labels = {**found.labels, L + "talos-version": machine.talos}
        if machine.installed:
            labels[INSTALLED] = ""
        data = spec.SerializeToString(deterministic=True)
        if data != found.spec or labels != found.labels:
            world.store.modify(found.namespace, found.type, id_, spec=data, labels=labels)
        self.upgrade_status(machine)
        if world.running("ClusterMachineStatuses", id_) is not None:
            world.label("ClusterMachineStatuses", id_, {L + "hostname": machine.hostname})
        world.change("NodeUniqueTokenStatuses", id_, state=1 if machine.installed else 2)

    def upgrade_status(self, machine: Machine) -> None:
        """Tell whether a machine runs what it should."""
        world, id_ = self._world, machine.id
        status = world.find("MachineStatuses", id_)
        labels: Mapping[str, str] = {} if status is None else status.labels
        fields: dict[str, Any] = {"current_schematic_id": machine.schematic, "is_maintenance": machine.in_maintenance}
        if machine.schematic == FROM_MEDIA:
            fields["error"] = "schematic ID mismatch"
        else:
            version = world.spec("ClusterMachineTalosVersions", id_)
            fields |= {
                "schematic_id": SCHEMATIC if version is None else version.schematic_id,
                "talos_version": machine.talos,
                "current_talos_version": machine.talos,
                "phase": 3,
                "status": "machine is up to date",
            }
        world.put(
            "MachineUpgradeStatuses",
            id_,
            fields,
            owner="MachineUpgradeStatusController",
            labels={key: labels[key] for key in (CLUSTER, MACHINE_SET) if key in labels},
        )

    # --- where it belongs -------------------------------------------------------------------------------------------

    def belong(self, machine: Machine, cluster: str, labels: dict[str, str]) -> None:
        """Mark a machine as one of a cluster's.

        Args:
            machine: The machine.
            cluster: The cluster.
            labels: Labels that say where it belongs.
        """
        role = 1 if CONTROL_PLANE in labels else 2
        self._place(machine, lambda spec: _set_place(spec, cluster, role), labels, {FREE})

    def free(self, machine: Machine) -> None:
        """Take the marks of a cluster off a machine that left it."""
        free = {} if machine.foreign else {FREE: ""}
        self._place(machine, lambda spec: _set_place(spec, "", 0), free, _SYSTEM)

    def _place(
        self, machine: Machine, edit: Callable[[Any], None], add: dict[str, str], drop: set[str] | frozenset[str]
    ) -> None:
        world = self._world
        found = world.find("MachineStatuses", machine.id)
        if found is None:
            return
        spec = found.decode()
        edit(spec)
        labels = {key: value for key, value in found.labels.items() if key not in drop}
        world.store.modify(
            found.namespace,
            found.type,
            found.id,
            spec=spec.SerializeToString(deterministic=True),
            labels={**labels, **add},
        )
        self.upgrade_status(machine)

    # --- whether it answers -----------------------------------------------------------------------------------------

    def connection(self, machine: Machine) -> None:
        """Tell whether a machine answers."""
        world, id_, up = self._world, machine.id, machine.seen
        world.change("Links", id_, connected=up)
        world.change("Machines", id_, connected=up)
        world.change("MachineStatuses", id_, connected=up, power_state=2 if up else 1)
        on, off = L + "connected", L + "disconnected"
        world.label("MachineStatuses", id_, {on if up else off: ""}, {off if up else on})
        world.label("ClusterMachineStatuses", id_, {on: ""} if up else {}, () if up else (on,))
        self.member(machine)

    # --- copies -----------------------------------------------------------------------------------------------------

    def copy_labels(self, status: Stored) -> None:
        """Keep what repeats a machine's status in step with it."""
        world = self._world
        if status.id not in world.machines:
            return
        world.put(
            "MachineStatusLabels",
            status.id,
            owner="LabelsExtractor[MachineStatuses.omni.sidero.dev]",
            labels=status.labels,
        )
        world.put(
            "MachineStatusLinks",
            status.id,
            {"message_status": status.decode()},
            owner="MachineStatusLinkController",
            labels=status.labels,
        )

    def take_labels(self, old: Stored | None, new: Stored | None) -> None:
        """Carry the labels that users gave a machine over to its status.

        Args:
            old: The machine's labels as they were.
            new: As they are, None when they are gone.
        """
        found = new or old
        if found is None or found.id not in self._world.machines:
            return
        before: Mapping[str, str] = {} if old is None else old.labels
        after: Mapping[str, str] = {} if new is None else new.labels
        self._world.label("MachineStatuses", found.id, after, before.keys() - after.keys())


def _set_place(spec: Any, cluster: str, role: int) -> None:
    spec.cluster, spec.role = cluster, role
