"""The support bundle: what Omni and the machines of a cluster have to show, as files in an archive."""

from __future__ import annotations

import io
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from omniherd._core.pool import message
from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, missing_here
from omniherd.emulator.talos.machine_files import machine_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming, Method, Send
    from omniherd.emulator.services.guards import Gate
    from omniherd.emulator.store import Store
    from omniherd.emulator.talos.machines import Machines
    from omniherd.emulator.talos.nodes import Node

__all__ = ["SupportBundle"]

_O = ".omni.sidero.dev"
_CLUSTER = "omni.sidero.dev/cluster"
# What is gathered, in the order of the server: resources that have the cluster's name, and those that bear its label.
_NAMED = (
    "Clusters",
    "ClusterTaints",
    "ClusterStatuses",
    "KubernetesUpgradeStatuses",
    "TalosUpgradeStatuses",
    "LoadBalancerStatuses",
    "KubernetesUpgradeManifestStatuses",
    "ClusterBootstrapStatuses",
    "ClusterKubernetesManifestsStatuses",
)
_LABELLED = (
    "MachineSets",
    "MachineSetStatuses",
    "MachineSetNodes",
    "ClusterMachines",
    "ClusterMachineStatuses",
    "RedactedClusterMachineConfigs",
    "ClusterMachineConfigStatuses",
    "ClusterMachineTalosVersions",
    "ClusterMachineIdentities",
    "SchematicConfigurations",
    "ExtensionsConfigurations",
    "KernelArgs",
    "KernelArgsStatuses",
    "ExposedServices",
    "DiscoveryAffiliateDeleteTasks",
    "MachineConfigDiffs",
    "InfraMachines",
    "InfraMachineStatuses",
    "ControlPlaneStatuses",
)
_OF_MACHINES = ("Links", "MachineStatuses", "MachineStatusLabels")


class _Item(NamedTuple):
    """A file of the bundle.

    Attributes:
        source: Who it is from: `omni` or `cluster`.
        name: Its path in the bundle.
        content: Returns its content, or raises a StateError.
    """

    source: str
    name: str
    content: Callable[[], bytes]


class SupportBundle:
    """The call.

    Args:
        store: The state.
        machines: The emulated machines.
        gate: Who may call.
    """

    def __init__(self, store: Store, machines: Machines, gate: Gate) -> None:
        self._gate = gate
        self._store = store
        self._machines = machines

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {PREFIX + "GetSupportBundle": self.gather}

    async def gather(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer GetSupportBundle: a message for each file, and at last the archive. A file that fails is left out."""
        self._gate.require(call, request)
        if request.encrypt or request.encryption_recipients:
            raise missing_here(call, "encrypt support bundles")
        response: Any = message("management.GetSupportBundleResponse")

        async def tell(**progress: Any) -> None:
            await send(response(progress=progress).SerializeToString())

        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
            for cluster in self._clusters(request.cluster):
                items = list(self._of_omni(cluster))
                if self._store.find("default", "KubernetesUpgradeStatuses" + _O, cluster) is None:
                    text = f"failed to get kubernetes client kubeconfig for cluster {cluster} is not found"
                    await tell(source="cluster", error=text)
                else:
                    items.extend(self._of_cluster(cluster))
                totals = {source: sum(item.source == source for item in items) for source in ("omni", "cluster")}
                for item in items:
                    state = f"collect {item.name.rpartition('/')[2]}"
                    try:
                        bundle.writestr(item.name, item.content())
                    except StateError as error:
                        await tell(source=item.source, state=state, total=totals[item.source], error=error.message)
                    else:
                        await tell(source=item.source, state=state, total=totals[item.source])
        await send(response(bundle_data=buffer.getvalue()).SerializeToString())

    def _clusters(self, wanted: str) -> list[str]:
        return [wanted] if wanted else [one.id for one in self._store.list("default", "Clusters" + _O)]

    # --- what Omni has ----------------------------------------------------------------------------------------------

    def _of_omni(self, cluster: str) -> Iterator[_Item]:
        found = list(self._resources(cluster))
        for resource in found:
            name = f"omni/resources/{resource.type}-{resource.id}.yaml"
            yield _Item("omni", name, partial(_yaml, resource))
            if resource.type == "Links" + _O:
                name = f"omni/machine-logs/{resource.id}.log"
                yield _Item("omni", name, partial(self._log, resource.id))

    def _resources(self, cluster: str) -> Iterator[Stored]:
        from omniherd.emulator.forms import default_namespace

        for name in _NAMED:
            found = self._store.find(default_namespace(name + _O), name + _O, cluster)
            if found is not None:
                yield found
        machines: dict[str, None] = {}
        for name in _LABELLED:
            for one in self._store.list(
                default_namespace(name + _O), name + _O, lambda one: one.labels.get(_CLUSTER) == cluster
            ):
                if name in {"ClusterMachines", "MachineSetNodes"}:
                    machines[one.id] = None
                yield one
        for id_ in machines:
            for name in _OF_MACHINES:
                found = self._store.find(default_namespace(name + _O), name + _O, id_)
                if found is None:
                    break
                yield found

    def _log(self, machine: str) -> bytes:
        return b"".join(line.json() + b"\n" for line in self._machines.log.lines(machine))

    # --- what its machines have -------------------------------------------------------------------------------------

    def _of_cluster(self, cluster: str) -> Iterator[_Item]:
        members = self._machines.nodes.members(cluster)
        yield _Item("cluster", "kubernetesResources/nodes.yaml", lambda: _dump(_kubernetes_nodes(members)))
        yield _Item("cluster", "kubernetesResources/systemPods.yaml", lambda: _dump(_system_pods(members)))
        for node in members:
            for name, content in machine_files(node, self._machines):
                yield _Item("cluster", f"{node.id}/{name}", self._reaching(node, content))

    def _reaching(self, node: Node, content: Callable[[], bytes]) -> Callable[[], bytes]:
        def reach() -> bytes:
            try:
                self._machines.running.check(node)
            except StateError as error:
                raise StateError(error.code, f"rpc error: code = Unavailable desc = {error.message}") from None
            return content()

        return reach


def _yaml(resource: Stored) -> bytes:
    from omniherd.resource import Resource

    cls: type[Resource[Any]] = Resource
    return cls.from_proto(resource.to_proto()).to_yaml().encode()


def _dump(value: Any) -> bytes:
    from omniherd.yamlform import dump

    return dump(value).encode()


def _kubernetes_nodes(members: list[Node]) -> dict[str, Any]:
    return _kubernetes_list(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": node.name,
                "labels": {"kubernetes.io/arch": node.status.hardware.arch, "kubernetes.io/hostname": node.name},
            },
            "status": {
                "addresses": [
                    {"address": node.address_in_cluster, "type": "InternalIP"},
                    {"address": node.name, "type": "Hostname"},
                ],
                "nodeInfo": {"kubeletVersion": f"v{node.kubernetes}", "osImage": f"Talos ({node.version})"},
            },
        }
        for node in members
    )


def _system_pods(members: list[Node]) -> dict[str, Any]:
    from omniherd.emulator.talos.processes import pods

    return _kubernetes_list(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "kube-system"},
            "spec": {"nodeName": node.name, "containers": [{"image": image}]},
            "status": {"phase": "Running"},
        }
        for node in members
        for name, image in pods(node)
    )


def _kubernetes_list(items: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(items), "metadata": {}}
