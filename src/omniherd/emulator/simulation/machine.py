"""A machine as it is: what runs on it, whether it answers. What the server knows of it follows in its own time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from omniherd.emulator.seed import MachinePlan

__all__ = [
    "APID_DOWN",
    "ETCD_DOWN",
    "ETCD_MISSING",
    "FROM_MEDIA",
    "INSTALLING",
    "KUBELET_MISSING",
    "MAINTENANCE",
    "REBOOTING",
    "RUNNING_STAGE",
    "Machine",
    "cluster_stage",
    "node_name",
]

# Stages as Talos counts them.
INSTALLING, MAINTENANCE, RUNNING_STAGE, REBOOTING = 2, 3, 4, 5
# The same as Omni counts them on cluster machines.
_STAGES = {INSTALLING: 2, MAINTENANCE: 3, RUNNING_STAGE: 4, REBOOTING: 7}
_DESTROYING = 5

FROM_MEDIA = hashlib.sha256(b"installation media").hexdigest()
"""Id of the schematic that a machine has which booted from installation media and was never installed."""

ETCD_MISSING = 'service "etcd" is not started'
ETCD_DOWN = 'service "etcd" is not healthy'
KUBELET_MISSING = 'service "kubelet" is not started'
APID_DOWN = 'service "apid" is not healthy'

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class Machine:
    """A machine.

    Attributes:
        plan: What it is made of.
        talos: The Talos version that runs, with `v`.
        schematic: The schematic that runs.
        hostname: Its name: its id in maintenance, a node's name in a cluster.
        installed: Whether Talos is on its disk.
        stage: What it does, as Talos counts stages.
        unmet: What it waits for to be ready.
        config: The configuration that it runs, secrets blotted out; empty in maintenance, and for a foreign one.
        foreign: Whether it runs a configuration that it was given elsewhere.
        away: Whether it does not answer.
        seen: Whether the server believes that it answers.
        stalled: Whether upgrades of it hang.
        refusal: What it says to every configuration; empty when it takes them.
        waiting: What goes on when it answers again.
        generation: Counts how often it entered or left a cluster: what was planned before is void.
    """

    plan: MachinePlan
    talos: str
    schematic: str = FROM_MEDIA
    hostname: str = ""
    installed: bool = False
    stage: int = MAINTENANCE
    unmet: tuple[str, ...] = ()
    config: str = ""
    foreign: bool = False
    away: bool = False
    seen: bool = True
    stalled: bool = False
    refusal: str = ""
    waiting: list[Callable[[], None]] = field(default_factory=list["Callable[[], None]"])
    generation: int = 0

    def __post_init__(self) -> None:
        self.hostname = self.hostname or self.plan.id

    @property
    def id(self) -> str:
        """Its id."""
        return self.plan.id

    @property
    def in_maintenance(self) -> bool:
        """Whether it runs no configuration at all."""
        return not self.config and not self.foreign

    @property
    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self.stage == MAINTENANCE or (not self.unmet and self.stage != INSTALLING)


def cluster_stage(stage: int, *, destroying: bool) -> int:
    """Return the stage of a cluster machine.

    Args:
        stage: The machine's stage, as Talos counts.
        destroying: Whether it is on its way out of the cluster.
    """
    return _DESTROYING if destroying else _STAGES.get(stage, 0)


def node_name(chance: random.Random) -> str:
    """Return a name for a node as Talos makes them up."""
    return "talos-" + "-".join("".join(chance.choice(_LETTERS) for _ in range(3)) for _ in range(2))
