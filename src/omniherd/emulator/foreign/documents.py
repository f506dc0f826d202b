"""The configurations of the machines of a foreign cluster: complete, with what somebody has added to the defaults."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

from omniherd._core.shapes import is_mapping

if TYPE_CHECKING:
    from omniherd.emulator.certificate import Authority
    from omniherd.emulator.foreign.secrets import Secrets
    from omniherd.emulator.seed import ClusterPlan, MachinePlan

__all__ = ["configuration", "parse", "write"]

_HOSTNAMES_APART = (1, 12)  # from then on a host name has a document of its own


def configuration(plan: ClusterPlan, machine: MachinePlan, secrets: Secrets, schematic: str) -> str:
    """Return the configuration of a machine, YAML documents.

    Args:
        plan: The cluster.
        machine: The machine.
        secrets: The secrets of the cluster.
        schematic: Id of the schematic that is installed.
    """
    control_plane = machine in plan.control_planes
    first: dict[str, Any] = {
        "version": "v1alpha1",
        "debug": False,
        "persist": True,
        "machine": _machine(plan, machine, secrets, schematic),
        "cluster": _cluster(plan, secrets, control_plane=control_plane),
    }
    documents: list[dict[str, Any]] = [first]
    if _version(plan.talos) >= _HOSTNAMES_APART:
        documents.append({"apiVersion": "v1alpha1", "kind": "HostnameConfig", "hostname": machine.hostname})
    else:
        first["machine"]["network"]["hostname"] = machine.hostname
    documents.append(
        {"apiVersion": "v1alpha1", "kind": "WatchdogTimerConfig", "device": "/dev/watchdog0", "timeout": "2m0s"}
    )
    return write(documents)


def write(documents: list[dict[str, Any]]) -> str:
    """Return documents as a YAML text."""
    from omniherd.yamlform import dump

    return "---\n".join(dump(document, sort=False) for document in documents)


def parse(text: str) -> list[dict[str, Any]]:
    """Return the documents of a configuration.

    Raises:
        ValueError: It is no YAML, or has something else than mappings.
    """
    import yaml

    try:
        documents: list[Any] = [one for one in yaml.safe_load_all(text) if one is not None]
    except yaml.YAMLError as error:
        raise ValueError(f"yaml: {error}") from None
    if not documents or not all(is_mapping(one) for one in documents):
        raise ValueError("no configuration documents")
    return cast("list[dict[str, Any]]", documents)


def _machine(plan: ClusterPlan, machine: MachinePlan, secrets: Secrets, schematic: str) -> dict[str, Any]:
    control_plane = machine in plan.control_planes
    role: dict[str, Any] = (
        {"nodeLabels": {"node.kubernetes.io/exclude-from-external-load-balancers": "", "site": "basement"}}
        if control_plane
        else {"nodeLabels": {"site": "basement"}, "nodeTaints": {"example.org/shared": "true:PreferNoSchedule"}}
    )
    return {
        "type": "controlplane" if control_plane else "worker",
        "token": secrets.machine_token,
        "ca": _authority(secrets.talos, whole=control_plane),
        "certSANs": [],
        "kubelet": {
            "image": f"ghcr.io/siderolabs/kubelet:v{plan.kubernetes}",
            "extraArgs": {"rotate-server-certificates": "true"},
            "defaultRuntimeSeccompProfileEnabled": True,
            "disableManifestsDirectory": True,
        },
        "network": {"interfaces": [{"interface": "eth0", "dhcp": True}], "nameservers": ["192.0.2.53"]},
        "install": {
            "disk": "/dev/nvme0n1",
            "image": f"factory.talos.dev/metal-installer/{schematic}:v{plan.talos}",
            "wipe": False,
        },
        "sysctls": {"net.core.somaxconn": "65535", "vm.nr_hugepages": "128"},
        "registries": {"mirrors": {"docker.io": {"endpoints": ["https://mirror.example.org"]}}},
        "features": {
            "diskQuotaSupport": True,
            "kubePrism": {"enabled": True, "port": 7445},
            "hostDNS": {"enabled": True, "forwardKubeDNSToHost": True},
        },
        **role,
    }


def _cluster(plan: ClusterPlan, secrets: Secrets, *, control_plane: bool) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "id": secrets.identity,
        "secret": secrets.secret,
        "controlPlane": {"endpoint": f"https://{plan.control_planes[0].outside}:6443"},
        "clusterName": plan.name,
        "network": {
            "dnsDomain": "cluster.local",
            "podSubnets": ["10.244.0.0/16"],
            "serviceSubnets": ["10.96.0.0/12"],
        },
        "token": secrets.token,
        "ca": _authority(secrets.kubernetes, whole=control_plane),
        "discovery": {"enabled": True, "registries": {"kubernetes": {"disabled": True}, "service": {}}},
    }
    if not control_plane:
        return shared
    key = base64.b64encode(secrets.service_account.key).decode()
    return {
        **shared,
        "secretboxEncryptionSecret": secrets.secretbox,
        "aggregatorCA": _authority(secrets.aggregator, whole=True),
        "serviceAccount": {"key": key},
        "apiServer": {
            "image": f"registry.k8s.io/kube-apiserver:v{plan.kubernetes}",
            "certSANs": [plan.control_planes[0].outside, f"{plan.name}.example.org"],
            "disablePodSecurityPolicy": True,
            "auditPolicy": {
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "rules": [{"level": "Metadata"}],
            },
        },
        "controllerManager": {
            "image": f"registry.k8s.io/kube-controller-manager:v{plan.kubernetes}",
            "extraArgs": {"bind-address": "0.0.0.0"},  # noqa: S104 - what many clusters have for their metrics
        },
        "proxy": {"image": f"registry.k8s.io/kube-proxy:v{plan.kubernetes}"},
        "scheduler": {"image": f"registry.k8s.io/kube-scheduler:v{plan.kubernetes}"},
        "etcd": {"ca": _authority(secrets.etcd, whole=True)},
    }


def _authority(authority: Authority, *, whole: bool) -> dict[str, str]:
    """Return an authority as configurations hold it: workers have its certificate alone."""
    certificate = base64.b64encode(authority.certificate).decode()
    return {"crt": certificate, "key": base64.b64encode(authority.key).decode() if whole else ""}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
