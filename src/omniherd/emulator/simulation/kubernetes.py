"""Kubernetes on the machines of a cluster: when it answers, what runs, and upgrades, one component after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniherd.emulator.simulation.world import CLUSTER, CLUSTER_MACHINE, L
from omniherd.emulator.versions import kubernetes_upgrades, order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from omniherd.emulator.simulation.patches import Patches
    from omniherd.emulator.simulation.world import World

__all__ = ["Kubernetes", "Node", "Step", "grow_patch", "next_step"]

_UPGRADING, _DONE, _REVERTING = 1, 2, 4
_KUBELET = "kubelet"
_STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_IMAGES = ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler")
_KEYS = {
    "kube-apiserver": "apiServer",
    "kube-controller-manager": "controllerManager",
    "kube-proxy": "proxy",
    "kube-scheduler": "scheduler",
}
_OWNER = "KubernetesUpgradeStatusController"

_APPEAR, _APPEAR_NEXT = 11.0, 0.05
_NODE = 0.1
_REGENERATE, _PULL, _PULL_NEXT, _STEP = 0.05, 0.1, 0.01, 0.01
# Seconds until a component runs anew after its machine took the configuration.
_RESTART = {"kube-apiserver": 0.6, "kube-controller-manager": 2.9, "kube-scheduler": 4.5, _KUBELET: 0.05}


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a cluster as Kubernetes tells of it.

    Attributes:
        name: Its name.
        machine: The machine that it is.
        kubelet: The version of its kubelet; empty while it is not ready.
        static: Versions of its static pods by name; empty for workers.
        locked: Whether its machine is locked.
    """

    name: str
    machine: str
    kubelet: str
    static: tuple[tuple[str, str], ...] = ()
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One component of one node that goes to another version.

    Attributes:
        component: The component.
        node: The node's name; empty when all that are left are locked.
        machine: Its machine.
        locked: Names of the locked nodes that it waits for.
    """

    component: str
    node: str = ""
    machine: str = ""
    locked: tuple[str, ...] = ()


def next_step(nodes: Sequence[Node], target: str) -> Step | None:
    """Decide what comes next in an upgrade: static pods one component after the other, then kubelets by node name.

    Args:
        nodes: The nodes.
        target: The version to go to, without `v`.

    Returns:
        The step; None when all is done.
    """
    for component in _STATIC:
        for node in sorted(nodes, key=lambda node: node.name):
            if dict(node.static).get(component, target) != target:
                return Step(component, node.name, node.machine)
    left = [node for node in sorted(nodes, key=lambda node: node.name) if node.kubelet != target]
    for node in left:
        if not node.locked:
            return Step(_KUBELET, node.name, node.machine)
    return Step(_KUBELET, locked=tuple(node.name for node in left)) if left else None


def grow_patch(patch: Mapping[str, Any] | None, component: str, version: str) -> dict[str, Any]:
    """Return the patch that brings a machine's components to a version, grown by one component.

    Args:
        patch: The patch as it is; None for none.
        component: The component to add.
        version: Its version, without `v`.
    """
    found: dict[str, Any] = {"version": "", "machine": None, "cluster": None, **(patch or {})}
    if component == _KUBELET:
        image = f"ghcr.io/siderolabs/kubelet:v{version}"
        found["machine"] = {"type": "", "token": "", "certSANs": [], "kubelet": {"image": image}}
        return found
    cluster: dict[str, Any] = {"controlPlane": None, **(found["cluster"] or {})}
    for name in (component, "kube-proxy") if component == "kube-apiserver" else (component,):
        cluster[_KEYS[name]] = {"image": f"registry.k8s.io/{name}:v{version}"}
    keys = ["controlPlane", *(_KEYS[name] for name in _IMAGES)]
    found["cluster"] = {key: cluster[key] for key in keys if key in cluster}
    return found


class Kubernetes:
    """Runs Kubernetes, and upgrades it.

    Args:
        world: What it lives in.
        patches: What gives machines their configuration.
    """

    def __init__(self, world: World, patches: Patches) -> None:
        self._world = world
        self._patches = patches
        self._current: dict[str, Step] = {}
        self._restarting: dict[str, Step] = {}

    # --- what runs --------------------------------------------------------------------------------------------------

    def bootstrapped(self, cluster: str) -> None:
        """Plan that Kubernetes answers, once its control plane is bootstrapped."""
        self._world.soon(_APPEAR, lambda: self._appear(cluster))

    def _appear(self, cluster: str) -> None:
        world = self._world
        if world.running("Clusters", cluster) is None or world.find("KubernetesStatuses", cluster) is not None:
            return
        names = self._names(cluster)
        planes = set(world.control_planes(cluster))
        if not planes:
            return
        # What it came up with; that the cluster may want another one by now is an upgrade.
        version = world.spec("ClusterMachines", min(planes)).kubernetes_version
        first = [name for id_, name in names if id_ in planes]
        world.put(
            "KubernetesStatuses",
            cluster,
            {"nodes": [self._node(id_, name) for id_, name in names if id_ in planes]},
            owner="KubernetesStatusController",
            labels={CLUSTER: cluster},
        )
        rest = [name for _, name in names if name not in first]
        world.put(
            "KubernetesUpgradeStatuses",
            cluster,
            {
                "phase": "Upgrading",
                "current_upgrade_version": version,
                "status": _not_ready(rest),
            },
            owner=_OWNER,
            labels={CLUSTER: cluster},
        )
        self._list(cluster, first)
        world.soon(_APPEAR_NEXT, lambda: self._appear_next(cluster, first, rest, version))

    def _appear_next(self, cluster: str, seen: list[str], rest: list[str], version: str) -> None:
        world = self._world
        if world.running("Clusters", cluster) is None:
            return
        if rest:
            seen, rest = [*seen, rest[0]], rest[1:]
            self._list(cluster, seen)
        if rest:
            world.change("KubernetesUpgradeStatuses", cluster, status=_not_ready(rest))
            world.soon(_APPEAR_NEXT, lambda: self._appear_next(cluster, seen, rest, version))
            return
        self._finish(cluster, version)
        self.look(cluster)

    def _names(self, cluster: str) -> list[tuple[str, str]]:
        """Return ids and names of a cluster's nodes, by name."""
        world = self._world
        found: list[tuple[str, str]] = []
        for id_ in world.members_of(cluster):
            identity = world.spec("ClusterMachineIdentities", id_)
            if identity is not None and world.running("ClusterMachines", id_) is not None:
                found.append((id_, identity.nodename))
        return sorted(found, key=lambda pair: pair[1])

    def _node(self, id_: str, name: str) -> dict[str, Any]:
        return {"nodename": name, "kubelet_version": self._version(id_, _KUBELET), "ready": True}

    def _version(self, id_: str, component: str) -> str:
        """Return the version of a component that a machine's configuration names."""
        machine = self._world.machines.get(id_)
        text = "" if machine is None else machine.config
        start = text.find(f"/{component}:v")
        return "" if start < 0 else text[start:].splitlines()[0].rpartition(":v")[2]

    def _list(self, cluster: str, only: list[str] | None = None) -> None:
        """Write down which nodes there are, and what runs on them."""
        world = self._world
        found = world.spec("KubernetesStatuses", cluster)
        if found is None:
            return
        planes = set(world.control_planes(cluster))
        old = {node.nodename: node.kubelet_version for node in found.nodes}
        pods = {node.nodename: {pod.app: pod.version for pod in node.static_pods} for node in found.static_pods}
        names = [(id_, name) for id_, name in self._names(cluster) if only is None or name in only]
        nodes: list[dict[str, Any]] = []
        static: list[dict[str, Any]] = []
        for id_, name in names:
            nodes.append({**self._node(id_, name), "kubelet_version": old.get(name) or self._version(id_, _KUBELET)})
            if id_ in planes:
                versions = {app: pods.get(name, {}).get(app) or self._version(id_, app) for app in _STATIC}
                static.append(
                    {
                        "nodename": name,
                        "static_pods": [
                            {"app": app, "version": version, "ready": True} for app, version in versions.items()
                        ],
                    }
                )
        world.put(
            "KubernetesStatuses",
            cluster,
            {"nodes": nodes, "static_pods": static},
            owner="KubernetesStatusController",
        )

    def nodes_changed(self, cluster: str) -> None:
        """Plan that Kubernetes tells of nodes that came or went."""
        if self._world.find("KubernetesStatuses", cluster) is not None:
            self._world.soon(_NODE, lambda: self._nodes_changed(cluster))

    def _nodes_changed(self, cluster: str) -> None:
        if self._world.running("KubernetesUpgradeStatuses", cluster) is not None:
            self._list(cluster)
            self.look(cluster)

    # --- upgrades ---------------------------------------------------------------------------------------------------

    def version_changed(self, cluster: str) -> None:
        """Begin an upgrade to the version that a cluster wants, once it runs one at all."""
        self.look(cluster)

    def look(self, cluster: str) -> None:
        """Go on with the upgrade of a cluster, and say how far it is."""
        world = self._world
        status, wanted = world.spec("KubernetesUpgradeStatuses", cluster), world.spec("Clusters", cluster)
        if status is None or wanted is None or world.running("KubernetesUpgradeStatuses", cluster) is None:
            return
        if not status.last_upgrade_version:
            return  # it is on its way up
        target = wanted.kubernetes_version
        if status.phase == _DONE:
            if target != status.last_upgrade_version:
                self._begin(cluster, target)
        elif target != status.current_upgrade_version:
            world.change("KubernetesUpgradeStatuses", cluster, current_upgrade_version=target)
            self._step(cluster)
        else:
            self._wait(cluster)

    def _begin(self, cluster: str, target: str) -> None:
        world = self._world
        last = world.spec("KubernetesUpgradeStatuses", cluster).last_upgrade_version
        reverting = order(last) > order(target)
        images: list[dict[str, Any]] = []
        planes = set(world.control_planes(cluster))
        for id_, name in sorted(self._names(cluster), key=lambda pair: (pair[0] not in planes, pair[1])):
            wanted = [f"ghcr.io/siderolabs/kubelet:v{target}"]
            if id_ in planes:
                wanted += [f"registry.k8s.io/{image}:v{target}" for image in _IMAGES]
            images.append({"node": name, "images": wanted})
        world.put("ImagePullRequests", cluster, {"node_image_list": images}, owner=_OWNER, labels={CLUSTER: cluster})
        world.change(
            "KubernetesUpgradeStatuses",
            cluster,
            phase=_REVERTING if reverting else _UPGRADING,
            current_upgrade_version=target,
        )
        for id_ in world.members_of(cluster):
            world.soon(_REGENERATE, lambda id_=id_: self._patches.regenerate(id_))  # type: ignore[misc]
        pulls = [(found["node"], image) for found in images for image in found["images"]]
        request = world.find("ImagePullRequests", cluster)
        version = "" if request is None else request.version
        world.soon(_PULL, lambda: self._pull(cluster, pulls, 0, version))

    def _pull(self, cluster: str, pulls: list[tuple[str, str]], number: int, version: str) -> None:
        world = self._world
        if world.running("KubernetesUpgradeStatuses", cluster) is None:
            return
        if number == len(pulls):
            world.change("KubernetesUpgradeStatuses", cluster, upgrade_versions=[])
            self._step(cluster)
            return
        node, image = pulls[number]
        world.put(
            "ImagePullStatuses",
            cluster,
            {
                "last_processed_node": node,
                "last_processed_image": image,
                "processed_count": number + 1,
                "total_count": len(pulls),
                "request_version": version,
            },
            owner="ImagePullStatusController",
            labels={CLUSTER: cluster},
        )
        if number + 1 < len(pulls):
            world.change(
                "KubernetesUpgradeStatuses",
                cluster,
                step=f'pulled "{image}"',
                status=f"pre-pulling images ({number + 1}/{len(pulls)})",
            )
        world.soon(_PULL_NEXT, lambda: self._pull(cluster, pulls, number + 1, version))

    def _nodes(self, cluster: str) -> list[Node]:
        world = self._world
        found = world.spec("KubernetesStatuses", cluster)
        if found is None:
            return []
        machines = {name: id_ for id_, name in self._names(cluster)}
        static = {
            node.nodename: tuple((pod.app, pod.version) for pod in node.static_pods) for node in found.static_pods
        }
        return [
            Node(
                node.nodename,
                machines[node.nodename],
                node.kubelet_version,
                static.get(node.nodename, ()),
                self._patches.is_locked(machines[node.nodename]),
            )
            for node in found.nodes
            if node.nodename in machines
        ]

    def _step(self, cluster: str) -> None:
        """Take the next step of an upgrade."""
        world, status = self._world, self._world.spec("KubernetesUpgradeStatuses", cluster)
        if status is None or status.phase == _DONE or world.running("KubernetesUpgradeStatuses", cluster) is None:
            return
        target = status.current_upgrade_version
        step = next_step(self._nodes(cluster), target)
        if step is None:
            self._current.pop(cluster, None)
            self._finish(cluster, target)
            return
        self._current[cluster] = step
        if not step.node:
            names = " ".join(f'"{name}"' for name in step.locked)
            world.change(
                "KubernetesUpgradeStatuses",
                cluster,
                step=f"updating {step.component} to {target}",
                status=f"waiting for a machine from [{names}] to be unlocked",
            )
            return
        world.change(
            "KubernetesUpgradeStatuses",
            cluster,
            step=f"{step.node}: updating {step.component} to {target}",
            status="waiting for a restart",
        )
        self._write_patch(cluster, step, target)
        self._wait(cluster)

    def _write_patch(self, cluster: str, step: Step, target: str) -> None:
        import yaml

        from omniherd.yamlform.emit import dump

        id_ = f"900-cm-{step.machine}-kubernetes-upgrade"
        found = self._world.spec("ConfigPatches", id_)
        before: Any = None if found is None else yaml.safe_load(found.data)
        self._world.put(
            "ConfigPatches",
            id_,
            {"data": dump(grow_patch(before, step.component, target), sort=False)},
            owner=_OWNER,
            labels={CLUSTER: cluster, CLUSTER_MACHINE: step.machine, L + "system-patch": ""},
        )

    def _wait(self, cluster: str) -> None:
        """See whether the machine of the current step took its configuration, and say what is waited for."""
        world = self._world
        step = self._current.get(cluster)
        status = world.spec("KubernetesUpgradeStatuses", cluster)
        if step is None or status is None:
            return
        if not step.node:
            if step != next_step(self._nodes(cluster), status.current_upgrade_version):
                world.soon(_STEP, lambda: self._step(cluster))
            return
        ready = world.spec("ClusterStatuses", cluster).ready
        world.change(
            "KubernetesUpgradeStatuses",
            cluster,
            status="waiting for a restart" if ready else "waiting for the cluster to be ready",
        )
        machine = world.machines.get(step.machine)
        if machine is None or world.running("ClusterMachines", step.machine) is None:
            world.soon(_STEP, lambda: self._step(cluster))
            return
        target = status.current_upgrade_version
        if self._version(step.machine, step.component) == target and self._restarting.get(cluster) != step:
            self._restarting[cluster] = step
            world.later(machine, _RESTART[step.component], lambda _machine: self._restarted(cluster, step, target))

    def _restarted(self, cluster: str, step: Step, target: str) -> None:
        """Let a component run in its new version."""
        world = self._world
        self._restarting.pop(cluster, None)
        machine, found = world.machines[step.machine], world.find("KubernetesStatuses", cluster)
        if machine.stalled:
            machine.waiting.append(lambda: self._restarted(cluster, step, target))
            return
        if found is None:
            return
        spec = found.decode()
        for node in spec.nodes:
            if node.nodename == step.node and step.component == _KUBELET:
                node.kubelet_version = target
        for node in spec.static_pods:
            for pod in node.static_pods:
                if node.nodename == step.node and pod.app == step.component:
                    pod.version = target
        data = spec.SerializeToString(deterministic=True)
        world.store.modify(found.namespace, found.type, found.id, spec=data)
        world.soon(_STEP, lambda: self._step(cluster))

    def _finish(self, cluster: str, version: str) -> None:
        world = self._world
        wanted = world.spec("Clusters", cluster)
        if wanted is None:
            return
        world.change(
            "KubernetesUpgradeStatuses",
            cluster,
            phase=_DONE,
            step="",
            status="",
            last_upgrade_version=version,
            current_upgrade_version="",
            upgrade_versions=kubernetes_upgrades(world.store, wanted.talos_version, version),
        )

    def go_on(self, cluster: str) -> None:
        """Go on with an upgrade that was under way."""
        status = self._world.spec("KubernetesUpgradeStatuses", cluster)
        if status is not None and status.phase != _DONE:
            self._world.soon(_STEP, lambda: self._step(cluster))

    def forget_all(self) -> None:
        """Forget what is under way."""
        self._current.clear()
        self._restarting.clear()

    def forget(self, cluster: str) -> None:
        """Forget what is under way in a cluster that is torn down."""
        self._current.pop(cluster, None)
        self._restarting.pop(cluster, None)


def _not_ready(names: list[str]) -> str:
    return f"nodes [{' '.join(f'{chr(34)}{name}{chr(34)}' for name in names)}] are not ready" if names else ""
