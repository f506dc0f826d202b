"""The resources of a foreign machine that follow from its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.shapes import is_mapping
from omniherd.emulator.records import length_delimited
from omniherd.emulator.talos.node_resources import made, number_field, text_field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from omniherd.emulator.records import Stored

__all__ = ["of_configuration", "of_schematic"]

_CONTROL_PLANE_NAMESPACE = "Kubernetes control plane resources."
_SCHEMATIC = "schematic"
_DNS = "10.96.0.10"
_API_PORT = 6443


def of_configuration(documents: list[dict[str, Any]], written: str) -> Iterator[Stored]:
    """Return what Talos makes of a configuration.

    Args:
        documents: The configuration.
        written: The same as it was given to the machine.
    """
    machine, cluster = _part(documents, "machine"), _part(documents, "cluster")
    name, identity = str(cluster.get("clusterName", "")), str(cluster.get("id", ""))
    yield made(
        "Infos.cluster.talos.dev",
        "current",
        "cluster.InfoController",
        {"clusterId": identity, "clusterName": name},
        text_field(1, identity) + text_field(2, name),
    )
    yield made(
        "MachineConfigs.config.talos.dev",
        "v1alpha1",
        "",
        written,
        text_field(1, written),
    ).replace(annotations={"talos.dev/yaml-spec": "1"})
    image = _image(machine, "kubelet")
    domain = str(_mapping(cluster.get("network")).get("dnsDomain", "cluster.local"))
    yield made(
        "KubeletConfigs.kubernetes.talos.dev",
        "kubelet",
        "k8s.KubeletConfigController",
        {"image": image, "clusterDNS": [_DNS], "clusterDomain": domain, "defaultRuntimeSeccompEnabled": True},
        text_field(1, image) + text_field(2, _DNS) + text_field(3, domain) + number_field(8, 1),
    )
    if machine.get("type") != "controlplane":
        return
    yield made(
        "Namespaces.meta.cosi.dev",
        "controlplane",
        "meta",
        {"description": _CONTROL_PLANE_NAMESPACE},
        text_field(1, _CONTROL_PLANE_NAMESPACE),
    )
    yield from _control_plane(cluster, documents)


def _control_plane(cluster: Mapping[str, Any], documents: list[dict[str, Any]]) -> Iterator[Stored]:
    endpoint = str(_mapping(cluster.get("controlPlane")).get("endpoint", ""))
    image = _image(cluster, "apiServer")
    yield made(
        "APIServerConfigs.kubernetes.talos.dev",
        "kube-apiserver",
        "k8s.ControlPlaneAPIServerController",
        {"image": image, "controlPlaneEndpoint": endpoint, "localPort": _API_PORT},
        text_field(1, image) + text_field(3, endpoint) + number_field(5, _API_PORT),
    )
    for kind, id_, part in (
        ("ControllerManagerConfigs", "kube-controller-manager", "controllerManager"),
        ("SchedulerConfigs", "kube-scheduler", "scheduler"),
    ):
        apart = _mapping(next((one for one in documents if one.get("kind") == f"Kube{kind.removesuffix('s')}"), None))
        image = str(apart.get("image", "")) or _image(cluster, part)
        yield made(
            f"{kind}.kubernetes.talos.dev",
            id_,
            f"k8s.ControlPlane{kind.removesuffix('Configs')}Controller",
            {"enabled": True, "image": image},
            number_field(1, 1) + text_field(2, image),
        )


def of_schematic(id_: str, schematic: str) -> Iterator[Stored]:
    """Return how Talos tells of the schematic that it was installed from.

    Args:
        id_: The schematic's id; empty for Talos that came from no image factory.
        schematic: Its text; empty where Talos does not know it.
    """
    if not id_:
        return
    metadata = {"name": _SCHEMATIC, "version": id_, "author": "Image Factory", "description": ""}
    encoded = text_field(1, _SCHEMATIC) + text_field(2, id_) + text_field(3, "Image Factory") + text_field(6, schematic)
    yield made(
        "ExtensionStatuses.runtime.talos.dev",
        "0",
        "runtime.ExtensionStatusController",
        {"image": "", "metadata": {**metadata, **({"extraInfo": schematic} if schematic else {})}},
        length_delimited(2, encoded),
    )


def _part(documents: list[dict[str, Any]], name: str) -> Mapping[str, Any]:
    return _mapping(next((one.get(name) for one in documents if "kind" not in one), None))


def _image(part: Mapping[str, Any], name: str) -> str:
    return str(_mapping(part.get(name)).get("image", ""))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if is_mapping(value) else {}
