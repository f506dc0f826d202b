"""A machine becomes a node of a cluster, and leaves it: the steps that were recorded, with the time that each took."""

from __future__ import annotations

import base64
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from omniherd.emulator.seed import SCHEMATIC
from omniherd.emulator.simulation.config import digest
from omniherd.emulator.simulation.machine import (
    APID_DOWN,
    ETCD_DOWN,
    ETCD_MISSING,
    INSTALLING,
    KUBELET_MISSING,
    MAINTENANCE,
    REBOOTING,
    RUNNING_STAGE,
    node_name,
)
from omniherd.emulator.simulation.world import (
    CLUSTER,
    CLUSTER_LOCKED,
    CLUSTER_MACHINE,
    CONTROL_PLANE,
    IMPORTED,
    MACHINE_SET,
    L,
    labels_of_node,
)

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.simulation.machine import Machine
    from omniherd.emulator.simulation.patches import Patches
    from omniherd.emulator.simulation.reports import Reports
    from omniherd.emulator.simulation.world import World

__all__ = ["REDISCOVERED", "Membership"]

_HOLDERS = (
    "ClusterMachineTeardownController",
    "ClusterMachineController",
    "ClusterMachineConfigController",
    "ClusterMachineEncryptionKeyController",
    "ClusterMachineConfigPatchesController",
    "ClusterMachineStatusController",
)
_DISCOVERY = "http://[fdae:41e4:649b:9303::1]:8093"

# Seconds from one step to the next, as a real server and emulated machines took them.
_ADOPT = 0.2
_VERSION, _SECRETS, _OFFER = 0.02, 0.3, 0.4  # after it was adopted
_CONFIGURE_NEW, _CONFIGURE_OTHER, _CONFIGURE_SAME = 0.25, 2.2, 0.13  # after the configuration was offered
_INSTALL, _RUN_NEW, _RUN = 0.07, 0.05, 0.03
_ETCD = 0.1
_NAME_NEW, _NAME = 2.5, 0.3  # after it runs
_BOOTSTRAP, _REBOOT, _IDENTIFY = 2.75, 2.8, 2.9
_APID, _BOOT, _APID_BACK, _SCHEMATIC_SEEN, _IDENTIFY_BOOTED = 0.04, 1.95, 0.02, 0.5, 2.2
_REBOOT_AGAIN = 0.1
REDISCOVERED = 1.65
"""Seconds after a reboot at which discovery is set up anew."""
_CONFIRM = 0.05
_TEAR_DOWN = 0.02
_LEAVE_ETCD, _MAINTENANCE, _RESET, _GONE = 0.07, 0.15, 2.8, 0.35


class Membership:
    """Lets machines join clusters and leave them.

    Args:
        world: What they live in.
        reports: What tells the server of machines.
        patches: What gives machines their configuration.
    """

    def __init__(self, world: World, reports: Reports, patches: Patches) -> None:
        self._world = world
        self._reports = reports
        self._patches = patches
        self._queued: dict[str, deque[Machine]] = defaultdict(deque)

    def reset(self) -> None:
        """Forget who waits for its turn."""
        self._queued.clear()

    # --- becoming a member ------------------------------------------------------------------------------------------

    def node_created(self, node: Stored) -> None:
        """Plan that the machine of a new node becomes a member of its cluster."""
        self._world.hold("MachineSetNodes", node.id, "MachineSetStatusController")
        machine = self._world.machines.get(node.id)
        if machine is not None and self._world.find("ClusterMachines", node.id) is None:
            machine.generation += 1
            self._world.later(machine, _ADOPT, self._adopt)

    def _adopt(self, machine: Machine) -> None:
        world, id_ = self._world, machine.id
        node = world.running("MachineSetNodes", id_)
        cluster = None if node is None else world.running("Clusters", node.labels.get(CLUSTER, ""))
        if node is None or cluster is None:
            return
        labels = labels_of_node(node.labels)
        self._reports.belong(machine, cluster.id, labels)
        world.put(
            "ClusterMachines",
            id_,
            {"kubernetes_version": cluster.decode().kubernetes_version},
            owner="MachineSetStatusController",
            labels=labels,
        )
        world.hold("ClusterMachines", id_, *_HOLDERS)
        world.hold("Machines", id_, "MachineSetStatusController")
        self._patches.gather(id_)
        world.put(
            "ClusterMachineStatuses",
            id_,
            {
                "ready": machine.ready and machine.seen,
                "stage": 3,
                "config_apply_status": "PENDING",
                "management_address": machine.plan.address,
                "provision_status": {},
            },
            owner="ClusterMachineStatusController",
            labels={**labels, L + "hostname": machine.hostname, **({L + "connected": ""} if machine.seen else {})},
        )
        self._patches.mark_lock(id_)
        world.hold("ClusterMachineStatuses", id_, "ClusterWorkloadProxyStatusController")
        self._world.later(machine, _VERSION, self._choose_version)
        self._world.later(machine, _SECRETS, self._hold_secrets)
        self._world.later(machine, _OFFER, self._offer)

    def _choose_version(self, machine: Machine) -> None:
        cluster = self._cluster_of(machine)
        if cluster is not None:
            self._world.put(
                "ClusterMachineTalosVersions",
                machine.id,
                {
                    "talos_version": cluster.decode().talos_version,
                    "schematic_id": machine.schematic if machine.foreign else SCHEMATIC,
                },
                owner="TalosUpgradeStatusController",
            )
            self._world.later(machine, _SECRETS, self._label_version)

    def _label_version(self, machine: Machine) -> None:
        self._world.label("ClusterMachineTalosVersions", machine.id, {CLUSTER: self._label(machine, CLUSTER)})

    def _hold_secrets(self, machine: Machine) -> None:
        self._world.hold("ClusterMachineStatuses", machine.id, "SecretRotationStatusController")

    def _offer(self, machine: Machine) -> None:
        if machine.foreign:
            self._arrive(machine)
            return
        self._patches.offer(machine)
        if not machine.installed:
            wait = _CONFIGURE_NEW
        elif machine.talos != self._target(machine):
            wait = _CONFIGURE_OTHER
        else:
            wait = _CONFIGURE_SAME
        self._world.later(machine, wait, self._configure)

    def _arrive(self, machine: Machine) -> None:
        """Let a machine be a node as it is, with its name and its part in etcd."""
        self._reports.status(machine)
        self._reports.stage(machine)
        if self._is_control_plane(machine):
            self._bootstrap(machine)
        self._identify(machine)
        self.take_over(machine)

    def take_over(self, machine: Machine) -> None:
        """Give a foreign machine its first configuration, once nobody locks it."""
        member = self._world.running("ClusterMachines", machine.id)
        if machine.foreign and member is not None and not self._patches.is_locked(machine.id):
            self._patches.offer(machine)
            self._world.later(machine, _CONFIGURE_SAME, self._replace)

    def _replace(self, machine: Machine) -> None:
        if not machine.foreign or self._patches.is_locked(machine.id):
            return
        if machine.refusal:
            self._patches.refuse(machine)
            self._world.later(machine, _CONFIGURE_OTHER, self._replace)
            return
        machine.foreign = False
        self._patches.first(machine, upgraded=False)
        self._reports.status(machine)
        self._world.later(machine, _CONFIRM, self._confirm)

    def _configure(self, machine: Machine) -> None:
        if machine.refusal:
            self._patches.refuse(machine)
            self._world.later(machine, _CONFIGURE_OTHER, self._configure)
            return
        target = self._target(machine)
        other = machine.installed and machine.talos != target
        machine.talos = target
        self._patches.first(machine, upgraded=other)
        if other:
            self._reports.status(machine)
        if machine.installed:
            self._world.later(machine, _RUN, self._run)
            self._world.later(machine, _CONFIRM, self._confirm) if other else None
        else:
            self._world.later(machine, _INSTALL, self._install)

    def _install(self, machine: Machine) -> None:
        machine.stage = INSTALLING
        self._reports.stage(machine)
        self._world.later(machine, _RUN_NEW, self._run)

    def _run(self, machine: Machine) -> None:
        fresh = not machine.installed
        machine.stage, machine.installed = RUNNING_STAGE, True
        if self._is_control_plane(machine):
            machine.unmet = (ETCD_MISSING, KUBELET_MISSING)
            self._world.later(machine, _ETCD, self._start_etcd)
            self._world.later(machine, _BOOTSTRAP, self._bootstrap)
        self._reports.stage(machine)
        self._world.later(machine, _NAME_NEW if fresh else _NAME, self._name)
        if machine.schematic != SCHEMATIC:
            self._world.later(machine, _REBOOT, self._reboot)
        else:
            self._world.later(machine, _IDENTIFY, self._identify)

    def _start_etcd(self, machine: Machine) -> None:
        if machine.unmet:
            machine.unmet = (ETCD_DOWN,)
            self._reports.stage(machine)

    def _name(self, machine: Machine) -> None:
        machine.hostname = node_name(self._world.chance)
        self._reports.status(machine)

    def _bootstrap(self, machine: Machine) -> None:
        world, cluster = self._world, self._cluster_of(machine)
        if cluster is None:
            return
        world.put(
            "ClusterBootstrapStatuses", cluster.id, {"bootstrapped": True}, owner="ClusterBootstrapStatusController"
        )
        self._number(machine)
        machine.unmet = ()
        if machine.schematic == SCHEMATIC:  # else it reboots at once, and tells both in one
            self._reports.stage(machine)
        machine_set = self._label(machine, MACHINE_SET)
        world.put(
            "ControlPlaneStatuses",
            machine_set,
            {
                "conditions": [
                    {"type": "WireguardConnection", "status": "Ready"},
                    {"type": "Etcd", "status": "Ready"},
                ]
            },
            owner="ControlPlaneStatusController",
            labels={CLUSTER: cluster.id},
        )

    def _reboot(self, machine: Machine) -> None:
        """Reboot into the schematic that the cluster wants; a worker waits until no other machine does."""
        if not self._is_control_plane(machine) and self._others_reboot(machine):
            self._queued[self._label(machine, CLUSTER)].append(machine)
            self._world.later(machine, _IDENTIFY_BOOTED, self._identify)
            return
        self._reports.status(machine, "unknown error")
        machine.stage = REBOOTING
        self._reports.stage(machine)
        self._world.later(machine, _APID, self._lose_apid)
        self._world.later(machine, _BOOT, self._booted)

    def _others_reboot(self, machine: Machine) -> bool:
        world = self._world
        others = world.members_of(self._label(machine, CLUSTER))
        return any(id_ in world.machines and world.machines[id_].stage == REBOOTING for id_ in others)

    def _let_next_reboot(self, cluster: str) -> None:
        """Let the next machine of a cluster reboot that waits for it."""
        queue = self._queued[cluster]
        while queue:
            machine = queue.popleft()
            if self._label(machine, CLUSTER) == cluster and machine.schematic != SCHEMATIC:
                self._world.later(machine, _REBOOT_AGAIN, self._reboot)
                return

    def _lose_apid(self, machine: Machine) -> None:
        machine.unmet = (APID_DOWN,)
        self._reports.stage(machine)

    def _booted(self, machine: Machine) -> None:
        machine.stage, machine.schematic = RUNNING_STAGE, SCHEMATIC
        self._reports.stage(machine)
        self._let_next_reboot(self._label(machine, CLUSTER))
        self._world.later(machine, _APID_BACK, self._gain_apid)
        self._world.later(machine, _CONFIRM, self._confirm)
        self._world.later(machine, _SCHEMATIC_SEEN, self._reports.status)
        self._world.later(machine, _IDENTIFY_BOOTED, self._identify)
        self._world.later(machine, REDISCOVERED, self.rediscover)

    def rediscover(self, machine: Machine) -> None:
        """Let a machine that rebooted lose its discovery service, and find it again."""
        world, id_ = self._world, machine.id
        for endpoint in ("", _DISCOVERY):
            world.change("ClusterMachineIdentities", id_, discovery_service_endpoint=endpoint)

    def _gain_apid(self, machine: Machine) -> None:
        machine.unmet = ()
        self._reports.stage(machine)

    def _confirm(self, machine: Machine) -> None:
        self._patches.confirm(machine)

    def _identify(self, machine: Machine) -> None:
        world, id_ = self._world, machine.id
        member = world.running("ClusterMachines", id_)
        if member is None:
            return
        if world.find("ClusterMachineIdentities", id_) is not None:
            return
        identity = _identity(f"{id_} {machine.generation} {machine.hostname}")
        world.put(
            "ClusterMachineIdentities",
            id_,
            {"node_identity": identity},
            owner="ClusterMachineIdentityController",
            labels=labels_of_node(member.labels),
        )
        world.change("ClusterMachineIdentities", id_, nodename=machine.hostname)
        world.change(
            "ClusterMachineIdentities",
            id_,
            node_ips=[machine.plan.outside if machine.foreign else machine.plan.address],
        )
        world.change("ClusterMachineIdentities", id_, discovery_service_endpoint=_DISCOVERY)
        if self._is_control_plane(machine) and not machine.unmet:
            self._number(machine)
        world.label("ClusterMachineStatuses", id_, {L + "node-name": machine.hostname})
        self._confirm(machine)
        self._list_nodes(member.labels.get(CLUSTER, ""))

    def _number(self, machine: Machine) -> None:
        """Give a control plane its number in etcd, once it has an identity."""
        number = int(digest(f"{machine.id} {machine.hostname}")[:16], 16)
        self._world.change("ClusterMachineIdentities", machine.id, etcd_member_id=number)

    def _list_nodes(self, cluster: str) -> None:
        world = self._world
        identities = [world.spec("ClusterMachineIdentities", id_) for id_ in world.members_of(cluster)]
        names = sorted(identity.nodename for identity in identities if identity is not None)
        world.change("ClusterKubernetesNodes", cluster, nodes=names)

    def go_on(self, machine: Machine) -> None:
        """Go on with a machine that was on its way into a cluster."""
        if machine.config:
            if not machine.installed:
                machine.talos = self._target(machine)  # nobody was told yet what it installs
            self._world.later(machine, _RUN, self._run)
        else:
            self._world.later(machine, _VERSION, self._choose_version)
            self._world.later(machine, _SECRETS, self._hold_secrets)
            self._world.later(machine, _OFFER, self._offer)

    def make_known(self, machine: Machine) -> None:
        """Give a machine that upgrades already what it lacks to be a node."""
        if machine.hostname == machine.id:
            self._world.later(machine, _NAME, self._name)
        if machine.unmet and self._is_control_plane(machine):
            self._world.later(machine, _BOOTSTRAP, self._bootstrap)
        self._world.later(machine, _IDENTIFY, self._identify)

    # --- leaving ----------------------------------------------------------------------------------------------------

    def node_leaving(self, node: Stored) -> None:
        """Take the machine of a node that is torn down out of its cluster."""
        world, id_ = self._world, node.id
        if id_ in world.machines and world.find("ClusterMachines", id_) is None:
            world.machines[id_].generation += 1
        world.soon(_TEAR_DOWN, lambda: self._let_go(id_))

    def _let_go(self, id_: str) -> None:
        world = self._world
        world.tear_down("ClusterMachines", id_)
        world.release("MachineSetNodes", id_, "MachineSetStatusController", "MachineSetNodeController")

    def member_leaving(self, member: Stored) -> None:
        """Let go of a cluster machine that is torn down, and reset it."""
        world, id_ = self._world, member.id
        machine = world.machines.get(id_)
        world.release("ClusterMachines", id_, "ClusterMachineController")
        for patch_id in sorted(world.patches[member.labels.get(CLUSTER, "")]):
            patch = world.find("ConfigPatches", patch_id)
            if patch is not None and patch.labels.get(CLUSTER_MACHINE) == id_ and not patch.owner:
                world.tear_down("ConfigPatches", patch_id)
        if machine is not None:
            machine.generation += 1
            self._reports.member(machine)
        self._let_next_reboot(member.labels.get(CLUSTER, ""))
        world.end("ClusterMachineConfigPatches", id_)
        world.release("ClusterMachines", id_, "ClusterMachineConfigPatchesController")
        world.end("MachinePendingUpdates", id_)
        world.release("ClusterMachines", id_, "ConfigUpdatePendingFinalizer", "UpgradePendingFinalizer")
        world.end("ClusterMachineTalosVersions", id_)
        if machine is None:
            self._finish(id_)
        elif self._is_given_back(member):
            machine.foreign, machine.config = True, ""
            self._world.later(machine, _MAINTENANCE, self._part)
        elif machine.config:
            if CONTROL_PLANE in member.labels:
                self._world.later(machine, _LEAVE_ETCD, self._stop_etcd)
            self._world.later(machine, _MAINTENANCE, self._maintain)
            self._world.later(machine, _RESET, self._forget)
        else:
            self._world.later(machine, _MAINTENANCE, self._forget)

    def _is_given_back(self, member: Stored) -> bool:
        """Whether the import of a machine's cluster is aborted: its machines go on as they are."""
        cluster = self._world.find("Clusters", member.labels.get(CLUSTER, ""))
        status = None if cluster is None else self._world.find("ClusterStatuses", cluster.id)
        if cluster is None or status is None or cluster.phase == "running":
            return False
        return CLUSTER_LOCKED in cluster.annotations and IMPORTED in status.labels

    def _part(self, machine: Machine) -> None:
        self._patches.forget(machine.id)
        self._world.release("ClusterMachines", machine.id, "ClusterMachineConfigController")
        self._finish(machine.id)

    def _stop_etcd(self, machine: Machine) -> None:
        machine.unmet = (ETCD_DOWN,)
        self._reports.stage(machine)

    def _maintain(self, machine: Machine) -> None:
        machine.stage = MAINTENANCE
        self._reports.stage(machine)

    def _forget(self, machine: Machine) -> None:
        """Write off what a machine had in its cluster: it was reset."""
        world, id_ = self._world, machine.id
        machine.hostname, machine.config, machine.unmet, machine.stage = id_, "", (), MAINTENANCE
        machine.foreign = False
        self._reports.status(machine)
        self._patches.forget(id_)
        world.change("ClusterMachineStatuses", id_, config_up_to_date=False, config_apply_status=1)
        world.release("ClusterMachines", id_, "ClusterMachineConfigController")
        self._leave_discovery(machine)
        self._world.later(machine, _GONE, self._gone)

    def _leave_discovery(self, machine: Machine) -> None:
        world, cluster = self._world, self._cluster_of(machine)
        member = world.find("ClusterMachines", machine.id)
        identity = world.spec("ClusterMachineIdentities", machine.id)
        if cluster is None or member is None or identity is None or cluster.phase != "running":
            return
        found = world.spec("ClusterUUIDs", cluster.id)
        world.put(
            "DiscoveryAffiliateDeleteTasks",
            identity.node_identity,
            {
                "cluster_id": _identity("" if found is None else found.uuid),
                "discovery_service_endpoint": _DISCOVERY,
            },
            owner="ClusterMachineTeardownController",
            labels={**labels_of_node(member.labels), CLUSTER_MACHINE: machine.id},
        )
        world.end("DiscoveryAffiliateDeleteTasks", identity.node_identity)

    def _gone(self, machine: Machine) -> None:
        self._finish(machine.id)

    def _finish(self, id_: str) -> None:
        """Let the last ones go of a cluster machine; its machine is free then."""
        world, machine = self._world, self._world.machines.get(id_)
        member = world.find("ClusterMachines", id_)
        if member is None:
            return
        world.release("ClusterMachines", id_, "ClusterMachineTeardownController")
        world.end("ClusterMachineStatuses", id_)
        world.release("ClusterMachines", id_, "ClusterMachineStatusController")
        if machine is not None:
            self._reports.free(machine)
        world.end("ClusterMachines", id_)
        world.release("Machines", id_, "MachineSetStatusController")
        world.end("ClusterMachineIdentities", id_)
        if machine is None:
            self._patches.forget(id_)
        self._list_nodes(member.labels.get(CLUSTER, ""))

    # --- where a machine belongs ------------------------------------------------------------------------------------

    def _label(self, machine: Machine, key: str) -> str:
        member = self._world.find("ClusterMachines", machine.id)
        node = member or self._world.find("MachineSetNodes", machine.id)
        return "" if node is None else node.labels.get(key, "")

    def _cluster_of(self, machine: Machine) -> Stored | None:
        return self._world.find("Clusters", self._label(machine, CLUSTER))

    def _is_control_plane(self, machine: Machine) -> bool:
        member = self._world.find("ClusterMachines", machine.id)
        return member is not None and CONTROL_PLANE in member.labels

    def _target(self, machine: Machine) -> str:
        """Return the Talos version that a machine is to run, with `v`."""
        spec = self._world.spec("ClusterMachineTalosVersions", machine.id)
        return machine.talos if spec is None else f"v{spec.talos_version}"


def _identity(text: str) -> str:
    """Return an identity as discovery knows it, made up from a text."""
    return base64.urlsafe_b64encode(bytes.fromhex(digest(text))).decode().rstrip("=")
