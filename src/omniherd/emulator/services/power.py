"""Machines switched off and on, by those who may and by the provider that runs them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, check_machine

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming, Method
    from omniherd.emulator.services.audit_log import AuditLog
    from omniherd.emulator.services.guards import Gate
    from omniherd.emulator.store import Store
    from omniherd.emulator.talos.machines import Machines

__all__ = ["PowerCalls"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
_CONFIGS = "InfraMachineConfigs" + _O
_ACCEPTED = 1  # InfraMachineConfigSpec.ACCEPTED


class PowerCalls:
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
        self._audit = audit

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {PREFIX + "MachinePowerOn": self.power_on, PREFIX + "MachinePowerOff": self.power_off}

    async def power_on(self, call: Incoming, request: Any) -> bytes:
        """Answer MachinePowerOn: the machine's provider is told that it may switch it on."""
        check_machine(request.machine_id)
        self._gate.require(call, request)
        if not self._of_static_provider(request.machine_id):
            text = "machine is not managed by a static infra provider, power on the machine manually"
            raise StateError("FAILED_PRECONDITION", text)
        self._ask_provider(request.machine_id, "", "clear")
        return b""

    async def power_off(self, call: Incoming, request: Any) -> bytes:
        """Answer MachinePowerOff: the machine is shut down, and its provider told to leave it so."""
        check_machine(request.machine_id)
        self._gate.require(call, request)
        if self._of_static_provider(request.machine_id):
            self._ask_provider(request.machine_id, str(uuid.uuid4()), "set")
        node = self._machines.nodes.node(request.machine_id)
        if node is None:
            name = f"MachineStatuses{_O}(default/{request.machine_id}@undefined)"
            raise StateError("UNKNOWN", f"failed to get talos client: resource {name} doesn't exist")
        self._audit.talos_access(call, "machine.MachineService/Shutdown", node.cluster, node.id)
        try:
            self._machines.running.check(node)
        except StateError as error:
            text = f"failed to shutdown machine: rpc error: code = Unavailable desc = {error.message}"
            raise StateError(error.code, text) from None
        self._machines.running.shut_down(node)
        return b""

    def _of_static_provider(self, machine: str) -> bool:
        link = self._store.find("default", "Links" + _O, machine)
        if link is None:
            raise StateError("NOT_FOUND", "machine not found")
        name = link.labels.get(_L + "infra-provider-id")
        if name is None:
            return False
        provider = self._store.find("infra-provider", "InfraProviderStatuses" + _O, name)
        if provider is None:
            raise StateError("FAILED_PRECONDITION", "failed to get infra provider status")
        return _L + "is-static-infra-provider" in provider.labels

    def _ask_provider(self, machine: str, request_id: str, verb: str) -> None:
        with self._store.lock:
            config: Stored | None = self._store.find("default", _CONFIGS, machine)
            if config is None:
                text = f"infra machine config not found, cannot {verb} machine power-off request"
                raise StateError("FAILED_PRECONDITION", text)
            spec = config.decode()
            if spec.acceptance_status != _ACCEPTED:
                text = f"infra machine config is not accepted yet, cannot {verb} machine power-off request"
                raise StateError("UNKNOWN", f"failed to update infra machine config: {text}")
            spec.power_off_request_id = request_id
            self._store.modify("default", _CONFIGS, machine, spec=spec.SerializeToString(deterministic=True))
