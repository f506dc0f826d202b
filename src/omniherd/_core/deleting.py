"""Deleting: what it answers, and what may stand in its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from omniherd.errors import OmniError

if TYPE_CHECKING:
    from omniherd.resource import Resource

__all__ = ["BLOCKERS", "DeleteResult"]

R = TypeVar("R", bound="Resource[Any]")


@dataclass(frozen=True, slots=True)
class DeleteResult(Generic[R]):
    """What `delete_many` did.

    Attributes:
        deleted: The resources that are gone, as they were when they were listed.
        failed: The ids of the others, each with the reason.
    """

    deleted: list[R] = field(default_factory=list[R])
    failed: list[tuple[str, OmniError]] = field(default_factory=list[tuple[str, OmniError]])


_CLUSTER = "omni.sidero.dev/cluster"
_MACHINE_SET = "omni.sidero.dev/machine-set"

# Finalizers name controllers, people want to know which resources.
# Type of the deleted resource -> the types that must go first, each with the label that points back to it.
BLOCKERS: dict[str, tuple[tuple[str, str], ...]] = {
    "Clusters.omni.sidero.dev": (
        ("MachineSets.omni.sidero.dev", _CLUSTER),
        ("ClusterMachines.omni.sidero.dev", _CLUSTER),
    ),
    "MachineSets.omni.sidero.dev": (
        ("MachineSetNodes.omni.sidero.dev", _MACHINE_SET),
        ("ClusterMachines.omni.sidero.dev", _MACHINE_SET),
    ),
}
