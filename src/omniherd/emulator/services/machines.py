"""The management calls about single machines: logs, maintenance, tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd.emulator.gotext import quote
from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, check_machine
from omniherd.emulator.services.maintenance import Maintenance

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming, Method, Send
    from omniherd.emulator.services.audit_log import AuditLog
    from omniherd.emulator.services.guards import Gate
    from omniherd.emulator.store import Store
    from omniherd.emulator.talos.machine_log import Line
    from omniherd.emulator.talos.machines import Machines

__all__ = ["MachineCalls"]

_O = ".omni.sidero.dev"
_STATUSES = "MachineStatuses" + _O
_TOKENS = "NodeUniqueTokenStatuses" + _O
_INSTALL, _UPGRADE = 1, 2
_NO_TOKEN = 3  # NodeUniqueTokenStatusSpec.NONE


class MachineCalls:
    """The calls.

    Args:
        store: The state.
        machines: The emulated machines.
        audit: Where calls to Talos are noted.
        gate: Who may call.
    """

    def __init__(self, store: Store, machines: Machines, audit: AuditLog, gate: Gate) -> None:
        self._gate = gate
        self._store = store
        self._machines = machines
        self._maintenance = Maintenance(store, machines, audit)

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {
            PREFIX + "MachineLogs": self.logs,
            PREFIX + "MaintenanceUpgrade": self.maintenance_upgrade,
            PREFIX + "MaintenanceLifecycle": self.maintenance_lifecycle,
            PREFIX + "ResetNodeUniqueToken": self.reset_token,
        }

    async def logs(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer MachineLogs, also of a machine that is away."""
        check_machine(request.machine_id)
        self._gate.require(call, request)
        name, log = request.machine_id, self._machines.log
        if not log.has(name):
            text = f"failed to get log store for machine {quote(name)}: log store not found: {name}"
            raise StateError("NOT_FOUND", text)
        data: Any = message("common.Data")

        async def tell(line: Line) -> None:
            await send(data(bytes=line.json()).SerializeToString())

        tail = request.tail_lines if request.tail_lines >= 0 else None
        await log.send(name, tell, bell=call.bell() if request.follow else None, tail=tail)

    async def maintenance_upgrade(self, call: Incoming, request: Any) -> bytes:
        """Answer MaintenanceUpgrade."""
        check_machine(request.machine_id)
        if not request.version:
            raise StateError("INVALID_ARGUMENT", "talos version is required")
        self._gate.require(call, request)
        machine = self._in_maintenance(request.machine_id)
        self._maintenance.check_target(machine, request.version)
        self._maintenance.upgrade(call, machine, request.version)
        return b""

    async def maintenance_lifecycle(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer MaintenanceLifecycle."""
        self._gate.require(call, request)
        check_machine(request.machine_id)
        if request.operation not in {_INSTALL, _UPGRADE}:
            raise StateError("INVALID_ARGUMENT", "operation must be OPERATION_INSTALL or OPERATION_UPGRADE")
        if request.operation == _INSTALL and not request.disk:
            raise StateError("INVALID_ARGUMENT", "disk is required for INSTALL")
        if request.operation == _UPGRADE and request.disk:
            raise StateError("INVALID_ARGUMENT", "disk must not be set for UPGRADE")
        if request.operation == _UPGRADE and not request.version:
            raise StateError("INVALID_ARGUMENT", "version is required for UPGRADE")
        machine = self._in_maintenance(request.machine_id)
        response: Any = message("management.MaintenanceLifecycleResponse")
        lines = self._maintenance.lifecycle(call, machine, request.version, request.disk)
        for line in lines:
            await send(response(message=line).SerializeToString())

    async def reset_token(self, call: Incoming, request: Any) -> bytes:
        """Answer ResetNodeUniqueToken: the machine has none from then on, until it joins again."""
        self._gate.require(call, request)
        if self._store.find("default", _STATUSES, request.id) is None:
            raise StateError("NOT_FOUND", "machine not found")
        with self._store.lock:
            status = self._store.find("default", _TOKENS, request.id)
            if status is None or status.decode().state == _NO_TOKEN:
                name = f"NodeUniqueTokens{_O}(default/{request.id}@undefined)"
                text = f"failed to teardown and destroy node unique token: resource {name} doesn't exist"
                raise StateError("UNKNOWN", text)
            self._store.put(_TOKENS, request.id, {"state": _NO_TOKEN}, owner=status.owner)
        return b""

    def _in_maintenance(self, name: str) -> Stored:
        machine = self._store.find("default", _STATUSES, name)
        if machine is None:
            raise StateError("NOT_FOUND", "machine not found")
        if not machine.decode().maintenance:
            raise StateError("FAILED_PRECONDITION", "machine is not in maintenance mode")
        return machine
