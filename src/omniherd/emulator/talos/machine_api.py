"""Methods of Talos' API that give one answer, and those that answer with a stream, for one machine at a time.

Each method gets a machine and the request, and returns the fields of its message, or yields those of several.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError
from omniherd.emulator.talos import files, hardware, processes

if TYPE_CHECKING:
    from omniherd.emulator.talos.nodes import Node, Nodes
    from omniherd.emulator.talos.running import Running

__all__ = ["MachineAPI", "Stream", "Unary"]

Fields = dict[str, Any]
Unary = Callable[["Node", Any], Fields]
Stream = Callable[["Node", Any], AsyncIterator[Fields]]

_SECOND = 1_000_000_000
_MACHINE = "/machine.MachineService/"
_MIB = 1024 * 1024
_CONNECTED = 1  # NetstatRequest.CONNECTED


class MachineAPI:
    """The methods.

    Args:
        nodes: The machines.
        running: What goes on in them.
    """

    def __init__(self, nodes: Nodes, running: Running) -> None:
        self._nodes = nodes
        self._running = running

    def unary(self) -> dict[str, Unary]:
        """Return what gives one answer, by path."""
        found: dict[str, Unary] = {
            "CPUFreqStats": lambda node, _: {"cpu_freq_stats": hardware.cpu_frequencies(node)},
            "CPUInfo": lambda node, _: {"cpu_info": hardware.cpus(node)},
            "Containers": lambda node, request: {"containers": processes.containers(node, request.namespace)},
            "DiskStats": self.disk_stats,
            "EtcdAlarmList": self.etcd_alarms,
            "EtcdMemberList": self.etcd_members,
            "EtcdStatus": self.etcd_status,
            "Hostname": lambda node, _: {"hostname": node.name},
            "LoadAvg": lambda node, _: hardware.load(node),
            "LogsContainers": self.log_containers,
            "Memory": lambda node, _: {"meminfo": hardware.memory(node)},
            "Mounts": lambda node, _: {"stats": hardware.mounts(node)},
            "Netstat": self.netstat,
            "NetworkDeviceStats": self.network,
            "Processes": lambda node, _: {"processes": processes.processes(node, self.uptime(node))},
            "Reboot": self.reboot,
            "Shutdown": self.shut_down,
            "ServiceList": self.services,
            "ServiceRestart": self.restart_service,
            "Stats": self.stats,
            "SystemStat": self.system,
            "Version": lambda node, _: {"version": {"tag": node.version, "arch": node.status.hardware.arch}},
        }
        return {
            **{_MACHINE + name: method for name, method in found.items()},
            "/storage.StorageService/Disks": lambda node, _: {"disks": hardware.disks(node)},
            "/time.TimeService/Time": self.time,
            "/time.TimeService/TimeCheck": self.time,
        }

    def uptime(self, node: Node) -> float:
        """Return how long a machine runs, in seconds."""
        return max(self._running.clock() - self._running.machine(node).booted, 0) / _SECOND

    # --- the machine ------------------------------------------------------------------------------------------------

    def system(self, node: Node, _request: Any) -> Fields:
        """Answer SystemStat."""
        uptime = self.uptime(node)
        threads = hardware.cpu_times(node, uptime)
        return {
            "boot_time": self._running.machine(node).booted // _SECOND,
            "cpu_total": {name: sum(one[name] for one in threads) for name in ("user", "system", "idle")},
            "cpu": threads,
            "context_switches": int(uptime * 5000),
            "process_created": int(uptime * 2) + 100,
            "process_running": len(processes.processes(node, uptime)),
            "soft_irq_total": int(uptime * 500),
        }

    def disk_stats(self, node: Node, _request: Any) -> Fields:
        """Answer DiskStats."""
        devices = hardware.disk_stats(node, self.uptime(node))
        return {"total": _sum(devices), "devices": devices}

    def network(self, node: Node, _request: Any) -> Fields:
        """Answer NetworkDeviceStats."""
        devices = hardware.network(node, self.uptime(node))
        return {"total": _sum(devices), "devices": devices}

    def netstat(self, node: Node, request: Any) -> Fields:
        """Answer Netstat: who listens; connections there are none."""
        return {"connectrecord": [] if request.filter == _CONNECTED else processes.listening(node)}

    def reboot(self, node: Node, _request: Any) -> Fields:
        """Answer Reboot: the machine is away for a while."""
        self._running.reboot(node)
        return {}

    def shut_down(self, node: Node, _request: Any) -> Fields:
        """Answer Shutdown: the machine is away until somebody switches it on."""
        self._running.shut_down(node)
        return {}

    def time(self, _node: Node, request: Any) -> Fields:
        """Answer Time and TimeCheck; the time servers that the machines ask are right."""
        seconds, nanos = divmod(self._running.clock(), _SECOND)
        now = {"seconds": seconds, "nanos": nanos}
        server = getattr(request, "server", "")
        return {"server": server or "time.cloudflare.com", "localtime": now, "remotetime": now}

    # --- services ---------------------------------------------------------------------------------------------------

    def services(self, node: Node, _request: Any) -> Fields:
        """Answer ServiceList."""
        machine = self._running.machine(node)
        shown: list[Fields] = []
        for name in processes.services(node):
            since = machine.healthy_since.get(name, machine.booted)
            health: Fields = {"healthy": True}
            if name != "machined":
                health["last_change"] = {"seconds": since // _SECOND, "nanos": since % _SECOND}
            shown.append({"id": name, "state": "Running", "events": {}, "health": health})
        return {"services": shown}

    def restart_service(self, node: Node, request: Any) -> Fields:
        """Answer ServiceRestart."""
        service = request.id
        if service not in processes.services(node):
            raise StateError("UNKNOWN", f'service "{service}" is not registered')
        if service not in processes.RESTARTABLE:
            raise StateError("UNKNOWN", f'service "{service}" doesn\'t support restart operation via API')
        self._running.restart_service(node, service)
        return {"resp": f'Service "{service}" restarted'}

    def log_containers(self, node: Node, _request: Any) -> Fields:
        """Answer LogsContainers."""
        return {"ids": ["dns-resolve-cache", "controller-runtime", "kernel", *processes.services(node)]}

    def stats(self, node: Node, request: Any) -> Fields:
        """Answer Stats."""
        uptime = self.uptime(node)
        return {
            "stats": [
                {
                    "namespace": one["namespace"],
                    "id": one["id"],
                    "name": one["name"],
                    "pod_id": one.get("pod_id", ""),
                    "memory_usage": int((20 + 100 * hardware.share(node, one["id"])) * _MIB),
                    "cpu_usage": int(uptime * 10_000_000 * hardware.share(node, "cpu " + one["id"])),
                }
                for one in processes.containers(node, request.namespace)
            ]
        }

    # --- etcd -------------------------------------------------------------------------------------------------------

    def _members(self, node: Node) -> list[Node]:
        """Return the members of a machine's etcd.

        Raises:
            StateError: `INVALID_ARGUMENT`: the machine has none.
        """
        if not node.control_plane:
            raise StateError("INVALID_ARGUMENT", "the machine is not a control plane")
        return [one for one in self._nodes.members(node.cluster) if one.control_plane]

    def etcd_members(self, node: Node, _request: Any) -> Fields:
        """Answer EtcdMemberList."""
        return {
            "members": [
                {
                    "id": _member_id(one),
                    "hostname": one.name,
                    "peer_urls": [f"https://{_host(one)}:2380"],
                    "client_urls": [f"https://{_host(one)}:2379"],
                }
                for one in self._members(node)
            ]
        }

    def etcd_status(self, node: Node, _request: Any) -> Fields:
        """Answer EtcdStatus."""
        members = self._members(node)
        index = int((self._running.clock() / _SECOND - min(one.joined for one in members)) * 5) + 1000
        size = int((20 + 30 * hardware.share(members[0], "etcd")) * _MIB)
        return {
            "member_status": {
                "member_id": _member_id(node),
                "leader": _member_id(members[0]),
                "protocol_version": "3.6.12",
                "storage_version": "3.6.0",
                "db_size": size,
                "db_size_in_use": size // 2,
                "raft_index": index,
                "raft_term": 2,
                "raft_applied_index": index,
            }
        }

    def etcd_alarms(self, node: Node, _request: Any) -> Fields:
        """Answer EtcdAlarmList: there are none."""
        self._members(node)
        return {}

    # --- files ------------------------------------------------------------------------------------------------------

    def read(self, node: Node, request: Any) -> bytes:
        """Return the content of a file."""
        return files.read(node, request.path, self.uptime(node))

    def listing(self, node: Node, request: Any) -> list[Fields]:
        """Return the files below a path."""
        depth = (request.recursion_depth or 1_000) if request.recurse else 1
        found = files.listing(node, request.root, depth, self.uptime(node))
        wanted = {int(kind) for kind in request.types}
        return [one for one in found if not wanted or int(one["is_dir"]) in wanted]


def _sum(devices: list[Fields]) -> Fields:
    total: Fields = {}
    for device in devices:
        for name, value in device.items():
            if name != "name":
                total[name] = total.get(name, 0) + value
    return total


def _member_id(node: Node) -> int:
    return int.from_bytes(hashlib.sha256(f"etcd {node.id}".encode()).digest()[:8], "big")


def _host(node: Node) -> str:
    address = node.address_in_cluster
    return f"[{address}]" if ":" in address else address
