"""What a server counts of its machines and clusters as a whole."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from omniherd.emulator.records import DESTROYED, Event

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.simulation.world import World

__all__ = ["Metrics"]

_ID = "metrics"


class Metrics:
    """Keeps the counts in step with what is counted.

    Args:
        world: What is counted.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._machines: dict[str, tuple[bool, bool, str]] = {}
        self._clusters: dict[str, tuple[int, bool]] = {}
        self._stale: list[str] = []

    def reset(self) -> None:
        """Count everything anew."""
        self._machines.clear()
        self._clusters.clear()
        for status in self._world.list("MachineStatuses"):
            self.machine(Event(0, status), status)
        for status in self._world.list("ClusterStatuses"):
            self.cluster(Event(0, status), status)

    def machine(self, event: Event, status: Stored) -> None:
        """Count a machine."""
        before = self._machines.pop(status.id, None)
        if event.kind != DESTROYED:
            spec = status.decode()
            self._machines[status.id] = (spec.connected, bool(spec.cluster), spec.platform_metadata.platform)
        if before != self._machines.get(status.id) and "machines" not in self._stale:
            self._stale.append("machines")

    def cluster(self, event: Event, status: Stored) -> None:
        """Count a cluster."""
        before = self._clusters.pop(status.id, None)
        if event.kind != DESTROYED:
            spec = status.decode()
            self._clusters[status.id] = (spec.phase, spec.ready)
        if before != self._clusters.get(status.id) and "clusters" not in self._stale:
            self._stale.append("clusters")

    def settle(self) -> bool:
        """Write one of the counts that changed; tell whether there was one."""
        if not self._stale:
            return False
        if self._stale.pop(0) == "machines":
            self._tell_machines()
        else:
            self._tell_clusters()
        return True

    def _tell_machines(self) -> None:
        found = self._machines.values()
        self._world.put(
            "MachineStatusMetrics",
            _ID,
            {
                "registered_machines_count": len(found),
                "connected_machines_count": sum(connected for connected, _, _ in found),
                "allocated_machines_count": sum(allocated for _, allocated, _ in found),
                "platforms": dict(Counter(platform for _, _, platform in found)),
            },
            owner="MachineStatusMetricsController",
        )

    def _tell_clusters(self) -> None:
        found = self._clusters.values()
        self._world.put(
            "ClusterStatusMetrics",
            _ID,
            {
                "not_ready_count": sum(not ready for _, ready in found),
                "phases": dict(Counter(phase for phase, _ in found)),
            },
            owner="ClusterStatusMetricsController",
        )
