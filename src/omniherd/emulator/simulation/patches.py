"""Configuration of machines in clusters: which patches a machine takes, what waits, whose turn it is, what changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from omniherd.emulator.forms import unpacked
from omniherd.emulator.records import TEARING_DOWN
from omniherd.emulator.seed import SCHEMATIC
from omniherd.emulator.simulation.config import Plan, difference, digest, render
from omniherd.emulator.simulation.world import (
    CLUSTER,
    CLUSTER_LOCKED,
    CLUSTER_MACHINE,
    CONTROL_PLANE,
    LOCKED,
    MACHINE_SET,
    L,
    O,
    labels_of_node,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from omniherd.emulator.records import Stored
    from omniherd.emulator.simulation.machine import Machine
    from omniherd.emulator.simulation.statuses import Statuses
    from omniherd.emulator.simulation.world import World

__all__ = ["Candidate", "Patches", "level_of", "whose_turn"]

_PENDING, _APPLIED, _FAILED = 1, 2, 3
_CONFIGURING = "ConfigUpdatePendingFinalizer"
_LOCKED_UPDATE = L + "locked-update"
_REVISION = "inputResourceVersion"
_ROLLING = 1

_START, _APPLY, _NEXT = 0.03, 0.03, 0.02


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine for which a change waits.

    Attributes:
        id: Its id.
        busy: Whether it is being changed, or refused its change.
        able: Whether it can be changed: it answers, runs and is not locked.
    """

    id: str
    busy: bool
    able: bool


def whose_turn(candidates: Iterable[Candidate], parallelism: int) -> list[str]:
    """Decide which machines of a set change now.

    Args:
        candidates: The machines for which a change waits, in their order.
        parallelism: How many may change at a time; 0 for all.
    """
    waiting = list(candidates)
    able = [candidate.id for candidate in waiting if candidate.able and not candidate.busy]
    if not parallelism:
        return able
    return able[: max(0, parallelism - sum(candidate.busy for candidate in waiting))]


def level_of(labels: dict[str, str], machine: str, machine_set: str) -> int | None:
    """Return at which level a patch of a cluster is one of a machine: 0 cluster, 1 machine set, 2 machine; else None.

    Args:
        labels: The patch's labels.
        machine: The machine's id.
        machine_set: Its machine set.
    """
    if CLUSTER_MACHINE in labels:
        return 2 if labels[CLUSTER_MACHINE] == machine else None
    if MACHINE_SET in labels:
        return 1 if labels[MACHINE_SET] == machine_set else None
    return 0


class Patches:
    """Gives machines their configuration.

    Args:
        world: What they live in.
        statuses: What counts them.
    """

    def __init__(self, world: World, statuses: Statuses) -> None:
        self._world = world
        self._statuses = statuses
        self._refused: dict[str, str] = {}

    def reset(self) -> None:
        """Forget who refused what."""
        self._refused.clear()

    def go_on(self, machine: Machine) -> None:
        """Go on with a change that was under way."""
        self._world.release("ClusterMachines", machine.id, _CONFIGURING)
        self.gather(machine.id)
        self.compare(machine.id)

    # --- which patches ----------------------------------------------------------------------------------------------

    def patch_changed(self, old: Stored | None, new: Stored | None) -> None:
        """Look again at the machines that a patch is or was for."""
        affected: set[str] = set()
        for patch in (old, new):
            if patch is not None and CLUSTER in patch.labels:
                affected.update(self._machines_of(patch))
        for id_ in sorted(affected):
            self.gather(id_)
            self.compare(id_)

    def _machines_of(self, patch: Stored) -> list[str]:
        world = self._world
        if CLUSTER_MACHINE in patch.labels:
            return [patch.labels[CLUSTER_MACHINE]]
        if MACHINE_SET in patch.labels:
            return list(world.members[patch.labels[MACHINE_SET]])
        return world.members_of(patch.labels[CLUSTER])

    def gather(self, id_: str) -> None:
        """Write down the patches of a cluster machine in their order."""
        world = self._world
        member = world.running("ClusterMachines", id_)
        if member is None:
            return
        found: list[tuple[int, str, str]] = []
        for patch_id in world.patches[member.labels.get(CLUSTER, "")]:
            patch = world.running("ConfigPatches", patch_id)
            level = None if patch is None else level_of(dict(patch.labels), id_, member.labels.get(MACHINE_SET, ""))
            if patch is not None and level is not None:
                found.append((level, patch.id, unpacked("ConfigPatches" + O, patch.decode()).data))
        patches = [data for _, _, data in sorted(found)]
        world.put(
            "ClusterMachineConfigPatches",
            id_,
            {"patches": patches},
            owner="ClusterMachineConfigPatchesController",
            labels=labels_of_node(member.labels),
            annotations={_REVISION: digest("\0".join(patches))},
        )

    def wanted(self, id_: str) -> str:
        """Return the configuration that a cluster machine should have; empty when it is none."""
        world = self._world
        member, version = world.find("ClusterMachines", id_), world.spec("ClusterMachineTalosVersions", id_)
        patches = world.spec("ClusterMachineConfigPatches", id_)
        if member is None or version is None or patches is None:
            return ""
        cluster = member.labels.get(CLUSTER, "")
        identity, balancer = world.spec("ClusterUUIDs", cluster), world.spec("LoadBalancerConfigs", cluster)
        return render(
            Plan(
                cluster=cluster,
                identity="" if identity is None else identity.uuid,
                port="" if balancer is None else balancer.bind_port,
                control_plane=CONTROL_PLANE in member.labels,
                kubernetes=member.decode().kubernetes_version,
                talos=version.talos_version,
                schematic=version.schematic_id or SCHEMATIC,
                patches=tuple(patches.patches),
            )
        )

    # --- what waits -------------------------------------------------------------------------------------------------

    def offer(self, machine: Machine) -> None:
        """Write down the first configuration that waits for a machine."""
        self._wait(machine.id, difference("", self.wanted(machine.id)))

    def compare(self, id_: str) -> None:
        """Write down whether a change waits for a machine that runs a configuration."""
        world, machine = self._world, self._world.machines.get(id_)
        member = world.running("ClusterMachines", id_)
        if machine is None or member is None or not machine.config:
            return
        pending = world.spec("MachinePendingUpdates", id_)
        upgrading = pending is not None and pending.HasField("upgrade")
        if world.running("Clusters", member.labels.get(CLUSTER, "")) is None:
            return  # what is on its way out takes nothing any more
        wanted = self.wanted(id_)
        if self._refused.get(id_) not in {None, wanted}:
            del self._refused[id_]
            world.release("ClusterMachines", id_, _CONFIGURING)
        if wanted == machine.config and not upgrading:
            self._withdraw(id_)
            return
        diff = difference(machine.config, wanted)
        if upgrading:
            world.change("MachinePendingUpdates", id_, config_diff=diff)
            return
        self._wait(id_, diff)
        self.soon(member.labels.get(MACHINE_SET, ""), _START)

    def _wait(self, id_: str, diff: str) -> None:
        world = self._world
        member = world.running("ClusterMachines", id_)
        if member is None:
            return
        self._put_pending(id_, member, {"config_diff": diff})
        world.change("ClusterMachineStatuses", id_, config_up_to_date=False, config_apply_status=_PENDING)

    def wait_for_upgrade(self, id_: str, old: tuple[str, str], new: tuple[str, str]) -> None:
        """Write down that an upgrade waits for a machine.

        Args:
            id_: The machine.
            old: Talos version, without `v`, and schematic that it runs.
            new: Those that it should run.
        """
        world = self._world
        member = world.running("ClusterMachines", id_)
        if member is None:
            return
        (from_version, from_schematic), (to_version, to_schematic) = old, new
        upgrade = {
            "from_schematic": from_schematic,
            "to_schematic": to_schematic,
            "from_version": from_version,
            "to_version": to_version,
        }
        self._put_pending(id_, member, {"upgrade": upgrade})
        world.change("ClusterMachineStatuses", id_, config_up_to_date=False, config_apply_status=_PENDING)

    def _put_pending(self, id_: str, member: Stored, fields: dict[str, Any]) -> None:
        world = self._world
        found = world.find("MachinePendingUpdates", id_)
        if found is not None and found.phase == TEARING_DOWN:
            world.end("MachinePendingUpdates", id_)
        world.put(
            "MachinePendingUpdates",
            id_,
            fields,
            owner="ClusterMachineConfigStatusController",
            labels=labels_of_node(member.labels),
        )
        if self.is_locked(id_):
            world.label("ClusterMachineStatuses", id_, {_LOCKED_UPDATE: ""})

    def _withdraw(self, id_: str) -> None:
        """Forget a change that waits: nobody wants it any more."""
        world = self._world
        world.release("ClusterMachines", id_, _CONFIGURING)
        world.end("MachinePendingUpdates", id_)
        world.label("ClusterMachineStatuses", id_, drop=(_LOCKED_UPDATE,))
        self._set_applied(id_)

    def _set_applied(self, id_: str) -> None:
        self._world.change(
            "ClusterMachineStatuses",
            id_,
            config_up_to_date=True,
            config_apply_status=_APPLIED,
            last_config_error="",
        )

    # --- whose turn it is -------------------------------------------------------------------------------------------

    def soon(self, machine_set: str, seconds: float = _NEXT) -> None:
        """Plan to look whose turn it is in a machine set."""
        self._world.soon(seconds, lambda: self._advance(machine_set))

    def _advance(self, machine_set: str) -> None:
        world = self._world
        found = world.running("MachineSets", machine_set)
        if found is None:
            return
        spec = found.decode()
        parallelism = 1
        if CONTROL_PLANE not in found.labels:
            rolling = spec.update_strategy == _ROLLING
            parallelism = (spec.update_strategy_config.rolling.max_parallelism or 1) if rolling else 0
        candidates = [self._candidate(id_) for id_ in sorted(world.members[machine_set])]
        for id_ in whose_turn([found for found in candidates if found is not None], parallelism):
            world.hold("ClusterMachines", id_, _CONFIGURING)
            world.later(world.machines[id_], _APPLY, self._apply)

    def _candidate(self, id_: str) -> Candidate | None:
        world, machine = self._world, self._world.machines.get(id_)
        pending, member = world.running("MachinePendingUpdates", id_), world.running("ClusterMachines", id_)
        if machine is None or pending is None or member is None or not machine.config:
            return None
        if pending.decode().HasField("upgrade"):
            return None
        state = self._statuses.member(id_)
        able = state.healthy and state.connected and not self.is_locked(id_)
        return Candidate(id_, _CONFIGURING in member.finalizers, able)

    # --- what changed -----------------------------------------------------------------------------------------------

    def _apply(self, machine: Machine) -> None:
        pending = self._world.spec("MachinePendingUpdates", machine.id)
        if pending is None or pending.HasField("upgrade"):
            self._world.release("ClusterMachines", machine.id, _CONFIGURING)
            return
        if machine.refusal:
            self.refuse(machine)
            return
        self.take(machine)
        self.soon(self._machine_set(machine.id))

    def refuse(self, machine: Machine) -> None:
        """Tell that a machine does not take its configuration."""
        world, id_ = self._world, machine.id
        self._refused[id_] = self.wanted(id_)
        world.change("ClusterMachineConfigStatuses", id_, last_config_error=machine.refusal)
        world.change("ClusterMachineStatuses", id_, config_apply_status=_FAILED, last_config_error=machine.refusal)

    def retry(self, id_: str) -> None:
        """Offer a machine again what it refused."""
        if self._refused.pop(id_, None) is not None:
            self._world.release("ClusterMachines", id_, _CONFIGURING)
            self.compare(id_)

    def take(self, machine: Machine) -> None:
        """Let a machine take its configuration; what changed is kept."""
        world, id_ = self._world, machine.id
        before, machine.config = machine.config, self.wanted(id_)
        world.end("MachinePendingUpdates", id_)
        self._tell_config(machine, version=1)
        world.label("ClusterMachineStatuses", id_, drop=(_LOCKED_UPDATE,))
        self._set_applied(id_)
        self._keep_difference(machine, before)
        self._tell_redacted(machine)
        world.release("ClusterMachines", id_, _CONFIGURING)

    def first(self, machine: Machine, *, upgraded: bool) -> None:
        """Let a machine take its first configuration.

        Args:
            machine: The machine.
            upgraded: Whether it went to another Talos version for it.
        """
        world, id_ = self._world, machine.id
        machine.config = self.wanted(id_)
        fields: dict[str, Any] = {
            "cluster_machine_config_version": "2" if upgraded else "1",
            "redacted_current_machine_config": machine.config,
        }
        if upgraded:
            fields |= {"talos_version": machine.talos.removeprefix("v"), "schematic_id": SCHEMATIC}
        owner = "ClusterMachineConfigStatusController"
        world.put("ClusterMachineConfigStatuses", id_, fields, owner=owner, labels={})
        world.end("MachinePendingUpdates", id_)
        world.label("ClusterMachineStatuses", id_, drop=(_LOCKED_UPDATE,))
        self._set_applied(id_)
        world.hold("ClusterMachineConfigStatuses", id_, "RedactedClusterMachineConfigController")
        self._tell_redacted(machine, labelled=False)

    def confirm(self, machine: Machine) -> None:
        """Write down what a machine runs, once it runs it."""
        world, id_ = self._world, machine.id
        found = world.find("ClusterMachineConfigStatuses", id_)
        member = world.running("ClusterMachines", id_)
        if found is None or member is None:
            return
        spec = found.decode()
        if spec.cluster_machine_config_sha256 and spec.talos_version:
            return
        self._tell_config(machine, version=0 if spec.talos_version else 1)
        self._tell_redacted(machine)

    def regenerate(self, id_: str) -> None:
        """Count a configuration anew that came out the same."""
        machine = self._world.machines.get(id_)
        if machine is not None and machine.config:
            found = self._world.spec("ClusterMachineConfigStatuses", id_)
            if found is not None:
                number = int(found.cluster_machine_config_version) + 1
                self._world.change("ClusterMachineConfigStatuses", id_, cluster_machine_config_version=str(number))
                self._tell_redacted(machine)

    def _tell_config(self, machine: Machine, version: int) -> None:
        world, id_ = self._world, machine.id
        found, member = world.find("ClusterMachineConfigStatuses", id_), world.find("ClusterMachines", id_)
        if found is None or member is None:
            return
        spec = found.decode()
        spec.cluster_machine_config_version = str(int(spec.cluster_machine_config_version) + version)
        spec.cluster_machine_config_sha256 = digest(machine.config)
        spec.redacted_current_machine_config = machine.config
        spec.talos_version, spec.schematic_id = machine.talos.removeprefix("v"), machine.schematic
        spec.last_config_error = ""
        world.store.modify(
            found.namespace,
            found.type,
            id_,
            spec=spec.SerializeToString(deterministic=True),
            labels=labels_of_node(member.labels),
        )

    def _tell_redacted(self, machine: Machine, *, labelled: bool = True) -> None:
        world, id_ = self._world, machine.id
        status, member = world.find("ClusterMachineConfigStatuses", id_), world.find("ClusterMachines", id_)
        if status is None or member is None:
            return
        world.put(
            "RedactedClusterMachineConfigs",
            id_,
            {"data": machine.config},
            owner="RedactedClusterMachineConfigController",
            labels=labels_of_node(member.labels) if labelled else {},
            annotations={_REVISION: digest(status.version)},
        )

    def _keep_difference(self, machine: Machine, before: str) -> None:
        world, id_ = self._world, machine.id
        member, diff = world.find("ClusterMachines", id_), difference(before, machine.config)
        if member is None or not diff:
            return
        seconds, nanos = world.store.now()
        while True:
            moment = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"
            if world.find("MachineConfigDiffs", f"{id_}-{moment}") is None:
                break
            nanos += 1
        world.put(
            "MachineConfigDiffs",
            f"{id_}-{moment}",
            {"diff": diff},
            owner="RedactedClusterMachineConfigController",
            labels={**labels_of_node(member.labels), L + "machine": id_},
            annotations={L + "modified-at": moment},
        )
        self._world.diffs[id_].append(f"{id_}-{moment}")

    def forget(self, id_: str) -> None:
        """Write off the configuration of a machine that left its cluster."""
        world = self._world
        self._refused.pop(id_, None)
        world.end("RedactedClusterMachineConfigs", id_)
        world.end("ClusterMachineConfigStatuses", id_)
        for diff in world.diffs.pop(id_, []):
            world.end("MachineConfigDiffs", diff)

    # --- locks ------------------------------------------------------------------------------------------------------

    def is_locked(self, id_: str) -> bool:
        """Whether changes of a machine wait until somebody unlocks it or its cluster."""
        world = self._world
        node = world.find("MachineSetNodes", id_)
        if node is None:
            return False
        cluster = world.find("Clusters", node.labels.get(CLUSTER, ""))
        return LOCKED in node.annotations or (cluster is not None and CLUSTER_LOCKED in cluster.annotations)

    def mark_lock(self, id_: str) -> None:
        """Show whether a machine is locked, and go on with what waits for it when it is not."""
        world, locked = self._world, self.is_locked(id_)
        status = world.find("ClusterMachineStatuses", id_)
        if status is None or locked == (LOCKED in status.annotations):
            return
        if locked:
            world.annotate("ClusterMachineStatuses", id_, {LOCKED: ""})
            if world.running("MachinePendingUpdates", id_) is not None:
                world.label("ClusterMachineStatuses", id_, {_LOCKED_UPDATE: ""})
            return
        world.label("ClusterMachineStatuses", id_, drop=(_LOCKED_UPDATE,))
        world.annotate("ClusterMachineStatuses", id_, drop=(LOCKED,))
        self.soon(self._machine_set(id_), _START)

    def _machine_set(self, id_: str) -> str:
        member = self._world.find("ClusterMachines", id_)
        return "" if member is None else member.labels.get(MACHINE_SET, "")
