"""Machines that stop answering and come back: when the server sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from omniherd.emulator.simulation.world import CLUSTER

if TYPE_CHECKING:
    from omniherd.emulator.simulation.clusters import Clusters
    from omniherd.emulator.simulation.machine import Machine
    from omniherd.emulator.simulation.reports import Reports
    from omniherd.emulator.simulation.world import World

__all__ = ["Connection", "next_look"]

_NOTICED = (190.0, 225.0)  # a link is given up so long after its machine went away
_BALANCER = 64.0
_BACK = 1.0
_LOOK = 30.0


def next_look(now: float) -> float:
    """Return the second at which the server looks at its links next: it does so every 30 seconds."""
    return (math.floor(now / _LOOK) + 1) * _LOOK


class Connection:
    """Cuts machines off and brings them back.

    Args:
        world: What they live in.
        reports: What tells the server of machines.
        clusters: What looks after their clusters.
    """

    def __init__(self, world: World, reports: Reports, clusters: Clusters) -> None:
        self._world = world
        self._reports = reports
        self._clusters = clusters

    def lose(self, machine: Machine) -> None:
        """Cut a machine off."""
        world = self._world
        machine.away = True
        world.soon(_BALANCER, lambda: self._look(machine))
        world.soon(world.chance.uniform(*_NOTICED), lambda: self._show(machine))

    def find(self, machine: Machine) -> None:
        """Let a machine answer again."""
        machine.away = False
        self._world.soon(_BACK, lambda: self._return(machine))

    def _return(self, machine: Machine) -> None:
        world = self._world
        if machine.away:
            return
        port = 40_000 + int(world.schedule.now) % 20_000
        world.change("Links", machine.id, last_endpoint=f"127.0.0.1:{port}")
        wait = next_look(world.schedule.now) - world.schedule.now
        world.soon(wait if not machine.seen else 0, lambda: self._show(machine))

    def _show(self, machine: Machine) -> None:
        """Let the server see whether a machine answers."""
        if machine.id not in self._world.machines:
            return
        machine.seen = not machine.away
        self._reports.connection(machine)
        self._look(machine)
        if machine.seen:
            waiting, machine.waiting = machine.waiting, []
            for action in waiting:
                action()

    def _look(self, machine: Machine) -> None:
        member = self._world.find("ClusterMachines", machine.id)
        if member is not None:
            self._clusters.look_at_balancer(member.labels.get(CLUSTER, ""))
