"""Labels, annotations and ids of the resources that a template makes."""

from __future__ import annotations

from omniherd.template import models

__all__ = [
    "CLUSTER",
    "CLUSTER_MACHINE",
    "LOCKED",
    "MACHINE_SET",
    "MANAGED",
    "MANAGED_BY_NODE_CONTROLLER",
    "NAME",
    "PREFIX",
    "ROLE_CONTROL_PLANE",
    "ROLE_WORKER",
    "SYSTEM_PATCH",
    "install_disk_patch_id",
    "machine_set_id",
]

PREFIX = "omni.sidero.dev/"
CLUSTER = f"{PREFIX}cluster"
MACHINE_SET = f"{PREFIX}machine-set"
CLUSTER_MACHINE = f"{PREFIX}cluster-machine"
ROLE_CONTROL_PLANE = f"{PREFIX}role-controlplane"
ROLE_WORKER = f"{PREFIX}role-worker"
SYSTEM_PATCH = f"{PREFIX}system-patch"
LOCKED = f"{PREFIX}locked"
MANAGED = f"{PREFIX}managed-by-cluster-templates"
MANAGED_BY_NODE_CONTROLLER = f"{PREFIX}managed-by-machine-set-node-controller"
NAME = "name"
"""The annotation that holds the name of a patch or manifest."""


def machine_set_id(cluster: str, machine_set: models.MachineSet) -> str:
    """Return the id of the resource that a machine set becomes.

    Example:
        >>> machine_set_id("lab", models.Workers("gpu"))
        'lab-gpu'
    """
    if isinstance(machine_set, models.ControlPlane):
        return f"{cluster}-control-planes"
    return f"{cluster}-{machine_set.name or 'workers'}"


def install_disk_patch_id(machine: str) -> str:
    """Return the id of the patch that says where a machine installs Talos."""
    return f"000-cm-{machine}-install-disk"
