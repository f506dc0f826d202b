"""The services, processes and containers of a machine, by what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.talos.hardware import share

if TYPE_CHECKING:
    from omniherd.emulator.talos.nodes import Node

__all__ = ["RESTARTABLE", "containers", "listening", "pods", "processes", "services"]

RESTARTABLE = frozenset({"kubelet"})
"""Services that can be restarted."""

_MIB = 1024 * 1024
_STATIC_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
# pid, parent, threads, share of the time since the boot, MiB of virtual and of resident memory, command line.
_ALWAYS = (
    (1, 0, 1, 0.01, 8, 6, "/sbin/init"),
    (2, 0, 1, 0.01, 0, 0, "kthreadd"),
    (300, 1, 12, 0.05, 120, 40, "/sbin/machined"),
    (400, 1, 8, 0.03, 80, 20, "/sbin/apid"),
    (500, 1, 20, 0.1, 200, 80, "/bin/containerd"),
)
_KUBELET = (600, 500, 25, 0.5, 400, 150, "/bin/kubelet --config=/etc/kubernetes/kubelet.yaml")
_CONTROL_PLANE = (
    (700, 500, 15, 0.3, 300, 100, "etcd --name default --data-dir=/var/lib/etcd"),
    (800, 500, 20, 0.8, 600, 300, "kube-apiserver --advertise-address=127.0.0.1"),
    (900, 500, 12, 0.4, 250, 120, "kube-controller-manager"),
    (1000, 500, 8, 0.2, 150, 60, "kube-scheduler"),
)


def services(node: Node) -> list[str]:
    """Return the ids of the services of a machine, sorted."""
    if not node.cluster:
        return ["apid", "machined"]
    return ["apid", "etcd", "kubelet", "machined"] if node.control_plane else ["apid", "kubelet", "machined"]


def processes(node: Node, seconds: float) -> list[dict[str, Any]]:
    """Return the processes.

    Args:
        node: The machine.
        seconds: How long it runs.
    """
    rows = list(_ALWAYS)
    if node.cluster:
        rows.append(_KUBELET)
    if node.control_plane:
        rows.extend(_CONTROL_PLANE)
    busy = 0.01 + 0.05 * share(node, "load")
    found: list[dict[str, Any]] = []
    for pid, parent, threads, part, virtual, resident, line in rows:
        command = line.split()[0].rpartition("/")[2]
        process = {
            "pid": pid,
            "ppid": parent,
            "state": "S",
            "threads": threads,
            "cpu_time": seconds * busy * part,
            "virtual_memory": virtual * _MIB,
            "resident_memory": resident * _MIB,
            "command": command,
        }
        if virtual:
            process["args"] = line
        found.append(process)
    return found


def pods(node: Node) -> list[tuple[str, str]]:
    """Return the names of the pods that run on a node, and their images."""
    if not node.cluster:
        return []
    version = node.kubernetes
    names = [*(_STATIC_PODS if node.control_plane else ()), "kube-proxy"]
    found = [(f"{name}-{node.name}", f"registry.k8s.io/{name}:v{version}") for name in names]
    return [*found, (f"kube-flannel-{node.name}", "ghcr.io/siderolabs/flannel:v0.27.4")]


# Who listens where: the port, on machines of which kind, the process.
_LISTENING = (
    (2379, "control plane", 700, "etcd"),
    (2380, "control plane", 700, "etcd"),
    (6443, "control plane", 800, "kube-apiserver"),
    (10250, "node", 600, "kubelet"),
    (50000, "machine", 400, "apid"),
)


def listening(node: Node) -> list[dict[str, Any]]:
    """Return the sockets that wait for connections."""
    kinds = {"machine"}
    if node.cluster:
        kinds.add("node")
    if node.control_plane:
        kinds.add("control plane")
    return [
        {
            "l4proto": "tcp6",
            "localip": "::",
            "localport": port,
            "remoteip": "::",
            "state": "LISTEN",
            "process": {"pid": pid, "name": name},
        }
        for port, kind, pid, name in _LISTENING
        if kind in kinds
    ]


def containers(node: Node, namespace: str) -> list[dict[str, Any]]:
    """Return the containers of a namespace, `system` or `k8s.io`."""
    if namespace != "k8s.io":
        return [
            {
                "namespace": "system",
                "id": service,
                "name": service,
                "image": f"ghcr.io/siderolabs/{service}",
                "pid": 400 + 100 * number,
                "status": "RUNNING",
            }
            for number, service in enumerate(services(node))
            if service != "machined"
        ]
    found: list[dict[str, Any]] = []
    for number, (name, image) in enumerate(pods(node)):
        pod = f"kube-system/{name}"
        one = {
            "namespace": "k8s.io",
            "image": image,
            "pid": 2000 + number,
            "pod_id": pod,
            "status": "CONTAINER_RUNNING",
        }
        container = image.rpartition("/")[2].partition(":")[0]
        found.append({**one, "id": f"{pod}:{container}", "name": container})
    return found
