"""The kernel logs of machines, as they send them to Omni and as they show them themselves. Kept in memory."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from omniherd.emulator.records import Event
    from omniherd.emulator.server import Bell
    from omniherd.emulator.store import Store

__all__ = ["Line", "MachineLog"]

_O = ".omni.sidero.dev"
_MACHINES = "Machines" + _O
_STAGES = "ClusterMachineStatuses" + _O
_SECOND = 1_000_000_000
_MILLISECOND = 1_000_000
_KEPT = 5_000
_FIRST = (
    "[talos] task startAllServices (1/1): starting",
    "[talos] service[machined](Running): Health check successful",
    "[talos] service[apid](Running): Health check successful",
    "[talos] task startAllServices (1/1): done",
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a machine's log.

    Attributes:
        time: Nanoseconds since 1970.
        text: What it says, without an end of line.
        level: `info`, `warn` or `error`.
        fields: What goes with it.
    """

    time: int
    text: str
    level: str = "info"
    fields: dict[str, Any] = field(default_factory=dict[str, Any])

    def json(self) -> bytes:
        """Return the line as Omni keeps it."""
        line = {**self.fields, "msg": self.text + "\n", "talos-level": self.level, "talos-time": self.stamp()}
        return json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def kernel(self) -> bytes:
        """Return the line as the machine shows it."""
        return f"user: warning: [{self.stamp()}]: {self.text}\n".encode()

    def stamp(self) -> str:
        """Return its time in RFC 3339 with nanoseconds, without zeros at the end."""
        seconds, nanos = divmod(self.time, _SECOND)
        fraction = f".{nanos:09}".rstrip("0") if nanos else ""
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


class MachineLog:
    """The logs of all machines. A machine that changes its stage says so in its log.

    Args:
        store: The state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._lines: dict[str, list[Line]] = {}
        self._dropped: dict[str, int] = {}
        self._listeners: dict[str, set[Callable[[], None]]] = {}
        store.observe(self._see)

    def has(self, machine: str) -> bool:
        """Tell whether there is such a machine."""
        return self._store.find("default", _MACHINES, machine) is not None

    def add(self, machine: str, text: str, level: str = "info", **fields: Any) -> None:
        """Write lines.

        Args:
            machine: Id of the machine.
            text: One line, or several.
            level: `info`, `warn` or `error`.
            **fields: What goes with them.
        """
        now = self._store.clock()
        self.lines(machine)
        with self._lock:
            kept = self._lines[machine]
            kept.extend(Line(now, one, level, dict(fields)) for one in text.splitlines())
            surplus = len(kept) - _KEPT
            if surplus > 0:
                del kept[:surplus]
                self._dropped[machine] = self._dropped.get(machine, 0) + surplus
            listeners = tuple(self._listeners.get(machine, ()))
        for ring in listeners:
            ring()

    def lines(self, machine: str) -> list[Line]:
        """Return the lines that are kept of a machine, the oldest first."""
        return self._since(machine, 0)[0]

    def _since(self, machine: str, position: int) -> tuple[list[Line], int]:
        """Return the lines from a position on, and the position after them."""
        first = None if machine in self._lines else self._beginning(machine)
        with self._lock:
            kept = self._lines.setdefault(machine, first or [])
            dropped = self._dropped.get(machine, 0)
            return kept[max(0, position - dropped) :], dropped + len(kept)

    def _beginning(self, machine: str) -> list[Line]:
        found = self._store.find("default", _MACHINES, machine)
        if found is None:
            return []
        status = self._store.find("default", "MachineStatuses" + _O, machine)
        name = "" if status is None else status.decode().network.hostname
        texts = (*_FIRST, f"setting hostname {json.dumps({'hostname': name or machine})}")
        start = found.created[0] * _SECOND + found.created[1]
        return [Line(start + number * _MILLISECOND, text) for number, text in enumerate(texts)]

    async def send(
        self,
        machine: str,
        send: Callable[[Line], Awaitable[None]],
        *,
        bell: Bell | None = None,
        tail: int | None = None,
        service: str = "",
        before: Iterable[Line] = (),
    ) -> None:
        """Send the lines of a machine.

        Args:
            machine: Its id.
            send: What sends a line.
            bell: What wakes the call for new lines, which then go on until the caller ends them; None to end with the
                last one that is there.
            tail: How many lines to send at first; None for all.
            service: The service that lines must be about; empty for all.
            before: Lines that come before those of the log.
        """

        def about(lines: Iterable[Line]) -> list[Line]:
            return [line for line in lines if not service or line.fields.get("service") == service]

        if bell is not None:
            with self._lock:
                self._listeners.setdefault(machine, set()).add(bell.ring)
        try:
            lines, position = self._since(machine, 0)
            lines = [*before, *about(lines)]
            if tail is not None:
                lines = lines[len(lines) - min(tail, len(lines)) :]
            while True:
                for line in lines:
                    await send(line)
                if bell is None:
                    return
                await bell.heard()
                lines, position = self._since(machine, position)
                lines = about(lines)
        finally:
            if bell is not None:
                with self._lock:
                    self._listeners[machine].discard(bell.ring)

    def _see(self, event: Event) -> None:
        changed, old = event.resource, event.old
        if changed is None or old is None or changed.type != _STAGES or changed.spec == old.spec:
            return
        before, now = old.decode().stage, changed.decode().stage
        if before != now:
            stage = changed.decode().DESCRIPTOR.fields_by_name["stage"].enum_type.values_by_number[now].name
            self.add(changed.id, f"[talos] machine is now {stage.lower().replace('_', ' ')}")
