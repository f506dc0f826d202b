"""What a machine adds to a support bundle: logs, services, processes, and its resources."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError
from omniherd.emulator.talos import files, hardware, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from omniherd.emulator.talos.machines import Machines
    from omniherd.emulator.talos.nodes import Node

__all__ = ["machine_files"]

_LOGS = ("controller-runtime", "dns-resolve-cache")


def machine_files(node: Node, machines: Machines) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Return the files of a machine: their names, and what returns their content or raises a StateError.

    Args:
        node: The machine.
        machines: All of them.
    """
    uptime = machines.api.uptime(node)
    yield "dmesg.log", lambda: b"".join(line.kernel() for line in machines.log.lines(node.id))
    for log in _LOGS:
        yield f"{log}.log", partial(_log, node, machines, log)
    yield "dependencies.dot", _no_dependencies
    yield "mounts", lambda: _table(hardware.mounts(node))
    yield "devices", partial(_devices, node, uptime)
    yield "io", lambda: _table(hardware.disk_stats(node, uptime))
    yield "processes", lambda: _table(processes.processes(node, uptime))
    summary = f"Server:\n\tNODE:        {node.name}\n\tTag:         {node.version}\n"
    yield "summary", summary.encode
    store = machines.resources.store(node)
    for namespace, kind in store.kinds():
        yield f"resources/{kind.lower()}.yaml", partial(_resources, machines, node, namespace, kind)
    for service in processes.services(node):
        yield f"service-logs/{service}.log", partial(_log, node, machines, service)
        yield f"service-logs/{service}.state", partial(_state, service)


def _log(node: Node, machines: Machines, service: str) -> bytes:
    return b"".join(f"{line.stamp()} {line.text}\n".encode() for line in machines.streams.lines_of(node, service))


def _no_dependencies() -> bytes:
    problem = "rpc error: code = Unimplemented desc = unknown service inspect.InspectService"
    raise StateError("UNIMPLEMENTED", f"error getting controller runtime dependencies: {problem}")


def _devices(node: Node, uptime: float) -> bytes:
    try:
        return files.read(node, "/proc/bus/pci/devices", uptime)
    except StateError as error:
        raise StateError(error.code, f"rpc error: code = Unknown desc = {error.message}") from None


def _table(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as columns, one line each below their names."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    return "".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    ).encode()


def _state(service: str) -> bytes:
    return f"ID       {service}\nSTATE    Running\nHEALTH   OK\n".encode()


def _resources(machines: Machines, node: Node, namespace: str, kind: str) -> bytes:
    from omniherd.resource import Resource

    cls: type[Resource[Any]] = Resource
    found = machines.resources.store(node).list(namespace, kind)
    return "---\n".join(cls.from_proto(one.to_proto()).to_yaml() for one in found).encode()
