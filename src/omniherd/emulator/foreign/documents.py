"""The configurations of the machines of a foreign cluster: complete, with what somebody has added to the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.machineconfig import generate

if TYPE_CHECKING:
    from omniherd.emulator.seed import ClusterPlan, MachinePlan
    from omniherd.machineconfig import Secrets

__all__ = ["configuration"]


def configuration(plan: ClusterPlan, machine: MachinePlan, secrets: Secrets, schematic: str) -> str:
    """Return the configuration of a machine, YAML documents.

    Args:
        plan: The cluster.
        machine: The machine.
        secrets: The secrets of the cluster.
        schematic: Id of the schematic that is installed; empty for Talos from elsewhere.
    """
    from omniherd.yamlform import dump

    control_plane = machine in plan.control_planes
    installer = f"factory.talos.dev/metal-installer/{schematic}" if schematic else "ghcr.io/siderolabs/installer"
    documents = generate(
        plan.name,
        "controlplane" if control_plane else "worker",
        talos_version=plan.talos,
        kubernetes_version=plan.kubernetes,
        secrets=secrets,
        endpoint=f"https://{plan.control_planes[0].outside}:6443",
        install_disk="/dev/nvme0n1",
        install_image=f"{installer}:v{plan.talos}",
    )
    _add_to_machine(documents[0]["machine"], control_plane=control_plane)
    if control_plane:
        api_server = documents[0]["cluster"]["apiServer"]
        api_server["certSANs"] = [*api_server.get("certSANs", []), f"{plan.name}.example.org"]
    _name(documents, machine.hostname)
    documents.append(
        {"apiVersion": "v1alpha1", "kind": "WatchdogTimerConfig", "device": "/dev/watchdog0", "timeout": "2m0s"}
    )
    return "---\n".join(dump(document, sort=False) for document in documents)


def _add_to_machine(machine: dict[str, Any], *, control_plane: bool) -> None:
    machine["kubelet"]["extraArgs"] = {"rotate-server-certificates": "true"}
    machine["sysctls"] = {"net.core.somaxconn": "65535", "vm.nr_hugepages": "128"}
    machine["registries"] = {"mirrors": {"docker.io": {"endpoints": ["https://mirror.example.org"]}}}
    machine["nodeLabels"] = {**machine.get("nodeLabels", {}), "site": "basement"}
    if not control_plane:
        machine["nodeTaints"] = {"example.org/shared": "true:PreferNoSchedule"}


def _name(documents: list[dict[str, Any]], hostname: str) -> None:
    """Give a machine its name, in the document that is for it or in the first one."""
    for document in documents:
        if document.get("kind") == "HostnameConfig":
            del document["auto"]
            document["hostname"] = hostname
            return
    machine = documents[0]["machine"]
    machine["network"] = {**machine.get("network", {}), "hostname": hostname}
