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
    import os
    from collections.abc import AsyncGenerator, Callable, Iterable

    from omniherd._async.client import AsyncOmni
    from omniherd._async.talos_client import AsyncTalosClient
    from omniherd.resource import Resource
    from omniherd.services import ImportPlan

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

    async def plan_import(
        self,
        talos: AsyncTalosClient,
        nodes: str | Iterable[str],
        *,
        talos_version: str | None = None,
        kubernetes_version: str | None = None,
        initial_talos_version: str | None = None,
        initial_kubernetes_version: str | None = None,
        progress: Callable[[str], object] | None = None,
        timeout: float | None = _WAIT,
    ) -> ImportPlan:
        """Look at a Talos cluster that is not in Omni, and return what its import would make. Nothing is written.

        Args:
            talos: The client of the cluster.
            nodes: The addresses of all of its nodes.
            talos_version: What its nodes must run, as a check; by default what they say counts.
            kubernetes_version: The same of Kubernetes.
            initial_talos_version: What they ran when the cluster was made, by default what they run. What differs from
                the configuration that Omni makes for that version becomes config patches.
            initial_kubernetes_version: The same of Kubernetes.
            progress: Called with a line for each step.
            timeout: Seconds for everything, None for no bound.

        Raises:
            InputError: Not all nodes are named, or the versions do not fit.
            FailedPrecondition: The cluster is in Omni already, or has no control plane.
            APIError: A node, or Omni, refuses or cannot be reached; `details["during"]` says what was looked for.

        Example:
            >>> async with AsyncTalosClient.connect("talosconfig") as talos:
            ...     plan = await omni.clusters.plan_import(talos, ["10.0.0.2", "10.0.0.5"])
            ...     await omni.clusters.run_import(talos, plan, backup="backup.zip")
        """
        from omniherd._async.cluster_import import AsyncClusterImport

        return await AsyncClusterImport(self._omni, talos, progress, timeout).plan(
            nodes,
            talos_version=talos_version,
            kubernetes_version=kubernetes_version,
            initial_talos_version=initial_talos_version,
            initial_kubernetes_version=initial_kubernetes_version,
        )

    async def check_import(
        self,
        talos: AsyncTalosClient,
        plan: ImportPlan,
        *,
        force: bool = False,
        health_check: bool = True,
        progress: Callable[[str], object] | None = None,
        timeout: float | None = _WAIT,
    ) -> None:
        """Find out whether a planned import would be begun. The image factory is told of the nodes' schematics.

        Args:
            talos: The client of the cluster.
            plan: What `plan_import` returned.
            force: Go on where the cluster is not fit for it; `progress` is told why it is not.
            health_check: Whether Talos is asked if the cluster is healthy.
            progress: Called with a line for each step.
            timeout: Seconds for everything, None for no bound.

        Raises:
            FailedPrecondition: It is not fit; `details["problems"]` lists why.
            OmniError: It is not healthy.
        """
        from omniherd._async.cluster_import import AsyncClusterImport

        run = AsyncClusterImport(self._omni, talos, progress, timeout)
        await run.check(plan, force=force, health_check=health_check)

    async def run_import(
        self,
        talos: AsyncTalosClient,
        plan: ImportPlan,
        *,
        force: bool = False,
        health_check: bool = True,
        backup: str | os.PathLike[str] | None = None,
        overwrite: Callable[[str], bool] | None = None,
        progress: Callable[[str], object] | None = None,
        timeout: float | None = _WAIT,
    ) -> None:
        """Take a Talos cluster into Omni. It is locked afterwards: Omni changes nothing before it is unlocked.

        Args:
            talos: The client of the cluster.
            plan: What `plan_import` returned.
            force: Go on where the cluster is not fit for it.
            health_check: Whether Talos is asked if the cluster is healthy.
            backup: A zip file for the nodes' configurations as they were, written before anything is changed. It holds
                secrets; its owner alone may read it.
            overwrite: Asked with the file's name where it exists already; without it such a file is an error.
            progress: Called with a line for each step.
            timeout: Seconds for everything, None for no bound.

        Raises:
            FailedPrecondition: The cluster is not fit; `details["problems"]` lists why. Nothing was changed.
            OmniError: It is not healthy, or the file exists: nothing was changed. Or something failed half way:
                `details["done"]` lists what stands, `hint` says how to undo it.
            OSError: The file cannot be written. Nothing was changed.
        """
        from omniherd._async.cluster_import import AsyncClusterImport

        run = AsyncClusterImport(self._omni, talos, progress, timeout)
        await run.run(plan, force=force, health_check=health_check, backup=backup, overwrite=overwrite)

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
