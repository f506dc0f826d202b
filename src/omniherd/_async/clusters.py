"""`omni.clusters`: what takes several calls about a cluster, in the order in which omnictl makes them."""
# ruff: noqa: ASYNC109 - a timeout here bounds everything that is waited for

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Literal

from omniherd._core.nodes import CLUSTER_LABEL
from omniherd._core.status import during
from omniherd.errors import AlreadyExists, FailedPrecondition, InputError, NotFound, WaitTimeout
from omniherd.services import SecretRotation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from omniherd._async.client import AsyncOmni
    from omniherd.resource import Resource

__all__ = ["AsyncClusters"]

_LOCKED = "omni.sidero.dev/cluster-locked"
_IMPORTING = "omni.sidero.dev/tainted-by-importing"
_PHASES = ("OK", "PRE_ROTATE", "ROTATE", "POST_ROTATE")
_COMPONENTS = ("NONE", "TALOS_CA", "KUBERNETES_CA")
_TITLES = {"talos": "Talos CA", "kubernetes": "Kubernetes CA"}
_WAIT = 300.0


class AsyncClusters:
    """Work on clusters; `omni.clusters`.

    Example:
        >>> await omni.clusters.rotate_ca("lab", "kubernetes")
        >>> async for step in omni.clusters.rotation_steps("lab"):
        ...     print(step.phase, step.status, step.step)
    """

    def __init__(self, omni: AsyncOmni) -> None:
        self._omni = omni

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._omni!r}>"

    # --- certificate authorities ----------------------------------------------------------------------------------

    async def rotation(self, cluster: str) -> SecretRotation:
        """Return how far the rotation of a cluster's certificate authority is.

        Raises:
            NotFound: There is no such cluster; `details["during"]` says what was looked for.
        """
        from omniherd.resources import Cluster, ClusterSecretsRotationStatus

        with during("failed to get cluster"):
            await self._omni.get(Cluster, cluster)
        with during("failed to get cluster secrets rotation status"):
            return _rotation(await self._omni.get(ClusterSecretsRotationStatus, cluster))

    async def rotate_ca(self, cluster: str, which: Literal["talos", "kubernetes"]) -> SecretRotation | None:
        """Give a cluster a new certificate authority, on all of its machines. Returns when the server has begun to.

        Args:
            cluster: The cluster.
            which: The authority of the Talos API, or the one of Kubernetes.

        Returns:
            The rotation, where one of that authority goes on already; None for one that was begun here.

        Raises:
            NotFound: There is no such cluster; `details["during"]` says what was looked for.
            FailedPrecondition: Its Talos is too old, or the other authority is being rotated.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd.resources import Cluster, RotateKubernetesCA, RotateTalosCA
        from omniherd.template.versions import parse_version

        with during("failed to get cluster"):
            found = await self._omni.get(Cluster, cluster)
        current = await self.rotation(cluster)
        version = parse_version(found.spec.talos_version)
        if version.before(1, 7, 0):
            shown = ".".join(map(str, version[:3]))
            raise _precondition(
                f"rotating {_TITLES[which]} is only supported for clusters running Talos v1.7.0 or newer, current "
                f'version: "{shown}"'
            )
        if current.phase != "OK":
            if current.component != f"{which.upper()}_CA":
                raise _precondition(f"another rotation is already in progress for {current.component}")
            return current
        # The server begins when the annotation changes.
        now = str(int(time.time()))
        kind: Any = RotateTalosCA if which == "talos" else RotateKubernetesCA
        with contextlib.suppress(AlreadyExists):
            await self._omni.create(kind(cluster, annotations={"timestamp": now}))
            return None
        async with self._omni.edit(kind, cluster) as change:
            change.annotations["timestamp"] = now
        return None

    async def rotation_steps(
        self, cluster: str, *, begin: bool = False, timeout: float | None = _WAIT
    ) -> AsyncGenerator[SecretRotation]:
        """Yield how far a rotation is, whenever that changes, until it is over.

        Args:
            cluster: The cluster.
            begin: Whether to wait for one to begin; otherwise there is nothing to yield where none goes on.
            timeout: Seconds for everything, None for no bound.

        Raises:
            WaitTimeout: It is not over by then.
        """
        from omniherd.resources import ClusterSecretsRotationStatus

        deadline = None if timeout is None else time.monotonic() + timeout
        last: SecretRotation | None = None

        def changed(resource: Resource[Any]) -> bool:
            now = _rotation(resource)
            return now != last and not (last is None and begin and now.phase == "OK")

        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            last = _rotation(await self._wait(ClusterSecretsRotationStatus, cluster, changed, left))
            yield last
            if last.phase == "OK":
                return

    async def _wait(self, kind: Any, cluster: str, when: Callable[[Any], bool], left: float | None) -> Resource[Any]:
        try:
            found: Resource[Any] = await self._omni.wait_for(kind, cluster, when, left)
        except WaitTimeout as error:
            raise WaitTimeout(
                f'the rotation of secrets of cluster "{cluster}" is not over', details=error.details
            ) from None
        return found

    # --- imports --------------------------------------------------------------------------------------------------

    async def abort_import(
        self, cluster: str, *, progress: Callable[[str], object] | None = None, timeout: float | None = _WAIT
    ) -> None:
        """Undo the unfinished import of a cluster: it leaves Omni as it was, and its machines leave the account.

        Args:
            cluster: The cluster. It must be locked still: unlocking it ends its import.
            progress: Called with the id of each machine.
            timeout: Seconds until the cluster is gone, None for no bound.

        Raises:
            NotFound: There is no such cluster; `details["during"]` says what was looked for.
            FailedPrecondition: It is not being imported, or not locked.
            WaitTimeout: Something still holds it.
        """
        from omniherd.resources import Cluster, ClusterStatus, Link, MachineSetNode

        if not cluster:
            raise InputError("cluster name is required")
        with during(f'failed to get cluster "{cluster}"'):
            found = await self._omni.get(Cluster, cluster)
        with during(f'failed to get cluster status for "{cluster}"'):
            status = await self._omni.get(ClusterStatus, cluster)
        if _IMPORTING not in status.labels:
            raise _precondition(f'cluster "{cluster}" is not tainted as importing')
        if _LOCKED not in found.annotations:
            raise _precondition(f'cluster "{cluster}" is not locked')
        nodes = await self._omni.list(MachineSetNode, labels={CLUSTER_LABEL: cluster})
        await self._omni.teardown(Cluster, cluster)
        await self._omni.wait_gone(Cluster, cluster, timeout)
        for node in nodes:
            if progress is not None:
                progress(node.id)
            with contextlib.suppress(NotFound), during(f'failed to destroy siderolink "{node.id}"'):
                await self._omni.teardown(Link, node.id)


def _precondition(text: str) -> FailedPrecondition:
    # What this side finds out bears no status: nobody refused a call.
    error = FailedPrecondition(text)
    error.code = None
    return error


def _rotation(status: Resource[Any]) -> SecretRotation:
    spec = status.spec
    return SecretRotation(_COMPONENTS[spec.component], _PHASES[spec.phase], spec.status, spec.step, spec.error)
