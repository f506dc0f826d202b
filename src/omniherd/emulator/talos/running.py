"""What goes on in machines beside their resources: boots, restarts of services, events. Kept in memory."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.store import Clock
    from omniherd.emulator.talos.machine_log import MachineLog
    from omniherd.emulator.talos.nodes import Node

__all__ = ["Living", "Machine", "Running"]

_SECOND = 1_000_000_000
_OUTAGE = 2 * _SECOND  # how long a recorded machine was away after a reboot


@dataclass(slots=True)
class Machine:
    """A machine that runs.

    Attributes:
        booted: When it booted, in nanoseconds since 1970.
        back: When it can be reached again after a reboot, in the same.
        healthy_since: When services became healthy that were started since the boot, by service.
        off: Whether it was switched off.
        events: What happened: kind of the message, its fields, id of the event, id of who caused it.
        listeners: Whom to tell of new events.
    """

    booted: int
    back: int = 0
    off: bool = False
    healthy_since: dict[str, int] = field(default_factory=dict[str, int])
    events: list[tuple[str, dict[str, Any], str, str]] = field(
        default_factory=list[tuple[str, dict[str, Any], str, str]]
    )
    listeners: set[Callable[[], None]] = field(default_factory=set["Callable[[], None]"])


class Living(Protocol):
    """Machines with a life of their own, of which some are away."""

    @property
    def machines(self) -> list[str]:
        """Their ids."""
        ...

    def is_away(self, machine: str) -> bool:
        """Tell whether a machine is cut off."""
        ...

    def disconnect(self, machine: str) -> None:
        """Cut a machine off."""
        ...

    def reconnect(self, machine: str) -> None:
        """Bring a machine back."""
        ...


class Running:
    """The machines that run.

    Args:
        clock: Nanoseconds since 1970.
        log: Where machines write.

    Attributes:
        living: Those with a life of their own; None for none.
    """

    def __init__(self, clock: Clock, log: MachineLog) -> None:
        self.clock = clock
        self.log = log
        self.living: Living | None = None
        self._machines: dict[str, Machine] = {}
        self._lock = threading.Lock()

    def machine(self, node: Node) -> Machine:
        """Return what goes on in a machine."""
        with self._lock:
            found = self._machines.get(node.id)
            if found is None:
                found = self._machines[node.id] = Machine(node.joined * _SECOND)
                self._tell(found, "machine.MachineStatusEvent", _status(ready=True))
            return found

    def check(self, node: Node) -> None:
        """Refuse to reach a machine that is away.

        Raises:
            StateError: `UNAVAILABLE`, as it is told through Omni.
        """
        why = ""
        if not node.connected or self.machine(node).off or self._is_away(node.id):
            why = "i/o timeout"
        elif node.rebooting or self.machine(node).back > self.clock():
            why = "connect: connection refused"
        if why:
            host = f"[{node.address}]" if node.address else node.address_in_cluster
            text = f"transport: Error while dialing: dial tcp {host}:50000: {why}"
            raise StateError("UNAVAILABLE", f'connection error: desc = "{text}"')

    def reboot(self, node: Node) -> None:
        """Reboot a machine: it is away for two seconds, and its services start anew."""
        now = self.clock()
        machine = self.machine(node)
        self._tell(machine, "machine.SequenceEvent", {"sequence": "reboot", "action": "START"}, actor=str(uuid.uuid4()))
        self.log.add(node.id, "[talos] reboot via API received")
        self.log.add(node.id, "[talos] reboot sequence: 9 phase(s)")
        machine.booted, machine.back = now + _OUTAGE, now + _OUTAGE
        machine.healthy_since.clear()
        self._tell(machine, "machine.MachineStatusEvent", _status(ready=True))

    def shut_down(self, node: Node) -> None:
        """Switch a machine off. Omni finds out with time, where machines have a life of their own."""
        machine = self.machine(node)
        actor = str(uuid.uuid4())
        self._tell(machine, "machine.SequenceEvent", {"sequence": "shutdown", "action": "START"}, actor=actor)
        self.log.add(node.id, "[talos] shutdown via API received")
        machine.off = True
        if self.living is not None and node.id in self.living.machines:
            self.living.disconnect(node.id)

    def power_on(self, node: Node) -> None:
        """Switch a machine on that was switched off."""
        machine = self.machine(node)
        machine.off = False
        machine.booted = self.clock()
        machine.healthy_since.clear()
        self._tell(machine, "machine.MachineStatusEvent", _status(ready=True))
        if self.living is not None and node.id in self.living.machines:
            self.living.reconnect(node.id)

    def _is_away(self, machine: str) -> bool:
        living = self.living
        return living is not None and machine in living.machines and living.is_away(machine)

    def restart_service(self, node: Node, service: str) -> None:
        """Restart a service of a machine."""
        machine = self.machine(node)
        machine.healthy_since[service] = self.clock()
        for action, text in (("STOPPING", "Sending SIGTERM"), ("RUNNING", "Started task")):
            fields = {"service": service, "action": action, "message": text}
            self._tell(machine, "machine.ServiceStateEvent", fields)
        self.log.add(node.id, f"[talos] service[{service}](Running): Health check successful", service=service)

    def _tell(self, machine: Machine, kind: str, fields: dict[str, Any], *, actor: str = "") -> None:
        id_ = f"{self.clock():020x}-{len(machine.events):04x}"
        machine.events.append((kind, fields, id_, actor))
        for ring in tuple(machine.listeners):
            ring()


def _status(*, ready: bool) -> dict[str, Any]:
    return {"stage": "RUNNING", "status": {"ready": ready}}
