"""Make the machine configuration that Omni starts from: what it has before any config patch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from omniherd.errors import InputError
from omniherd.machineconfig.contract import Contract

if TYPE_CHECKING:
    from omniherd.machineconfig.secrets import KeyPair, Secrets

__all__ = ["generate"]

_KUBELET = "ghcr.io/siderolabs/kubelet"
_KUBERNETES = "registry.k8s.io"
_KUBEPRISM_PORT = 7445
_NO_LOAD_BALANCER = "node.kubernetes.io/exclude-from-external-load-balancers"


def generate(
    cluster: str,
    role: Literal["controlplane", "worker"],
    *,
    talos_version: str,
    kubernetes_version: str,
    secrets: Secrets,
    endpoint: str = "",
    install_disk: str = "",
    install_image: str = "",
) -> list[dict[str, Any]]:
    """Return the documents of a machine's configuration, as Omni generates them.

    Args:
        cluster: The cluster's name.
        role: What the machine is in it.
        talos_version: The Talos version that the cluster began with; decides which documents and fields there are.
        kubernetes_version: The Kubernetes version, without `v`; the tag of the images.
        secrets: What all machines of the cluster share.
        endpoint: The URL of the Kubernetes API; Omni fills it in later.
        install_disk: Where Talos is installed, a device's path; by default not said.
        install_image: What is installed, by default not said.

    Returns:
        The documents, fields and empty values as Talos' library writes them: the main one, which has no `kind`, first.

    Raises:
        InputError: The Talos version is none, or the Kubernetes version is empty.

    Example:
        >>> from omniherd.machineconfig import Secrets
        >>> secrets = Secrets(machine_token="abcdef.0123456789abcdef")
        >>> documents = generate(
        ...     "lab", "worker", talos_version="1.13.4", kubernetes_version="1.36.0", secrets=secrets
        ... )
        >>> [document.get("kind") for document in documents]
        [None, 'HostnameConfig']
        >>> documents[0]["machine"]["kubelet"]["image"]
        'ghcr.io/siderolabs/kubelet:v1.36.0'
    """
    contract = Contract.of(talos_version)
    if not kubernetes_version:
        raise InputError("no Kubernetes version is given")
    control_plane = role == "controlplane"
    version = f"v{kubernetes_version}"
    main: dict[str, Any] = {
        "version": "v1alpha1",
        "debug": False,
        "persist": True,
        "machine": _machine(contract, secrets, version, install_disk, install_image, control_plane=control_plane),
        "cluster": _cluster(contract, secrets, cluster, endpoint),
    }
    if control_plane:
        main["cluster"] |= _control_plane(contract, secrets, version, endpoint)
    elif not contract.since(8):
        del main["cluster"]["clusterName"]
    documents = [main]
    if contract.since(14):
        documents.append(_document("ResolverConfig", hostDNS=_host_dns(contract)))
    if contract.since(12):
        documents.append(_document("HostnameConfig", auto="stable"))
    if contract.since(14) and control_plane:
        documents += _control_plane_documents(secrets, version)
    return documents


def _document(kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1alpha1", "kind": kind, **fields}


def _pair(name: str, pair: KeyPair | None, *, key: bool) -> dict[str, dict[str, str]]:
    """Return the field for an authority; there is none when there is no authority."""
    return {} if pair is None else {name: {"crt": pair.crt, "key": pair.key if key else ""}}


def _host_dns(contract: Contract) -> dict[str, bool]:
    return {"enabled": True, "forwardKubeDNSToHost": True} if contract.since(8) else {"enabled": True}


def _machine(
    contract: Contract, secrets: Secrets, version: str, disk: str, image: str, *, control_plane: bool
) -> dict[str, Any]:
    kubelet: dict[str, Any] = {"image": f"{_KUBELET}:{version}"}
    if contract.since(2):
        kubelet["defaultRuntimeSeccompProfileEnabled"] = True
    if contract.since(3):
        kubelet["disableManifestsDirectory"] = True
    install: dict[str, Any] = {"wipe": False}
    if disk:
        install["disk"] = disk
    if image:
        install["image"] = image
    if contract.since(12):
        install["grubUseUKICmdline"] = True
    machine: dict[str, Any] = {
        "type": "controlplane" if control_plane else "worker",
        "token": secrets.machine_token,
        **_pair("ca", secrets.talos, key=control_plane),
        "certSANs": [],
        "kubelet": kubelet,
        "install": install,
        "features": _features(contract),
    }
    if not contract.since(13):
        machine["network"] = {}
    if contract.since(2) and not contract.since(3):
        # Kubernetes' images moved to another registry while these versions were current.
        mirrors = [f"https://{_KUBERNETES}", "https://k8s.gcr.io"]
        machine["registries"] = {"mirrors": {"k8s.gcr.io": {"endpoints": mirrors}}}
    if contract.since(8) and control_plane:
        machine["nodeLabels"] = {_NO_LOAD_BALANCER: ""}
    return machine


def _features(contract: Contract) -> dict[str, Any]:
    features: dict[str, Any] = {}
    if not contract.since(12):
        features["rbac"] = True
        if contract.since(2):
            features["stableHostname"] = True
        if contract.since(3):
            features["apidCheckExtKeyUsage"] = True
    if contract.since(5):
        features["diskQuotaSupport"] = True
        features["kubePrism"] = {"enabled": True, "port": _KUBEPRISM_PORT}
    if contract.since(7) and not contract.since(14):
        features["hostDNS"] = _host_dns(contract)
    return features


def _cluster(contract: Contract, secrets: Secrets, cluster: str, endpoint: str) -> dict[str, Any]:
    """Return what is the same for both roles; a worker has no private keys."""
    return {
        "id": secrets.cluster_id,
        "secret": secrets.cluster_secret,
        "controlPlane": {"endpoint": endpoint},
        "clusterName": cluster,
        "network": {
            "dnsDomain": "cluster.local",
            "podSubnets": ["10.244.0.0/16"],
            "serviceSubnets": ["10.96.0.0/12"],
        },
        "token": secrets.bootstrap_token,
        **_pair("ca", secrets.kubernetes, key=False),
        "discovery": {
            "enabled": True,
            "registries": {"kubernetes": {"disabled": True} if contract.since(2) else {}, "service": {}},
        },
    }


def _control_plane(contract: Contract, secrets: Secrets, version: str, endpoint: str) -> dict[str, Any]:
    api_server: dict[str, Any] = {"image": f"{_KUBERNETES}/kube-apiserver:{version}"}
    if contract.since(1):
        api_server["admissionControl"] = [_pod_security()]
    if contract.since(3):
        rules = [{"level": "Metadata"}]
        api_server["auditPolicy"] = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
    if not contract.since(12):
        api_server["certSANs"] = [urlsplit(endpoint).hostname or ""]
        api_server["disablePodSecurityPolicy"] = True
    cluster: dict[str, Any] = {
        **_pair("ca", secrets.kubernetes, key=True),
        **_pair("aggregatorCA", secrets.aggregator, key=True),
        "apiServer": api_server,
        "proxy": {"image": f"{_KUBERNETES}/kube-proxy:{version}"},
        "etcd": _pair("ca", secrets.etcd, key=True) or {"ca": None},
    }
    if secrets.service_account_key is not None:
        cluster["serviceAccount"] = {"key": secrets.service_account_key}
    if not contract.since(14):
        cluster["controllerManager"] = {"image": f"{_KUBERNETES}/kube-controller-manager:{version}"}
        cluster["scheduler"] = {"image": f"{_KUBERNETES}/kube-scheduler:{version}"}
        name, secret = (
            ("secretboxEncryptionSecret", secrets.secretbox_encryption_secret)
            if contract.since(3)
            else ("aescbcEncryptionSecret", secrets.aescbc_encryption_secret)
        )
        if secret:
            cluster[name] = secret
    return cluster


def _pod_security() -> dict[str, Any]:
    levels = {"enforce": "baseline", "audit": "restricted", "warn": "restricted"}
    return {
        "name": "PodSecurity",
        "configuration": {
            "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
            "kind": "PodSecurityConfiguration",
            "defaults": levels | {f"{mode}-version": "latest" for mode in levels},
            "exemptions": {"namespaces": ["kube-system"], "runtimeClasses": [], "usernames": []},
        },
    }


def _control_plane_documents(secrets: Secrets, version: str) -> list[dict[str, Any]]:
    keys = [{"name": "key1", "secret": secrets.secretbox_encryption_secret}]
    encryption = {"resources": [{"resources": ["secrets"], "providers": [{"secretbox": {"keys": keys}}]}]}
    return [
        _document("KubeEtcdEncryptionConfig", config=encryption),
        _document("KubeControllerManagerConfig", image=f"{_KUBERNETES}/kube-controller-manager:{version}"),
        _document("KubeSchedulerConfig", image=f"{_KUBERNETES}/kube-scheduler:{version}", config={}),
    ]
