"""The machines of a living fleet and what becomes of them in clusters."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any

from omniherd.emulator.lifecycle import hold
from omniherd.emulator.records import CREATED, RUNNING
from omniherd.emulator.seed import SCHEMATIC, MachinePlan, add_machine
from omniherd.emulator.simulation.schedule import Schedule
from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.store import Store

__all__ = ["Fleet"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
_CONTROL_PLANE = _L + "role-controlplane"
_FIRST = 101  # the fleet that the emulator is seeded with has the numbers below
_HOLDERS = (
    "ClusterMachineStatusController",
    "ClusterMachineConfigPatchesController",
    "ClusterMachineController",
    "ClusterMachineConfigController",
    "ClusterMachineTeardownController",
    "ClusterMachineEncryptionKeyController",
)

# Seconds after a machine was given to a cluster, as a real server and its machines took them.
_ADOPTED, _CONFIGURED, _INSTALLING, _BOOTED = 0.2, 1.4, 1.46, 1.5
_BOOTSTRAPPED, _BALANCED = 10.0, 30.0
_NOTICED = (190.0, 225.0)  # the link is given up so long after a machine went away
_BACK = 1.0


class Fleet:
    """Machines that join, and run what the resources of a store ask of them.

    Give it the store of an emulator. A machine becomes a node when a `MachineSetNodes` resource names it, in the
    steps that were recorded from real machines. Nothing happens by itself but with `schedule`.

    Args:
        store: What they see and change; its controllers must run already.
        machines: How many machines join, at second 0.
        seed: What all chance comes from: the same seed gives the same delays.
        schedule: The time that they live in; one of its own for None.

    Attributes:
        schedule: The time that they live in: `schedule.step(5)`.
        machines: Ids of the machines in the order in which they join.

    Example:
        >>> from omniherd.emulator.store import Store
        >>> fleet = Fleet(Store(), machines=2)
        >>> fleet.schedule.step(1)
        >>> len(fleet.machines)
        2
    """

    def __init__(self, store: Store, machines: int = 8, seed: int = 0, schedule: Schedule | None = None) -> None:
        self._store = store
        self._random = random.Random(seed)
        self.schedule = schedule or Schedule()
        self._plans = {plan.id: plan for plan in (MachinePlan(_FIRST + n, f"machine-{n + 1}") for n in range(machines))}
        self._away: set[str] = set()
        store.observe(self._see)
        for plan in self._plans.values():
            self.schedule.after(0, lambda plan=plan: add_machine(store, plan))  # type: ignore[misc]

    @property
    def machines(self) -> list[str]:
        """Ids of the machines in the order in which they join."""
        return list(self._plans)

    def disconnect(self, machine: str) -> None:
        """Cut a machine off. The server notices after minutes, as a real one does.

        Args:
            machine: Its id.

        Raises:
            InputError: The fleet has no such machine.
        """
        self._check(machine)
        self._away.add(machine)
        self.schedule.after(self._random.uniform(*_NOTICED), lambda: self._show_connection(machine))

    def reconnect(self, machine: str) -> None:
        """Bring a machine back; it is seen a second later.

        Args:
            machine: Its id.

        Raises:
            InputError: The fleet has no such machine.
        """
        self._check(machine)
        self._away.discard(machine)
        self.schedule.after(_BACK, lambda: self._show_connection(machine))

    def _check(self, machine: str) -> None:
        if machine not in self._plans:
            raise InputError(f"the fleet has no machine {machine!r}")

    # --- becoming a node --------------------------------------------------------------------------------------------

    def _see(self, event: Event) -> None:
        # Called under the store's lock in the middle of a change: only plan here.
        node = event.resource
        if node is None or event.kind != CREATED or node.type != "MachineSetNodes" + _O or node.id not in self._plans:
            return
        self._later(_ADOPTED, node, self._adopt)

    def _later(self, seconds: float, node: Stored, action: Callable[[Stored], None]) -> None:
        """Plan a step of a node, which is skipped when the node was taken away, and waits while it is cut off."""

        def run() -> None:
            with self._store.lock:
                current = self._store.find(node.namespace, node.type, node.id)
                if current is None or current.phase != RUNNING or current.created != node.created:
                    return
                if node.id in self._away:
                    self._later(1.0, node, action)
                    return
                action(node)

        self.schedule.after(seconds, run)

    def _adopt(self, node: Stored) -> None:
        store, id_ = self._store, node.id
        cluster = store.find("default", "Clusters" + _O, node.labels.get(_L + "cluster", ""))
        machine = store.find("default", "MachineStatuses" + _O, id_)
        if cluster is None or machine is None:
            return
        spec = cluster.decode()
        labels = {key: value for key, value in node.labels.items() if key.startswith(_L)}
        store.put(
            "ClusterMachineTalosVersions" + _O,
            id_,
            {"talos_version": spec.talos_version, "schematic_id": SCHEMATIC},
            owner="TalosUpgradeStatusController",
            labels={_L + "cluster": cluster.id},
        )
        made = store.put(
            "ClusterMachines" + _O,
            id_,
            {"kubernetes_version": spec.kubernetes_version},
            owner="MachineSetStatusController",
            labels=labels,
        )
        hold(store, made, _HOLDERS)
        self._belong(machine, cluster.id, labels)
        hostname = self._plans[id_].hostname
        status = store.put(
            "ClusterMachineStatuses" + _O,
            id_,
            {
                "ready": True,
                "stage": "CONFIGURING",
                "config_apply_status": "PENDING",
                "management_address": self._plans[id_].address,
                "provision_status": {},
            },
            owner="ClusterMachineStatusController",
            labels={**labels, _L + "hostname": hostname, _L + "connected": ""},
        )
        hold(store, status, ("ClusterWorkloadProxyStatusController", "SecretRotationStatusController"))
        self._later(_CONFIGURED - _ADOPTED, node, self._configure)

    def _belong(self, machine: Stored, cluster: str, labels: dict[str, str]) -> None:
        """Mark a machine as one of a cluster's."""
        kept = {key: value for key, value in machine.labels.items() if key != _L + "available"}
        spec = machine.decode()
        spec.cluster, spec.role, spec.maintenance = cluster, 1 if _CONTROL_PLANE in labels else 2, False
        self._store.modify(
            *_key(machine),
            spec=spec.SerializeToString(deterministic=True),
            labels={**kept, **labels, _L + "installed": ""},
        )

    def _configure(self, node: Stored) -> None:
        made = self._store.put(
            "ClusterMachineConfigStatuses" + _O,
            node.id,
            {
                "cluster_machine_config_version": "1",
                "cluster_machine_config_sha256": hashlib.sha256(node.id.encode()).hexdigest(),
            },
            owner="ClusterMachineConfigStatusController",
            labels=node.labels,
        )
        hold(self._store, made, ("RedactedClusterMachineConfigController",))
        self._tell(node.id, config_up_to_date=True, config_apply_status=2)
        self._later(_INSTALLING - _CONFIGURED, node, self._install)

    def _install(self, node: Stored) -> None:
        self._tell(node.id, ready=False, stage=2)
        self._later(_BOOTED - _INSTALLING, node, self._boot)

    def _boot(self, node: Stored) -> None:
        plan, control_plane = self._plans[node.id], _CONTROL_PLANE in node.labels
        self._store.put(
            "ClusterMachineIdentities" + _O,
            node.id,
            {"nodename": plan.hostname},
            owner="ClusterMachineIdentityController",
            labels=node.labels,
        )
        self._tell(node.id, ready=not control_plane, stage=4)
        if control_plane:
            self._later(_BOOTSTRAPPED - _BOOTED, node, self._bootstrap)

    def _bootstrap(self, node: Stored) -> None:
        cluster = node.labels[_L + "cluster"]
        self._store.put(
            "ClusterBootstrapStatuses" + _O,
            cluster,
            {"bootstrapped": True},
            owner="ClusterBootstrapStatusController",
        )
        self._tell(node.id, ready=True)
        self._tell_cluster(cluster, available=True, controlplaneReady=True, has_connected_control_planes=True)
        self._later(_BALANCED - _BOOTSTRAPPED, node, self._balance)

    def _balance(self, node: Stored) -> None:
        cluster = node.labels[_L + "cluster"]
        self._store.put("LoadBalancerStatuses" + _O, cluster, {"healthy": True}, owner="LoadBalancerController")
        self._tell_cluster(cluster, kubernetesAPIReady=True)

    # --- connection -------------------------------------------------------------------------------------------------

    def _show_connection(self, machine: str) -> None:
        """Let the server see whether a machine is there."""
        up = machine not in self._away
        for kind in ("Links", "Machines"):
            self._change(kind, machine, connected=up)
        with self._store.lock:
            self._change("MachineStatuses", machine, connected=up, power_state=2 if up else 1)
            for kind in ("MachineStatuses", "MachineStatusLabels", "ClusterMachineStatuses"):
                self._label(kind, machine, up=up)
        self._tell(machine, ready=up)

    def _label(self, kind: str, machine: str, *, up: bool) -> None:
        found = self._store.find("default", kind + _O, machine)
        if found is None:
            return
        labels = {key: value for key, value in found.labels.items() if key not in _CONNECTION}
        if up or kind != "ClusterMachineStatuses":
            labels[_L + ("connected" if up else "disconnected")] = ""
        if labels != found.labels:
            self._store.modify(*_key(found), labels=labels)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _tell(self, machine: str, **fields: Any) -> None:
        self._change("ClusterMachineStatuses", machine, **fields)

    def _tell_cluster(self, cluster: str, **fields: Any) -> None:
        self._change("ClusterStatuses", cluster, **fields)

    def _change(self, kind: str, id_: str, **fields: Any) -> None:
        """Change fields of a spec; nothing is written when they are so already."""
        from omniherd.emulator.forms import default_namespace

        with self._store.lock:
            found = self._store.find(default_namespace(kind + _O), kind + _O, id_)
            if found is None:
                return
            spec = found.decode()
            for name, value in fields.items():
                setattr(spec, name, value)
            data = spec.SerializeToString(deterministic=True)
            if data != found.spec:
                self._store.modify(*_key(found), spec=data)


_CONNECTION = frozenset((_L + "connected", _L + "disconnected"))


def _key(resource: Stored) -> tuple[str, str, str]:
    return resource.namespace, resource.type, resource.id
