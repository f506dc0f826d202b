"""What an import makes of what Talos nodes say of themselves. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from omniherd._core.nodes import CLUSTER_LABEL
from omniherd.errors import InputError
from omniherd.services import ImportNode, ImportPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from omniherd.machineconfig import Secrets
    from omniherd.resource import Resource
    from omniherd.template.versions import Version

__all__ = [
    "MIN_TALOS",
    "Versions",
    "choose_versions",
    "image_tag",
    "join_documents",
    "joined",
    "make_plan",
    "problems",
    "schematic_problem",
]

MIN_TALOS = (1, 9, 0)
"""The oldest Talos that Omni makes clusters with."""

_LOCKED = "omni.sidero.dev/cluster-locked"
_IMPORTING = "omni.sidero.dev/cluster-import-is-in-progress"
_CLUSTER_MACHINE = "omni.sidero.dev/cluster-machine"
_MACHINE_SET = "omni.sidero.dev/machine-set"
_CONTROL_PLANE = "omni.sidero.dev/role-controlplane"
_WORKER = "omni.sidero.dev/role-worker"
# Omni's address in the network that it makes for machines; the same on every server.
_OMNI = "[fdae:41e4:649b:9303::1]"
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)


class Versions(NamedTuple):
    """The versions of a cluster, without a leading `v`.

    Attributes:
        talos: What its machines run.
        kubernetes: What it runs.
        initial_talos: What its machines ran when it was made.
        initial_kubernetes: What it ran then.
    """

    talos: str
    kubernetes: str
    initial_talos: str
    initial_kubernetes: str


def image_tag(image: str) -> str:
    """Return the tag of a container image.

    Raises:
        InputError: It has none.

    Example:
        >>> image_tag("ghcr.io/siderolabs/kubelet:v1.35.5")
        'v1.35.5'
    """
    name = image.partition("@")[0].rpartition("/")[2]
    tag = name.partition(":")[2]
    if not _TAG.fullmatch(tag):
        raise InputError(f'image reference "{image}" doesn\'t have a tag')
    return tag


def choose_versions(
    node: ImportNode,
    *,
    talos: str | None,
    kubernetes: str | None,
    initial_talos: str | None,
    initial_kubernetes: str | None,
    note: Callable[[str], object],
) -> Versions:
    """Return a cluster's versions: what a control plane shows, held against what the caller says.

    Args:
        node: The control plane.
        talos: The version that it must run, where the caller says so.
        kubernetes: The same of Kubernetes.
        initial_talos: What the cluster began with, by default what it runs.
        initial_kubernetes: The same of Kubernetes.
        note: Called with what is taken for granted.

    Raises:
        InputError: They do not go together, are none, or Talos is too old for Omni.
    """
    found: dict[str, Version] = {}
    for part, shown, wanted in (("talos", node.talos_version, talos), ("kubernetes", _kubernetes(node), kubernetes)):
        found[part] = _version(shown, f'detected {part} version "{shown}" from node "{node.hostname}"')
        if not wanted:
            note(f"{part} is {_text(found[part])}, as node {node.hostname} says")
        elif (given := _version(wanted, f'requested {part} version "{wanted}"')) != found[part]:
            raise InputError(
                f'requested {part} version "{_text(given)}" does not match detected {part} version '
                f'"{_text(found[part])}"'
            )
    first: dict[str, str] = {}
    for part, wanted in (("talos", initial_talos), ("kubernetes", initial_kubernetes)):
        if not wanted:
            note(f"{part} is taken to have been {_text(found[part])} when the cluster was made")
            first[part] = _text(found[part])
            continue
        given = _version(wanted, f'initial {part} version "{wanted}"')
        if _order(given) > _order(found[part]):
            raise InputError(
                f'initial {part} version "{_text(given)}" cannot be greater than detected version '
                f'"{_text(found[part])}"'
            )
        first[part] = _text(given)
        if given != found[part]:
            note(
                f"the config patches start from {part} {first[part]}, Omni's own configurations from "
                f"{_text(found[part])}: compare them before you unlock the cluster"
            )
    if found["talos"].before(*MIN_TALOS):
        raise InputError(f"minimum required version of talos is {'.'.join(map(str, MIN_TALOS))}")
    return Versions(_text(found["talos"]), _text(found["kubernetes"]), first["talos"], first["kubernetes"])


def _kubernetes(node: ImportNode) -> str:
    try:
        return image_tag(node.images["kubelet"])
    except InputError as error:
        raise InputError(f'failed to get kubelet version from node "{node.address}": {error}') from None


def _version(text: str, what: str) -> Version:
    from omniherd.template.versions import VersionRefused, parse_version

    try:
        return parse_version(text)
    except VersionRefused as error:
        raise InputError(f"failed to parse {what}: {error}") from None


def _text(version: Version) -> str:
    numbers = f"{version.major}.{version.minor}.{version.patch}"
    return f"{numbers}-{version.prerelease}" if version.prerelease else numbers


def _order(version: Version) -> tuple[Any, ...]:
    # A pre-release comes before its release; its numbers are compared as numbers, and come before words.
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in version.prerelease.split(".")]
    return (version[:3], not version.prerelease, parts)


def problems(nodes: Sequence[ImportNode]) -> list[str]:
    """Return why a cluster is not fit to be taken in as it is: its nodes differ in what must be the same.

    Args:
        nodes: All of its nodes.
    """
    found: list[str] = []
    versions = [("Talos versions", [node.talos_version for node in nodes])]
    for part, title in (
        ("apiserver", "API server"),
        ("controller-manager", "controller manager"),
        ("scheduler", "scheduler"),
        ("kubelet", "kubelet"),
    ):
        tags: list[str] = []
        for node in nodes:
            if part not in node.images:
                continue
            try:
                tags.append(image_tag(node.images[part]))
            except InputError as error:
                found.append(f'failed to parse {title} image version "{node.images[part]}": {error}')
        versions.append((f"{title} images", tags))
    for title, values in versions:
        if len(set(values)) > 1:
            found.append(f"multiple different {title} found: {', '.join(sorted(set(values)))}")
    return found


def schematic_problem(node: ImportNode) -> str | None:
    """Return why the image factory cannot be asked for a node's schematic, or None when it can."""
    if not node.schematic_id:
        return f'schematic ID missing for node "{node.hostname}". talos was not installed using an image factory'
    if not node.schematic:
        return (
            f'schematic ID "{node.schematic_id}" found, but it can\'t be ensured for node "{node.hostname}" in image '
            "factory: the node does not say what is in it"
        )
    return None


def join_documents(api_url: str, token: str, events_port: int, logs_port: int) -> list[dict[str, Any]]:
    """Return the documents that make a machine join Omni.

    Args:
        api_url: Where machines reach Omni.
        token: The join token.
        events_port: The port for events in Omni's own network.
        logs_port: The port for logs.

    Raises:
        InputError: One of them is missing.
    """
    needed = {
        "log server port": logs_port,
        "events server port": events_port,
        "machine API URL": api_url,
        "join token": token,
    }
    for what, value in needed.items():
        if not value:
            raise InputError(f"failed to create join input: no {what}")
    parts = urlsplit(api_url)
    query = sorted([*parse_qsl(parts.query, keep_blank_values=True), ("jointoken", token)], key=lambda pair: pair[0])
    url = urlunsplit(parts._replace(query=urlencode(query)))
    return [
        {"apiVersion": "v1alpha1", "kind": "SideroLinkConfig", "apiUrl": url},
        {"apiVersion": "v1alpha1", "kind": "EventSinkConfig", "endpoint": f"{_OMNI}:{events_port}"},
        {
            "apiVersion": "v1alpha1",
            "kind": "KmsgLogConfig",
            "name": "omni-kmsg",
            "url": f"tcp://{_OMNI}:{logs_port}",
        },
    ]


def joined(config: str, documents: Sequence[dict[str, Any]]) -> str:
    """Return a machine configuration with which the machine joins Omni.

    Args:
        config: The configuration as it is.
        documents: What `join_documents` returned.
    """
    from omniherd.machineconfig import merge, read
    from omniherd.yamlform import dump

    return "---\n".join(dump(document, sort=False) for document in merge(read(config), documents))


def make_plan(
    cluster: str, nodes: Sequence[ImportNode], versions: Versions, documents: Sequence[dict[str, Any]]
) -> ImportPlan:
    """Return what an import will make.

    Args:
        cluster: The cluster's name.
        nodes: All of its nodes, at least one of them a control plane.
        versions: Its versions.
        documents: What `join_documents` returned.

    Raises:
        InputError: A configuration cannot be used.
    """
    from omniherd.machineconfig import Secrets, read

    first = next(node for node in nodes if node.control_plane)
    secrets = Secrets.of(read(first.config))
    made = [*_cluster(cluster, versions, secrets)]
    made += [_machine_set_node(cluster, node) for node in nodes]
    for node in nodes:
        made += _patches(cluster, node, versions, secrets)
    return ImportPlan(
        cluster=cluster,
        talos_version=versions.talos,
        kubernetes_version=versions.kubernetes,
        initial_talos_version=versions.initial_talos,
        initial_kubernetes_version=versions.initial_kubernetes,
        nodes=tuple(nodes),
        resources=tuple(made),
        problems=tuple(problems(nodes)),
        join=tuple(documents),
    )


def _cluster(cluster: str, versions: Versions, secrets: Secrets) -> Iterable[Resource[Any]]:
    from omniherd.resources import Cluster, ImportedClusterSecret, MachineSet

    yield ImportedClusterSecret(cluster, spec={"data": secrets.to_yaml()})
    yield Cluster(
        cluster,
        annotations={_LOCKED: "", _IMPORTING: ""},
        spec={"talos_version": versions.talos, "kubernetes_version": versions.kubernetes},
    )
    yield MachineSet(_set_id(cluster, control_plane=True), labels={CLUSTER_LABEL: cluster, _CONTROL_PLANE: ""})
    yield MachineSet(_set_id(cluster, control_plane=False), labels={CLUSTER_LABEL: cluster, _WORKER: ""})


def _set_id(cluster: str, *, control_plane: bool) -> str:
    return f"{cluster}-control-planes" if control_plane else f"{cluster}-workers"


def _machine_set_node(cluster: str, node: ImportNode) -> Resource[Any]:
    from omniherd.resources import MachineSetNode

    labels = {
        CLUSTER_LABEL: cluster,
        _MACHINE_SET: _set_id(cluster, control_plane=node.control_plane),
        _CONTROL_PLANE if node.control_plane else _WORKER: "",
    }
    return MachineSetNode(node.machine, labels=labels)


def _patches(cluster: str, node: ImportNode, versions: Versions, secrets: Secrets) -> Iterable[Resource[Any]]:
    from omniherd.machineconfig import difference, generate, read, sanitize
    from omniherd.resources import ConfigPatch
    from omniherd.yamlform import dump

    generated = generate(
        cluster,
        "controlplane" if node.control_plane else "worker",
        talos_version=versions.initial_talos,
        kubernetes_version=versions.initial_kubernetes,
        secrets=secrets,
    )
    for number, patch in enumerate(difference(generated, read(node.config)), start=1):
        yield ConfigPatch(
            f"{number * 10}-{node.machine}",
            labels={CLUSTER_LABEL: cluster, _CLUSTER_MACHINE: node.machine},
            annotations={
                "name": "User defined patch",
                "description": "Config patch imported from existing Talos node",
            },
            spec={"data": "---\n".join(dump(document, indent=2) for document in sanitize(patch))},
        )
