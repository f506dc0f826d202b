"""Roles at Talos: which one a caller gets from Omni, and which one each method asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from omniherd.emulator.talos.nodes import Node

__all__ = ["ADMIN", "RANKS", "check_role", "closed_to_all", "least_role", "role_at_talos"]

READER, OPERATOR, ADMIN = "os:reader", "os:operator", "os:admin"
RANKS = (READER, OPERATOR, ADMIN)
_MACHINE = "/machine.MachineService/"
_READING = (
    "/cluster.ClusterService/HealthCheck",
    "/cosi.resource.State/Get",
    "/cosi.resource.State/List",
    "/cosi.resource.State/Watch",
    "/inspect.InspectService/ControllerRuntimeDependencies",
    "/machine.ImageService/List",
    "/machine.ImageService/Verify",
    "/storage.StorageService/Disks",
    "/time.TimeService/Time",
    "/time.TimeService/TimeCheck",
    *(
        _MACHINE + name
        for name in (
            "CPUFreqStats",
            "CPUInfo",
            "Containers",
            "DiskStats",
            "DiskUsage",
            "Dmesg",
            "EtcdAlarmList",
            "EtcdMemberList",
            "EtcdStatus",
            "Events",
            "Hostname",
            "ImageList",
            "List",
            "LoadAvg",
            "Logs",
            "LogsContainers",
            "Memory",
            "Mounts",
            "Netstat",
            "NetworkDeviceStats",
            "Processes",
            "ServiceList",
            "Stats",
            "SystemStat",
            "Version",
        )
    ),
)
_MANAGING = (
    _MACHINE + "EtcdAlarmDisarm",
    _MACHINE + "EtcdDefragment",
    _MACHINE + "PacketCapture",
    _MACHINE + "Reboot",
    _MACHINE + "Restart",
    _MACHINE + "ServiceRestart",
    _MACHINE + "ServiceStart",
    _MACHINE + "ServiceStop",
    _MACHINE + "Shutdown",
)
_OPERATING = (
    *_MANAGING,
    "/machine.ImageService/Pull",
    _MACHINE + "EtcdSnapshot",
    _MACHINE + "ImagePull",
)
_LEAST = {**dict.fromkeys(_READING, READER), **dict.fromkeys(_OPERATING, OPERATOR)}

# What Omni lets Operators and Admins do with the highest role at Talos.
_RAISED = frozenset(
    {
        "/machine.DebugService/ContainerRun",
        "/storage.StorageService/BlockDeviceWipe",
        *(
            _MACHINE + name
            for name in (
                "EtcdDowngradeCancel",
                "EtcdDowngradeEnable",
                "EtcdDowngradeValidate",
                "EtcdForfeitLeadership",
                "MetaDelete",
                "MetaWrite",
            )
        ),
    }
)
_RAISED_SINCE_1_12 = frozenset({_MACHINE + "Copy", _MACHINE + "Read"})
# The same where no machine is named, so that Omni does not know whether Talos has the role os:operator already.
_RAISED_UNNAMED = frozenset({*_MANAGING, _MACHINE + "EtcdAlarmList", _MACHINE + "EtcdStatus"})
_SEPARATED_READING = (1, 12)


def least_role(path: str) -> str:
    """Return the lowest role at Talos that may call a method."""
    return _LEAST.get(path, ADMIN)


def closed_to_all(path: str) -> bool:
    """Tell whether nobody gets a role from Omni that may call a method."""
    return least_role(path) == ADMIN and path not in _RAISED and path not in _RAISED_SINCE_1_12


def role_at_talos(path: str, nodes: Iterable[Node], *, may_change: bool) -> str:
    """Return the role that Omni passes on for a call.

    Args:
        path: The method's path.
        nodes: The machines that the call names.
        may_change: Whether the caller is Operator or higher.
    """
    if not may_change:
        return READER
    if path in _RAISED:
        return ADMIN
    versions = [_version(node.version) for node in nodes]
    if not versions:
        return ADMIN if path in _RAISED_UNNAMED else READER
    if path in _RAISED_SINCE_1_12 and min(versions) >= _SEPARATED_READING:
        return ADMIN
    return OPERATOR


def check_role(path: str, role: str) -> None:
    """Refuse a call that a role at Talos may not make.

    Raises:
        StateError: `PERMISSION_DENIED`, in Talos' words.
    """
    if RANKS.index(role) < RANKS.index(least_role(path)):
        raise StateError("PERMISSION_DENIED", "not authorized")


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
