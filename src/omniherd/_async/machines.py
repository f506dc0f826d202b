"""`omni.machines`: what takes several calls about machines, in the order in which omnictl makes them."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._core.nodes import CLUSTER_LABEL, is_machine_id, known_nodes, pick
from omniherd.errors import AlreadyExists, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd._async.client import AsyncOmni
    from omniherd._core.nodes import Node
    from omniherd._core.requests import Labels

__all__ = ["AsyncMachines"]

_LOCKED = "omni.sidero.dev/locked"
_CLUSTER_LOCKED = "omni.sidero.dev/cluster-locked"
_IMPORTING = "omni.sidero.dev/cluster-import-is-in-progress"
_EDIT_ATTEMPTS = 5


class AsyncMachines:
    """Work on machines; `omni.machines`. Wherever a machine is wanted, its id, name or address will do.

    Example:
        >>> await omni.machines.set_labels("fra-worker-1", {"rack": "7", "old": None})
        >>> await omni.machines.lock("fra-worker-1")
    """

    def __init__(self, omni: AsyncOmni) -> None:
        self._omni = omni

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._omni!r}>"

    # --- finding ------------------------------------------------------------------------------------------------

    async def known(self, *, cluster: str | None = None, labels: Labels = None) -> list[Node]:
        """Return the machines with the names they go by.

        Args:
            cluster: Only those of a cluster.
            labels: Only those that a selector matches, on the labels of their MachineStatuses: the server's own and
                those that people gave.

        Raises:
            SelectorError: The selector does not parse.
            APIError: They cannot be listed.
        """
        from omniherd.resources import ClusterMachineIdentity, MachineStatus

        statuses = await self._omni.list(MachineStatus, labels=labels)
        identities = await self._omni.list(ClusterMachineIdentity, labels={CLUSTER_LABEL: cluster} if cluster else None)
        return [node for node in known_nodes(statuses, identities) if not cluster or node.cluster == cluster]

    async def find(self, machine: str, *, cluster: str | None = None) -> Node:
        """Return a machine by its id, its name in Kubernetes, its hostname, or an address.

        Args:
            machine: What it is called.
            cluster: The cluster it is in, for names that several clusters have.

        Raises:
            NotFound: There is none.
            InputError: There are several.
        """
        return pick(machine, await self.known(), cluster=cluster)

    async def _id(self, machine: str) -> str:
        return machine if is_machine_id(machine) else (await self.find(machine)).id

    # --- labels -------------------------------------------------------------------------------------------------

    async def labels(self, machine: str, *, timeout: Timeout = DEFAULT) -> dict[str, str]:
        """Return the labels that people gave to a machine, without those of the server.

        Raises:
            NotFound: There is no such machine.
        """
        from omniherd.resources import MachineLabel

        id_ = await self._id(machine)
        try:
            return dict((await self._omni.get(MachineLabel, id_, timeout=timeout)).labels)
        except NotFound:
            return {}

    async def set_labels(
        self, machine: str, labels: Mapping[str, str | None], *, timeout: Timeout = DEFAULT
    ) -> dict[str, str]:
        """Give labels to a machine, or take them away. All others stay.

        Args:
            machine: The machine.
            labels: Values by label; None takes a label away.
            timeout: Seconds for each call, instead of the client's.

        Returns:
            The labels that people gave to it, after the change.

        Raises:
            NotFound: There is no such machine.
            APIError: The change was refused.
        """
        from omniherd.resources import MachineLabel

        id_ = await self._id(machine)
        for attempt in range(_EDIT_ATTEMPTS):
            try:
                change = self._omni.edit(MachineLabel, id_, timeout=timeout)
                async with change as current:
                    for label, value in labels.items():
                        if value is None:
                            current.labels.pop(label, None)
                        else:
                            current.labels[label] = value
            except NotFound:
                new = {label: value for label, value in labels.items() if value is not None}
                if not new:
                    return {}
                try:
                    return dict((await self._omni.create(MachineLabel(id_, labels=new), timeout=timeout)).labels)
                except AlreadyExists:
                    # Somebody labelled the machine meanwhile: theirs must stay.
                    if attempt + 1 == _EDIT_ATTEMPTS:
                        raise
                    continue
            return {} if change.result is None else dict(change.result.labels)
        raise AssertionError  # the loop returns or raises

    # --- locks --------------------------------------------------------------------------------------------------

    async def lock(self, machine: str, *, timeout: Timeout = DEFAULT) -> None:
        """Keep changes away from a machine of a cluster: new configurations and versions wait until it is unlocked.

        Raises:
            NotFound: There is no such machine, or it is in no cluster.
            InvalidArgument: It is a control plane, which cannot be locked.
        """
        from omniherd.resources import MachineSetNode

        async with self._omni.edit(MachineSetNode, await self._id(machine), timeout=timeout) as node:
            node.annotations[_LOCKED] = ""

    async def unlock(self, machine: str, *, timeout: Timeout = DEFAULT) -> None:
        """Let changes through to a machine again. Unlocking an unlocked one is fine.

        Raises:
            NotFound: There is no such machine, or it is in no cluster.
        """
        from omniherd.resources import MachineSetNode

        async with self._omni.edit(MachineSetNode, await self._id(machine), timeout=timeout) as node:
            node.annotations.pop(_LOCKED, None)

    async def lock_cluster(self, cluster: str, *, timeout: Timeout = DEFAULT) -> None:
        """Keep changes away from all machines of a cluster.

        Raises:
            NotFound: There is no such cluster.
        """
        from omniherd.resources import Cluster

        async with self._omni.edit(Cluster, cluster, timeout=timeout) as change:
            change.annotations[_CLUSTER_LOCKED] = ""

    async def unlock_cluster(self, cluster: str, *, timeout: Timeout = DEFAULT) -> None:
        """Let changes through to a cluster again; an import of it is over by that.

        Raises:
            NotFound: There is no such cluster.
        """
        from omniherd.resources import Cluster

        async with self._omni.edit(Cluster, cluster, timeout=timeout) as change:
            change.annotations.pop(_CLUSTER_LOCKED, None)
            change.annotations.pop(_IMPORTING, None)

    # --- going --------------------------------------------------------------------------------------------------

    async def remove_from_cluster(
        self,
        machine: str,
        *,
        force: bool = False,
        force_etcd_leave: bool = False,
        timeout: float | None = 300.0,
    ) -> None:
        """Take a machine out of its cluster, and wait until it is out. It is wiped, and free afterwards.

        A machine that a machine class allocated is replaced at once, maybe by itself.

        Args:
            machine: The machine.
            force: Do not wait for the machine to be wiped: it leaves the account as well.
            force_etcd_leave: Do not wait for etcd to let go of a control plane. Too few members lose its data.
            timeout: Seconds for everything, None for no bound.

        Raises:
            NotFound: There is no such machine, or it is in no cluster.
            DeleteTimeout: It is still held.
            WaitTimeout: It is still in the cluster.
        """
        from omniherd.resources import ClusterMachine, Link, MachineSetNode, NodeForceDestroyRequest

        deadline = None if timeout is None else time.monotonic() + timeout
        id_ = await self._id(machine)
        member = await self._omni.get(ClusterMachine, id_)
        if force_etcd_leave:
            request = NodeForceDestroyRequest(id_, labels={CLUSTER_LABEL: member.labels.get(CLUSTER_LABEL, "")})
            with contextlib.suppress(AlreadyExists):
                await self._omni.create(request)
        if force:
            await self._omni.teardown(Link, id_)
        with contextlib.suppress(NotFound):
            await self._omni.delete(MachineSetNode, id_, timeout=_left(deadline))
        await self._omni.wait_gone(ClusterMachine, id_, timeout=_left(deadline))

    async def set_grpc_tunnel(self, machine: str, enabled: bool | None, *, timeout: Timeout = DEFAULT) -> bool:
        """Say how a machine connects from its next join on.

        Args:
            machine: The machine.
            enabled: True for a tunnel through gRPC, False for plain UDP, None for what the server prefers.
            timeout: Seconds for each call, instead of the client's.

        Returns:
            Whether that is another way than before.

        Raises:
            NotFound: There is no such machine.
        """
        from omniherd.resources import GRPCTunnelConfig, Machine

        id_ = await self._id(machine)
        if enabled is None:
            try:
                await self._omni.delete(GRPCTunnelConfig, id_)
            except NotFound:
                return False
            return True
        await self._omni.get(Machine, id_, timeout=timeout)
        try:
            async with self._omni.edit(GRPCTunnelConfig, id_, timeout=timeout) as change:
                changed = change.spec.enabled != enabled
                change.spec.enabled = enabled
        except NotFound:
            await self._omni.create(GRPCTunnelConfig(id_, spec={"enabled": enabled}), timeout=timeout)
            return enabled
        return changed


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
