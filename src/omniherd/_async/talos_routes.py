"""The two ways to Talos machines: through Omni, which knows them by name, and directly, by a talosconfig."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from omniherd._async.machines import AsyncMachines
from omniherd._core.nodes import is_machine_id, node_names, pick
from omniherd._core.talos import Plan, direct_plans, plans
from omniherd.errors import InputError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from omniherd._async.channel import AsyncChannel
    from omniherd._async.client import AsyncOmni
    from omniherd._core.nodes import Node
    from omniherd._core.requests import Labels

__all__ = ["AsyncDirectRoute", "AsyncOmniRoute", "AsyncRoute"]


class AsyncRoute(Protocol):
    """How some machines are reached.

    Attributes:
        channel: What calls go over.
        cluster: The cluster, where it was given.
        nodes: The machines that were named.
    """

    channel: AsyncChannel
    cluster: str | None
    nodes: list[str]

    async def plans(self, *, together: bool) -> list[Plan]:
        """Return the calls to make.

        Args:
            together: Whether the method can be asked of several machines at once.
        """
        ...


class AsyncOmniRoute:
    """Through Omni.

    Args:
        omni: The client.
        cluster: The cluster.
        nodes: Machines by id, name or address.
        labels: Machines by a selector on their MachineStatuses' labels.
    """

    def __init__(self, omni: AsyncOmni, cluster: str | None, nodes: str | Iterable[str], labels: Labels = None) -> None:
        self.channel = omni.channel
        self.cluster = cluster
        self.nodes = node_names(nodes)
        self._omni = omni
        self._labels = labels
        if self.nodes and labels is not None:
            raise InputError("choose machines by name or by label, not by both")
        if not cluster and not self.nodes and labels is None:
            raise InputError("name a cluster or a machine", hint="omni.talos('lab') or omni.talos(nodes='machine')")

    async def plans(self, *, together: bool) -> list[Plan]:
        """Return the calls to make; names are looked up.

        Raises:
            NotFound: A selector matches no machine.
            InputError: A name is that of several machines.
        """
        return plans(self.cluster, await self._asked(), together=together)

    async def _asked(self) -> list[tuple[str, Node | None]]:
        if self._labels is not None:
            found = await AsyncMachines(self._omni).known(cluster=self.cluster, labels=self._labels)
            if not found:
                raise NotFound("no machine matches the selector")
            return [(node.id, node) for node in found]
        # One id needs no looking up: the server takes it, wherever the machine is.
        if not self.nodes or (len(self.nodes) == 1 and is_machine_id(self.nodes[0])):
            return [(name, None) for name in self.nodes]
        known = await AsyncMachines(self._omni).known(cluster=self.cluster)
        asked: list[tuple[str, Node | None]] = []
        for name in self.nodes:
            try:
                asked.append((name, pick(name, known, cluster=self.cluster)))
            except NotFound:
                # The server may know it by a name that no resource shows; it is the one to say no.
                asked.append((name, None))
        return asked


class AsyncDirectRoute:
    """Directly.

    Args:
        channel: The channel to the cluster's Talos API.
        nodes: Machines by address or hostname; none for the one that is connected to.
    """

    def __init__(self, channel: AsyncChannel, nodes: str | Iterable[str]) -> None:
        self.channel = channel
        self.cluster: str | None = None
        self.nodes = node_names(nodes)

    async def plans(self, *, together: bool) -> list[Plan]:
        """Return the calls to make."""
        return direct_plans(self.nodes, together=together)
