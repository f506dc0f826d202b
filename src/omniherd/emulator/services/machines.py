"""The management calls about single machines: logs, maintenance, power, tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, missing_here, require

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming, Method, Send
    from omniherd.emulator.store import Store

__all__ = ["MachineCalls"]

_MACHINES = "Machines.omni.sidero.dev"
_STATUSES = "MachineStatuses.omni.sidero.dev"
_INSTALL, _UPGRADE = 1, 2


class MachineCalls:
    """The calls.

    Args:
        store: The state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {
            PREFIX + "MachineLogs": self.logs,
            PREFIX + "MaintenanceUpgrade": self.maintenance_upgrade,
            PREFIX + "MaintenanceLifecycle": self.maintenance_lifecycle,
            PREFIX + "MachinePowerOn": self.power_on,
            PREFIX + "MachinePowerOff": self.power_off,
            PREFIX + "ResetNodeUniqueToken": self.reset_token,
        }

    async def logs(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer MachineLogs: the few lines that an emulated machine wrote; a follower waits for more in vain."""
        _named(request.machine_id)
        require(call)
        name = request.machine_id
        machine = self._store.find("default", _MACHINES, name)
        if machine is None:
            text = f'failed to get log store for machine "{name}": log store not found: {name}'
            raise StateError("NOT_FOUND", text)
        lines = self._lines(machine)
        wanted = request.tail_lines
        if wanted >= 0:
            lines = lines[len(lines) - wanted :] if 0 < wanted < len(lines) else lines if wanted else []
        for line in lines:
            await send(message("common.Data")(bytes=line).SerializeToString())
        if request.follow:
            bell = call.bell()
            while True:
                await bell.heard()

    def _lines(self, machine: Stored) -> list[bytes]:
        status = self._store.find("default", _STATUSES, machine.id)
        network = None if status is None else status.decode().network
        host = machine.id if network is None or not network.hostname else network.hostname
        texts = ("[talos] task startAllServices (1/1): done\n", f"setting hostname {json.dumps({'hostname': host})}\n")
        lines: list[bytes] = []
        for number, text in enumerate(texts):
            moment = datetime.fromtimestamp(machine.created[0] + number, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            line = {"msg": text, "talos-level": "info", "talos-time": moment}
            lines.append(json.dumps(line, separators=(",", ":")).encode())
        return lines

    async def maintenance_upgrade(self, call: Incoming, request: Any) -> bytes:
        """Answer MaintenanceUpgrade, as far as its refusals go."""
        _named(request.machine_id)
        require(call)
        if not request.version:
            raise StateError("INVALID_ARGUMENT", "talos version is required")
        self._in_maintenance(request.machine_id)
        self._tracked(request.version)
        raise missing_here(call, "upgrade machines in maintenance mode")

    async def maintenance_lifecycle(self, call: Incoming, request: Any, _send: Send) -> None:
        """Answer MaintenanceLifecycle, as far as its refusals go."""
        _named(request.machine_id)
        require(call)
        if request.operation not in {_INSTALL, _UPGRADE}:
            raise StateError("INVALID_ARGUMENT", "operation must be OPERATION_INSTALL or OPERATION_UPGRADE")
        if request.operation == _INSTALL and not request.disk:
            raise StateError("INVALID_ARGUMENT", "disk is required for INSTALL")
        if request.operation == _UPGRADE and request.disk:
            raise StateError("INVALID_ARGUMENT", "disk must not be set for UPGRADE")
        if request.operation == _UPGRADE and not request.version:
            raise StateError("INVALID_ARGUMENT", "version is required for UPGRADE")
        self._in_maintenance(request.machine_id)
        if request.version:
            self._tracked(request.version)
        raise missing_here(call, "install or upgrade machines in maintenance mode")

    async def power_on(self, call: Incoming, request: Any) -> bytes:
        """Answer MachinePowerOn, as far as its refusals go."""
        _named(request.machine_id)
        require(call)
        machine = self._machine(request.machine_id)
        if not any("infra-provider" in label for label in machine.labels):
            text = "machine is not managed by a static infra provider, power on the machine manually"
            raise StateError("FAILED_PRECONDITION", text)
        raise missing_here(call, "switch machines")

    async def power_off(self, call: Incoming, request: Any) -> bytes:
        """Answer MachinePowerOff, as far as its refusals go."""
        _named(request.machine_id)
        require(call)
        self._machine(request.machine_id)
        raise missing_here(call, "switch machines")

    async def reset_token(self, call: Incoming, request: Any) -> bytes:
        """Answer ResetNodeUniqueToken, as far as its refusals go."""
        require(call)
        self._machine(request.id)
        raise missing_here(call, "have unique tokens of nodes")

    def _machine(self, name: str) -> Stored:
        machine = self._store.find("default", _MACHINES, name)
        if machine is None:
            raise StateError("NOT_FOUND", "machine not found")
        return machine

    def _in_maintenance(self, name: str) -> None:
        self._machine(name)
        if self._store.find("default", "ClusterMachines.omni.sidero.dev", name) is not None:
            raise StateError("FAILED_PRECONDITION", "machine is not in maintenance mode")

    def _tracked(self, version: str) -> None:
        if self._store.find("default", "TalosVersions.omni.sidero.dev", version.removeprefix("v")) is None:
            text = f'requested Talos version "{version}" is not tracked by this Omni release'
            raise StateError("FAILED_PRECONDITION", text)


def _named(machine: str) -> None:
    if not machine:
        raise StateError("INVALID_ARGUMENT", "machine id is required")
