"""What a machine says about its hardware: computed from its MachineStatuses resource, its id and the time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omniherd.emulator.talos.nodes import Node

__all__ = [
    "cpu_frequencies",
    "cpu_times",
    "cpus",
    "disk_stats",
    "disks",
    "load",
    "memory",
    "mounts",
    "network",
    "share",
]

_DISK_TYPES = frozenset({"SSD", "HDD", "NVME", "SD", "CD"})
_MIB = 1024 * 1024
_SECTOR = 512


def share(node: Node, what: str) -> float:
    """Return a number from 0 to 1 that is always the same for a machine and a subject."""
    digest = hashlib.sha256(f"{what} {node.id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def _cores(node: Node) -> int:
    return sum(one.core_count for one in node.status.hardware.processors) or 1


def _threads(node: Node) -> int:
    return sum(one.thread_count or one.core_count for one in node.status.hardware.processors) or 1


def memory_bytes(node: Node) -> int:
    """Return how much memory a machine has."""
    return (sum(one.size_mb for one in node.status.hardware.memory_modules) or 2048) * _MIB


def memory(node: Node) -> dict[str, Any]:
    """Return what the kernel tells of the memory, in KiB."""
    total = memory_bytes(node) // 1024
    used = int(total * (0.2 + 0.4 * share(node, "memory")))
    cached = int(total * 0.15)
    return {
        "memtotal": total,
        "memfree": total - used - cached,
        "memavailable": total - used,
        "buffers": cached // 20,
        "cached": cached,
        "active": used,
        "inactive": cached,
        "slab": cached // 10,
        "commitlimit": total // 2,
        "committedas": used,
        "hugepagesize": 2048,
    }


def cpus(node: Node) -> list[dict[str, Any]]:
    """Return each thread of the processors, as the kernel tells of them."""
    found: list[dict[str, Any]] = []
    for package, processor in enumerate(node.status.hardware.processors):
        threads = processor.thread_count or processor.core_count
        found.extend(
            {
                "processor": len(found) + number,
                "vendor_id": processor.manufacturer,
                "model_name": processor.description,
                "cpu_mhz": float(processor.frequency),
                "physical_id": str(package),
                "siblings": threads,
                "core_id": str(number % (processor.core_count or 1)),
                "cpu_cores": processor.core_count,
            }
            for number in range(threads)
        )
    return found


def cpu_frequencies(node: Node) -> list[dict[str, Any]]:
    """Return the frequencies of each thread, in kHz."""
    return [
        {
            "current_frequency": int(one["cpu_mhz"]) * 1000,
            "minimum_frequency": 800_000,
            "maximum_frequency": int(one["cpu_mhz"]) * 1000,
            "governor": "performance",
        }
        for one in cpus(node)
    ]


def load(node: Node) -> dict[str, float]:
    """Return the load of the last minutes."""
    busy = _cores(node) * (0.05 + 0.3 * share(node, "load"))
    return {"load1": round(busy, 2), "load5": round(busy * 0.9, 2), "load15": round(busy * 0.8, 2)}


def cpu_times(node: Node, seconds: float) -> list[dict[str, float]]:
    """Return how each thread spent its time, in seconds.

    Args:
        node: The machine.
        seconds: How long it runs.
    """
    busy = 0.05 + 0.3 * share(node, "load")
    one = {"user": seconds * busy * 0.7, "system": seconds * busy * 0.3, "idle": seconds * (1 - busy)}
    return [dict(one) for _ in range(_threads(node))]


def disks(node: Node) -> list[dict[str, Any]]:
    """Return the disks."""
    return [
        {
            "size": disk.size,
            "model": disk.model,
            "device_name": disk.linux_name,
            "name": disk.name,
            "serial": disk.serial,
            "uuid": disk.uuid,
            "wwid": disk.wwid,
            "type": disk.type.upper() if disk.type.upper() in _DISK_TYPES else "UNKNOWN",
            "bus_path": disk.bus_path,
            "system_disk": disk.system_disk,
            "readonly": disk.readonly,
            "subsystem": "/sys/class/block",
        }
        for disk in node.status.hardware.blockdevices
    ]


def disk_stats(node: Node, seconds: float) -> list[dict[str, Any]]:
    """Return what was read and written.

    Args:
        node: The machine.
        seconds: How long it runs.
    """
    writes = int(seconds * (1 + 9 * share(node, "writes")))
    return [
        {
            "name": disk.linux_name.removeprefix("/dev/"),
            "read_completed": writes // 2,
            "read_sectors": writes * 4,
            "read_time_ms": writes // 4,
            "write_completed": writes,
            "write_sectors": writes * 8,
            "write_time_ms": writes // 2,
            "io_time_ms": writes,
        }
        for disk in node.status.hardware.blockdevices
    ]


def mounts(node: Node) -> list[dict[str, Any]]:
    """Return what is mounted; sizes in bytes."""
    system = next((disk for disk in node.status.hardware.blockdevices if disk.system_disk), None)
    found: list[dict[str, Any]] = [
        {"filesystem": "devtmpfs", "size": 64 * _MIB, "available": 64 * _MIB, "mounted_on": "/dev"},
        {"filesystem": "tmpfs", "size": memory_bytes(node) // 2, "available": memory_bytes(node) // 2},
        {"filesystem": "/dev/loop0", "size": 80 * _MIB, "available": 0, "mounted_on": "/"},
    ]
    found[1]["mounted_on"] = "/run"
    if system is not None and not node.status.maintenance:
        partition = f"{system.linux_name}{'p' if system.linux_name[-1:].isdigit() else ''}"
        size = max(system.size - 2048 * _MIB, 0)
        used = int(size * (0.05 + 0.3 * share(node, "disk")))
        found.extend(
            (
                {"filesystem": f"{partition}4", "size": size, "available": size - used, "mounted_on": "/var"},
                {
                    "filesystem": f"{partition}3",
                    "size": 92 * _MIB,
                    "available": 86 * _MIB,
                    "mounted_on": "/system/state",
                },
            )
        )
    return found


def network(node: Node, seconds: float) -> list[dict[str, Any]]:
    """Return what went over the network devices.

    Args:
        node: The machine.
        seconds: How long it runs.
    """
    names = [link.linux_name for link in node.status.network.network_links]
    packets = int(seconds * (10 + 90 * share(node, "packets")))
    traffic = {
        "rx_bytes": packets * 600,
        "rx_packets": packets,
        "tx_bytes": packets * 400,
        "tx_packets": packets,
    }
    return [{"name": name, **traffic} for name in ("lo", *names, "siderolink")]
