"""Names of machines in the place of their ids, and beside them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from omniherd.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd import Omni
    from omniherd._core.nodes import Node

__all__ = [
    "MACHINE_TYPES",
    "TITLES",
    "machine_cells",
    "machine_id",
    "machine_names",
    "other_id",
    "resource_id",
    "shown",
]

MACHINE_TYPES = frozenset(
    f"{name}.omni.sidero.dev"
    for name in (
        "ClusterMachineConfigPatches",
        "ClusterMachineConfigStatuses",
        "ClusterMachineConfigs",
        "ClusterMachineIdentities",
        "ClusterMachineStatuses",
        "ClusterMachineTalosVersions",
        "ClusterMachines",
        "InfraMachineBMCConfigs",
        "InfraMachineConfigs",
        "InfraMachineStatuses",
        "InfraMachines",
        "KernelArgs",
        "KernelArgsStatuses",
        "Links",
        "MachineConfigExtractionStatuses",
        "MachineConfigGenOptions",
        "MachineExtensions",
        "MachineExtensionsStatuses",
        "MachineLabels",
        "MachinePendingUpdates",
        "MachineSetNodes",
        "MachineStatusLabels",
        "MachineStatusLinks",
        "MachineStatusSnapshots",
        "MachineStatuses",
        "MachineUpgradeStatuses",
        "Machines",
        "MaintenanceConfigStatuses",
        "NodeUniqueTokenStatuses",
        "RedactedClusterMachineConfigs",
        "SchematicConfigurations",
    )
)
"""The types whose resources bear the ids of machines."""

TITLES = ("HOSTNAME", "CLUSTER", "SERIAL")
"""Titles of the cells of `machine_cells`."""


def machine_id(omni: Omni, name: str) -> str:
    """Return the id of the machine that goes by a name; the name itself where none does: the server says so best.

    Args:
        omni: The client. It is asked only when the name is no id.
        name: An id, a name in Kubernetes, a hostname, an address, or the serial number of a disk.

    Raises:
        InputError: Several machines go by it; the message names them.
    """
    from omniherd._core.nodes import is_machine_id

    if not name or is_machine_id(name):
        return name
    # What a machine without a name answers to is its id.
    with contextlib.suppress(NotFound):
        return omni.machines.find(name).id
    return name


def other_id(omni: Omni, kind: str, name: str) -> str | None:
    """Return the id that a name stands for, None where it stands for none.

    Args:
        omni: The client. It is asked only for types whose ids are machines', about what is no id.
        kind: The full name of the type.
        name: What was given for an id.

    Raises:
        InputError: Several machines go by it; the message names them.
    """
    if kind not in MACHINE_TYPES:
        return None
    found = machine_id(omni, name)
    return None if found == name else found


def resource_id(omni: Omni, kind: str, name: str, namespace: str) -> str:
    """Return the id of the resource that is meant: the name itself where there is such a resource.

    Args:
        omni: The client.
        kind: The full name of the type.
        name: What was given for an id.
        namespace: The resource's namespace.

    Raises:
        InputError: Several machines go by it; the message names them.
    """
    from omniherd._core.nodes import is_machine_id

    if kind not in MACHINE_TYPES or not name or is_machine_id(name):
        return name
    try:
        omni.get(kind, name, namespace=namespace)
    except NotFound:
        return other_id(omni, kind, name) or name
    return name


def shown(name: str, ident: str) -> str:
    """Return a name and the id behind it, for messages: `"fra-worker-1" (0deaf1a1-…)`."""
    return f'"{name}"' if name == ident else f'"{name}" ({ident})'


def machine_names(omni: Omni) -> dict[str, Node]:
    """Return the machines with the names that they go by, by their ids."""
    return {node.id: node for node in omni.machines.known()}


def machine_cells(known: Mapping[str, Node], ident: str) -> tuple[str, str, str]:
    """Return the cells that stand beside a machine's id."""
    node = known.get(ident)
    return ("", "", "") if node is None else (node.name, node.cluster, " ".join(node.serials))
