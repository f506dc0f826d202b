"""The check of a cluster's health that its control planes make."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from omniherd.emulator.gotext import quote_all
from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from omniherd.emulator.talos.nodes import Node, Nodes
    from omniherd.emulator.talos.running import Running
    from omniherd.emulator.talos.streams import Tell

__all__ = ["Health"]

# What is waited for, in Talos' order; those of the first group are about each machine by itself.
_OF_MACHINES = ("etcd to be healthy", "apid to be ready", "kubelet to be healthy", "all nodes to finish boot sequence")
_OF_KUBERNETES = (
    "all k8s nodes to report",
    "all k8s nodes to report ready",
    "all control plane components to be ready",
    "kube-proxy to report ready",
    "coredns to report ready",
    "all k8s nodes to report schedulable",
)
_BETWEEN = 1.0


class Health:
    """The check.

    Args:
        nodes: The machines.
        running: What goes on in them.
    """

    def __init__(self, nodes: Nodes, running: Running) -> None:
        self._nodes = nodes
        self._running = running

    async def check(self, node: Node, request: Any, tell: Tell) -> None:
        """Tell what is waited for and what is well; it ends when all is, or with the time that the caller gives it.

        Raises:
            StateError: `UNKNOWN`: the machine has no cluster; `DEADLINE_EXCEEDED`: a machine stays away.
        """
        if not node.cluster:
            raise StateError("UNKNOWN", "error discovering nodes: the machine is in no cluster")
        info, members = request.cluster_info, self._nodes.members(node.cluster)
        planes = list(info.control_plane_nodes) or [one.address_in_cluster for one in members if one.control_plane]
        workers = list(info.worker_nodes) or [one.address_in_cluster for one in members if not one.control_plane]
        text = f"discovered nodes: control plane: {quote_all(planes)}, worker: {quote_all(workers)}"
        await tell({"message": text})
        left = request.wait_timeout.seconds + request.wait_timeout.nanos / 1e9
        for name in (*_OF_MACHINES, *_OF_KUBERNETES):
            await tell({"message": f"waiting for {name}: ..."})
            told = ""
            while problem := self._problem(name, node.cluster):
                if problem != told:
                    told = problem
                    await tell({"message": f"waiting for {name}: {problem}"})
                if left <= 0:
                    raise StateError("DEADLINE_EXCEEDED", "context deadline exceeded")
                await asyncio.sleep(min(_BETWEEN, left))
                left -= _BETWEEN
            await tell({"message": f"waiting for {name}: OK"})

    def _problem(self, name: str, cluster: str) -> str:
        """Return what is not well yet; empty for nothing."""
        for node in self._nodes.members(cluster):
            if name == "etcd to be healthy" and not node.control_plane:
                continue
            try:
                self._running.check(node)
            except StateError as error:
                return f"{node.address_in_cluster}: rpc error: code = Unavailable desc = {error.message}"
        return ""
