"""The configuration of a machine: Talos documents with secrets blotted out, patches merged in, and what changed."""

from __future__ import annotations

import base64
import difflib
import functools
import hashlib
from dataclasses import dataclass
from typing import Any, cast

from omniherd._core.shapes import is_list, is_mapping

__all__ = ["Plan", "difference", "digest", "render"]

_SECRET = "******"  # noqa: S105 - what stands in its place
_GATEWAY = "fdae:41e4:649b:9303::1"

# The order in which Talos writes the keys of its first document; others follow in the order of the patches.
_ORDER_TEXT = """
.: version debug persist machine cluster
machine: type token ca acceptedCAs certSANs controlPlane kubelet pods network disks install files env time sysctls
  sysfs registries systemDiskEncryption features udev logging kernel seccompProfiles baseRuntimeSpecOverrides
  nodeLabels nodeAnnotations nodeTaints
machine.kubelet: image clusterDNS extraArgs extraMounts extraConfig credentialProviderConfig
  defaultRuntimeSeccompProfileEnabled registerWithFQDN nodeIP skipNodeRegistration disableManifestsDirectory
machine.network: hostname interfaces nameservers searchDomains extraHostEntries kubespan
machine.install: disk diskSelector extraKernelArgs image extensions wipe legacyBIOSSupport grubUseUKICmdline
machine.features: rbac stableHostname kubernetesTalosAPIAccess apidCheckExtKeyUsage diskQuotaSupport kubePrism hostDNS
  imageCache nodeAddressSortAlgorithm
cluster: id secret controlPlane clusterName network token aescbcEncryptionSecret secretboxEncryptionSecret ca
  acceptedCAs aggregatorCA serviceAccount apiServer controllerManager proxy scheduler discovery etcd coreDNS
  externalCloudProvider extraManifests extraManifestHeaders inlineManifests adminKubeconfig
  allowSchedulingOnControlPlanes
cluster.network: cni dnsDomain podSubnets serviceSubnets
cluster.apiServer: image extraArgs extraVolumes env certSANs disablePodSecurityPolicy admissionControl auditPolicy
  resources authorizationConfig
cluster.proxy: disabled image mode extraArgs
cluster.controllerManager: image extraArgs extraVolumes env resources
cluster.scheduler: image extraArgs extraVolumes env resources config
cluster.discovery: enabled registries
cluster.etcd: image ca extraArgs advertisedSubnets listenSubnets
"""


def _read_order(text: str) -> dict[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    path: tuple[str, ...] = ()
    for line in text.splitlines():
        head, colon, rest = line.partition(":")
        if colon:
            path = tuple(part for part in head.split(".") if part)
        found.setdefault(path, []).extend((rest if colon else line).split())
    return found


_ORDER = _read_order(_ORDER_TEXT)
# Lists that a patch replaces; all others grow.
_REPLACED = frozenset({("cluster", "network", "podSubnets"), ("cluster", "network", "serviceSubnets")})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a machine's configuration follows from.

    Attributes:
        cluster: The cluster's name.
        identity: The cluster's UUID.
        port: The port of its load balancer.
        control_plane: Whether the machine is a control plane.
        kubernetes: Kubernetes version.
        talos: Talos version that is to be installed.
        schematic: The schematic that is to be installed.
        patches: Patches in their order, YAML.
    """

    cluster: str
    identity: str
    port: str
    control_plane: bool
    kubernetes: str
    talos: str
    schematic: str
    patches: tuple[str, ...]


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def difference(before: str, after: str) -> str:
    """Return a unified diff of two configurations without names of files; empty when they are the same."""
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), n=3)
    return "".join(list(lines)[2:])


@functools.lru_cache(maxsize=1024)
def render(plan: Plan) -> str:
    """Return the configuration of a machine, YAML documents."""
    from omniherd.yamlform.emit import dump

    documents: list[dict[str, Any]] = [_first(plan), *_others()]
    for patch in plan.patches:
        for document in _read(patch):
            _apply(documents, document)
    documents[0] = _in_order(documents[0], ())
    return "---\n".join(dump(document, sort=False) for document in documents)


@functools.lru_cache(maxsize=1024)
def _read(patch: str) -> tuple[dict[str, Any], ...]:
    import yaml

    try:
        documents: list[Any] = list(yaml.load_all(patch, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, ValueError):
        return ()  # validators refuse it, unless it came as a seed
    return tuple(cast("dict[str, Any]", document) for document in documents if isinstance(document, dict))


def _apply(documents: list[dict[str, Any]], patch: dict[str, Any]) -> None:
    kind, name = patch.get("kind"), patch.get("name")
    for number, document in enumerate(documents):
        if document.get("kind") == kind and document.get("name") == name:
            if kind is not None and patch.get("$patch") == "delete":
                del documents[number]
            else:
                documents[number] = _merged(document, patch, ())
            return
    documents.append(patch)


def _merged(old: Any, new: Any, path: tuple[str, ...]) -> Any:
    if is_mapping(old) and is_mapping(new):
        merged = dict(old)
        for key, value in new.items():
            if is_mapping(value) and value.get("$patch") == "delete":
                merged.pop(key, None)
            elif not (value is None or (value in ("", []) and key in _ORDER.get(path, ()))):
                # An empty field of a known shape is only the form of a patch that a program wrote.
                merged[key] = _merged(old[key], value, (*path, key)) if key in old else value
        return merged
    if is_list(old) and is_list(new) and path not in _REPLACED:
        return [*old, *new]
    return new


def _in_order(value: Any, path: tuple[str, ...]) -> Any:
    if not is_mapping(value):
        return value
    order = {key: number for number, key in enumerate(_ORDER.get(path, ()))}
    keys = sorted(value, key=lambda key: order.get(key, len(order))) if order else list(value)
    return {key: _in_order(value[key], (*path, key)) for key in keys}


def _first(plan: Plan) -> dict[str, Any]:
    return {
        "version": "v1alpha1",
        "debug": False,
        "persist": True,
        "machine": _machine(plan),
        "cluster": _cluster(plan),
    }


def _machine(plan: Plan) -> dict[str, Any]:
    labels = {"nodeLabels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}}
    return {
        "type": "controlplane" if plan.control_plane else "worker",
        "token": _SECRET,
        "ca": _authority(plan, "talos"),
        "certSANs": [],
        "kubelet": {
            "image": f"ghcr.io/siderolabs/kubelet:v{plan.kubernetes}",
            "defaultRuntimeSeccompProfileEnabled": True,
            "disableManifestsDirectory": True,
        },
        "install": {
            "disk": "/dev/nvme0n1",
            "image": f"factory.talos.dev/metal-installer/{plan.schematic}:v{plan.talos}",
            "wipe": False,
            "grubUseUKICmdline": True,
        },
        "features": {
            "diskQuotaSupport": True,
            "kubePrism": {"enabled": True, "port": 7445},
            "hostDNS": {"enabled": True, "forwardKubeDNSToHost": True},
        },
        **(labels if plan.control_plane else {}),
    }


def _cluster(plan: Plan) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "id": base64.b64encode(hashlib.sha256(plan.identity.encode()).digest()).decode(),
        "secret": _SECRET,
        "controlPlane": {"endpoint": f"https://[{_GATEWAY}]:{plan.port}"},
        "clusterName": plan.cluster,
        "network": {
            "dnsDomain": "cluster.local",
            "podSubnets": ["10.244.0.0/16"],
            "serviceSubnets": ["10.96.0.0/12"],
        },
        "token": _SECRET,
        "ca": _authority(plan, "kubernetes"),
        "discovery": {"enabled": True, "registries": {"kubernetes": {"disabled": True}, "service": {}}},
    }
    if not plan.control_plane:
        return shared
    images: dict[str, dict[str, Any]] = {
        name: {"image": f"registry.k8s.io/{image}:v{plan.kubernetes}"}
        for name, image in (
            ("apiServer", "kube-apiserver"),
            ("controllerManager", "kube-controller-manager"),
            ("proxy", "kube-proxy"),
            ("scheduler", "kube-scheduler"),
        )
    }
    images["apiServer"] |= {"admissionControl": [_POD_SECURITY], "auditPolicy": _AUDIT_POLICY}
    return {
        **shared,
        **images,
        "secretboxEncryptionSecret": _SECRET,
        "aggregatorCA": _authority(plan, "aggregator"),
        "serviceAccount": {"key": _SECRET},
        "etcd": {"ca": _authority(plan, "etcd")},
    }


_POD_SECURITY: dict[str, Any] = {
    "name": "PodSecurity",
    "configuration": {
        "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
        "defaults": {
            "audit": "restricted",
            "audit-version": "latest",
            "enforce": "baseline",
            "enforce-version": "latest",
            "warn": "restricted",
            "warn-version": "latest",
        },
        "exemptions": {"namespaces": ["kube-system"], "runtimeClasses": [], "usernames": []},
        "kind": "PodSecurityConfiguration",
    },
}
_AUDIT_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "rules": [{"level": "Metadata"}],
}


def _authority(plan: Plan, use: str) -> dict[str, Any]:
    """Return a certificate authority: its certificate is shown, its key blotted out, and workers have none."""
    made_up = hashlib.sha256(f"{plan.identity} {use}".encode()).hexdigest()
    certificate = base64.b64encode(f"certificate of the {use} authority {made_up}\n".encode()).decode()
    return {"crt": certificate, "key": _SECRET if plan.control_plane else ""}


def _others() -> list[dict[str, Any]]:
    token = "%2A" * len(_SECRET)
    return [
        {"apiVersion": "v1alpha1", "kind": "HostnameConfig", "auto": "stable"},
        {
            "apiVersion": "v1alpha1",
            "kind": "SideroLinkConfig",
            "apiUrl": f"grpc://127.0.0.1:8090?jointoken={token}",
        },
        {"apiVersion": "v1alpha1", "kind": "EventSinkConfig", "endpoint": f"[{_GATEWAY}]:8091"},
        {"apiVersion": "v1alpha1", "kind": "KmsgLogConfig", "name": "omni-kmsg", "url": f"tcp://[{_GATEWAY}]:8092"},
    ]
