"""Methods of Talos' API that answer with a stream, for one machine at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError
from omniherd.emulator.talos import processes
from omniherd.emulator.talos.machine_log import Line

if TYPE_CHECKING:
    from omniherd.emulator.server import Bell
    from omniherd.emulator.talos.health import Health
    from omniherd.emulator.talos.machine_api import MachineAPI
    from omniherd.emulator.talos.nodes import Node
    from omniherd.emulator.talos.running import Running

__all__ = ["Streams", "Tell"]

Tell = Callable[[dict[str, Any]], Awaitable[None]]
_Stream = Callable[["Node", Any, Tell, "Bell"], Awaitable[None]]

_MACHINE = "/machine.MachineService/"
_CHUNK = 32 * 1024
_SYSTEM_LOGS = ("controller-runtime", "dns-resolve-cache", "kernel")
_EVENT = "talos/runtime/"


class Streams:
    """The methods.

    Args:
        running: What goes on in the machines.
        api: Their other methods.
        health: The check of clusters.
    """

    def __init__(self, running: Running, api: MachineAPI, health: Health) -> None:
        self._running = running
        self._api = api
        self._health = health

    def methods(self) -> dict[str, _Stream]:
        """Return what answers, by path."""
        found: dict[str, _Stream] = {
            "Dmesg": self.dmesg,
            "Events": self.events,
            "ImageList": self.images,
            "List": self.list,
            "Logs": self.logs,
            "Read": self.read,
        }
        return {
            **{_MACHINE + name: method for name, method in found.items()},
            "/cluster.ClusterService/HealthCheck": self.health,
        }

    async def dmesg(self, node: Node, request: Any, tell: Tell, bell: Bell) -> None:
        """Answer Dmesg: a message for each line."""

        async def send(line: Line) -> None:
            await tell({"bytes": line.kernel()})

        tail = 0 if request.tail else None
        await self._running.log.send(node.id, send, bell=bell if request.follow else None, tail=tail)

    async def logs(self, node: Node, request: Any, tell: Tell, bell: Bell) -> None:
        """Answer Logs: of a service, or of the machine itself."""
        service = request.id
        if request.namespace == "k8s.io":
            known = {one["id"] for one in processes.containers(node, "k8s.io")}
            if service not in known:
                raise StateError("UNKNOWN", f'container "{service}" not found')
        elif service not in (*_SYSTEM_LOGS, *processes.services(node)):
            raise StateError("UNKNOWN", f'log "{service}" was not registered')
        kernel = service == "kernel"

        async def send(line: Line) -> None:
            await tell({"bytes": line.kernel() if kernel else f"{line.stamp()} {line.text}\n".encode()})

        await self._running.log.send(
            node.id,
            send,
            bell=bell if request.follow else None,
            tail=request.tail_lines if request.tail_lines >= 0 else None,
            service="" if kernel else service,
            before=() if kernel else (self._started(node, service),),
        )

    def _started(self, node: Node, service: str) -> Line:
        machine = self._running.machine(node)
        return Line(machine.healthy_since.get(service, machine.booted), f"{service} of {node.name} started")

    def lines_of(self, node: Node, service: str) -> list[Line]:
        """Return the lines of a service's log."""
        about = (line for line in self._running.log.lines(node.id) if line.fields.get("service") == service)
        return [self._started(node, service), *about]

    async def events(self, node: Node, request: Any, tell: Tell, bell: Bell) -> None:
        """Answer Events: past ones as far as they are asked for, and new ones until the caller ends it."""
        machine = self._running.machine(node)
        position = len(machine.events)
        if request.tail_events < 0:
            position = 0
        elif request.tail_events:
            position = max(0, position - request.tail_events)
        elif request.tail_id:
            ids = [event[2] for event in machine.events]
            position = ids.index(request.tail_id) + 1 if request.tail_id in ids else 0
        machine.listeners.add(bell.ring)
        try:
            while True:
                for kind, fields, id_, actor in machine.events[position:]:
                    position += 1
                    if not request.with_actor_id or request.with_actor_id == actor:
                        await tell({"data": any_of(kind, fields), "id": id_, "actor_id": actor})
                await bell.heard()
        finally:
            machine.listeners.discard(bell.ring)

    async def health(self, node: Node, request: Any, tell: Tell, _bell: Bell) -> None:
        """Answer HealthCheck."""
        await self._health.check(node, request, tell)

    async def images(self, _node: Node, _request: Any, _tell: Tell, _bell: Bell) -> None:
        """Answer ImageList: the recorded machines showed none."""

    async def list(self, node: Node, request: Any, tell: Tell, _bell: Bell) -> None:
        """Answer List."""
        for one in self._api.listing(node, request):
            await tell(one)

    async def read(self, node: Node, request: Any, tell: Tell, _bell: Bell) -> None:
        """Answer Read."""
        content = self._api.read(node, request)
        for start in range(0, len(content), _CHUNK):
            await tell({"bytes": content[start : start + _CHUNK]})


def any_of(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return a message as the fields of an `Any`, as Talos packs its events."""
    from omniherd._core.pool import message
    from omniherd._core.spec_mapping import fill

    proto = message(kind)()
    fill(proto, fields)
    return {"type_url": _EVENT + kind, "value": proto.SerializeToString()}
