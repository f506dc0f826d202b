"""The import of a Talos cluster: what its nodes say, what will be made of it, and the making."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniherd._async.factory import AsyncFactory
from omniherd._backend import aio as backend
from omniherd._core.cluster_import import (
    choose_versions,
    join_documents,
    joined,
    make_plan,
    schematic_problem,
)
from omniherd._core.nodes import node_names
from omniherd._core.shapes import is_mapping
from omniherd._core.status import during
from omniherd.errors import FailedPrecondition, InputError, NotFound, OmniError, WaitTimeout
from omniherd.services import ImportNode, ImportPlan

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from omniherd._async.client import AsyncOmni
    from omniherd._async.talos_api import AsyncTalos
    from omniherd._async.talos_client import AsyncTalosClient
    from omniherd.resource import Resource

    Note = Callable[[str], object]
    Confirm = Callable[[str], bool]

__all__ = ["AsyncClusterImport"]

_CONCURRENCY = 4
_HEALTH_CHECK = "cluster.ClusterService/HealthCheck"
_HEALTH_SECONDS = 300
_IMPORTING = "omni.sidero.dev/cluster-import-is-in-progress"
_SCHEMATIC = "schematic"
_AUTO = 1
# Where Kubernetes' parts tell of the images that they run.
_PARTS = (
    ("apiserver", "APIServerConfigs.kubernetes.talos.dev", "kube-apiserver", "API server config"),
    ("scheduler", "SchedulerConfigs.kubernetes.talos.dev", "kube-scheduler", "scheduler config"),
    (
        "controller-manager",
        "ControllerManagerConfigs.kubernetes.talos.dev",
        "kube-controller-manager",
        "controller manager config",
    ),
)


class AsyncClusterImport:
    """The import of one cluster; behind `omni.clusters.plan_import` and `run_import`.

    Args:
        omni: The client of the Omni that takes it.
        talos: The client of the cluster.
        note: Called with a line for each thing that is done or taken for granted.
        timeout: Seconds for everything, None for no bound.
    """

    def __init__(self, omni: AsyncOmni, talos: AsyncTalosClient, note: Note | None, timeout: float | None) -> None:
        self._omni = omni
        self._talos = talos
        self._note: Note = note or _silent
        self._deadline = None if timeout is None else time.monotonic() + timeout
        # What stands already, for whoever has to clean up after a failure.
        self._done: list[str] = []

    # --- looking --------------------------------------------------------------------------------------------------

    async def plan(
        self,
        nodes: str | Iterable[str],
        *,
        talos_version: str | None,
        kubernetes_version: str | None,
        initial_talos_version: str | None,
        initial_kubernetes_version: str | None,
    ) -> ImportPlan:
        """Look at the cluster and return what its import makes; see `AsyncClusters.plan_import`."""
        from omniherd.resources import DefaultJoinToken, SiderolinkAPIConfig, TalosVersion

        named = node_names(nodes)
        if not named:
            raise InputError("at least one node is required to import a cluster")
        self._note("discovering the Talos cluster...")
        await self._count(named)
        with during("failed to get default join token"):
            token = (await self._omni.get(DefaultJoinToken, "default", timeout=self._left())).spec.token_id
        with during("failed to get API config"):
            config = (await self._omni.get(SiderolinkAPIConfig, "siderolink-config", timeout=self._left())).spec
        documents = join_documents(config.machine_api_advertised_url, token, config.events_port, config.logs_port)
        facts = await backend.each(named, self._look, _CONCURRENCY)
        _check_machines(facts)
        first = next((node for node in facts if node.control_plane), None)
        if first is None:
            raise _unfit(["no control plane nodes found"])
        cluster = await self._name(first)
        self._note(f'importing cluster "{cluster}" to Omni')
        await self._check_free(cluster)
        versions = choose_versions(
            first,
            talos=talos_version,
            kubernetes=kubernetes_version,
            initial_talos=initial_talos_version,
            initial_kubernetes=initial_kubernetes_version,
            note=self._note,
        )
        with during("failed to read talos version"):
            known = (await self._omni.get(TalosVersion, versions.talos, timeout=self._left())).spec
        if versions.kubernetes not in known.compatible_kubernetes_versions:
            raise InputError(
                f'talos version "{versions.talos}" is not compatible with kubernetes version "{versions.kubernetes}"'
            )
        plan = make_plan(cluster, facts, versions, documents)
        await self._check_nothing_stands(plan)
        planes, workers = len(plan.control_planes), len(plan.workers)
        self._note(f'cluster "{cluster}" has {len(facts)} nodes ({planes} control planes, {workers} workers)')
        return plan

    async def _count(self, nodes: list[str]) -> None:
        first = nodes[0]
        with during(f'failed to get members from node "{first}"'):
            members = await self._of(first).list(
                "Members.cluster.talos.dev", namespace="cluster", timeout=self._left(60.0)
            )
        if not members:
            self._note("the nodes do not discover each other; these are taken for all of them")
        elif len(members) != len(nodes):
            raise InputError(
                f"number of members in cluster ({len(members)}) does not match number of provided nodes ({len(nodes)})",
                hint="name all nodes of the cluster; it has " + ", ".join(sorted(member.id for member in members)),
            )

    async def _look(self, node: str) -> ImportNode:
        from omniherd.yamlform import load

        with during(f'failed to determine if node "{node}" is control plane'):
            kind = await self._get(node, "MachineTypes.config.talos.dev", "machine-type", "config")
        control_plane = load(kind.yaml_spec) in {"controlplane", "init"}
        images: dict[str, str] = {}
        for part, type_name, id_, what in _PARTS if control_plane else ():
            with during(f'failed to get {what} from node "{node}"'):
                images[part] = str((await self._get(node, type_name, id_, "controlplane")).spec.get("image", ""))
        with during(f'failed to get talos version from node "{node}"'):
            [reply] = await self._of(node).version(timeout=self._left())
            version = reply.result().version.tag
        with during(f'failed to get kubelet config from node "{node}"'):
            kubelet = await self._get(node, "KubeletConfigs.kubernetes.talos.dev", "kubelet", "k8s")
        images["kubelet"] = str(kubelet.spec.get("image", ""))
        with during(f'failed to get machine config from node "{node}"'):
            config = load((await self._get(node, "MachineConfigs.config.talos.dev", "v1alpha1", "config")).yaml_spec)
        with during(f'failed to get hostname from node "{node}"'):
            hostname = await self._get(node, "HostnameStatuses.net.talos.dev", "hostname", "network")
        with during(f'failed to get UUID from node "{node}"'):
            system = await self._get(node, "SystemInformations.hardware.talos.dev", "systeminformation", "hardware")
        with during(f'failed to get extensions from node "{node}"'):
            schematic = _schematic(
                await self._of(node).list(
                    "ExtensionStatuses.runtime.talos.dev", namespace="runtime", timeout=self._left(60.0)
                )
            )
        if not isinstance(config, str) or not system.spec.get("uuid"):
            raise InputError(f'node "{node}" does not tell its configuration, or its UUID')
        return ImportNode(
            address=node,
            machine=str(system.spec["uuid"]),
            hostname=str(hostname.spec.get("hostname", "")),
            control_plane=control_plane,
            talos_version=version,
            images=images,
            schematic_id=schematic[0],
            schematic=schematic[1],
            config=config,
        )

    async def _name(self, node: ImportNode) -> str:
        with during(f'failed to get cluster info from node "{node.address}"'):
            info = await self._get(node.address, "Infos.cluster.talos.dev", "current", "cluster")
        name = str(info.spec.get("clusterName", ""))
        # It becomes part of a file's name, too.
        if not name.isprintable() or not name or "/" in name or name.startswith("."):
            raise InputError(f'node "{node.address}" tells no name of its cluster that could be used: {name!r}')
        return name

    async def _check_free(self, cluster: str) -> None:
        from omniherd.resources import Cluster

        try:
            found = await self._omni.get(Cluster, cluster, timeout=self._left())
        except NotFound:
            return
        if _IMPORTING in found.annotations:
            raise _precondition(
                f'cluster "{cluster}" already exists in Omni and is marked as importing',
                f"`omniherd cluster import abort {cluster}` undoes that import; then try again",
            )
        raise _precondition(f'cluster "{cluster}" already exists in Omni')

    async def _check_nothing_stands(self, plan: ImportPlan) -> None:
        # Resources that nobody misses until the cluster is half made: they are in the way then, not now.
        for resource in plan.resources[2:]:
            try:
                found = await self._omni.get(type(resource), resource.id, timeout=self._left())
            except NotFound:
                continue
            where = found.labels.get("omni.sidero.dev/cluster", "")
            raise _precondition(
                f"{found} already exists in Omni" + (f', in cluster "{where}"' if where else ""),
                "it would be in the way of the import; remove it first",
            )

    # --- making ---------------------------------------------------------------------------------------------------

    async def check(self, plan: ImportPlan, *, force: bool, health_check: bool) -> None:
        """Hold a cluster against what an import needs: equal versions, schematics that the factory knows, health.

        Raises:
            FailedPrecondition: It is not fit; `details["problems"]` lists why. Not with `force`.
            APIError: It is not healthy.
        """
        self._note("validating the cluster...")
        found = [*plan.problems, *await self._schematics(plan.nodes)]
        if found and not force:
            raise _unfit(found)
        for problem in found:
            self._note(f" - {problem}; going on, as force is requested")
        self._note("checking the cluster's health...")
        if not health_check:
            self._note(" > skipped, as requested")
            return
        with during("cluster health check failed"):
            await self._health(plan)

    async def _schematics(self, nodes: Iterable[ImportNode]) -> list[str]:
        found: list[str] = []
        ensured: dict[str, str] = {}
        factory = AsyncFactory(self._omni)
        for node in nodes:
            problem = schematic_problem(node)
            if problem is None and node.schematic_id not in ensured:
                try:
                    ensured[node.schematic_id] = await factory.ensure(node.schematic)
                except OmniError as error:
                    problem = (
                        f'failed to ensure schematic "{node.schematic_id}" for node "{node.hostname}" in image '
                        f"factory: {error}"
                    )
            known = ensured.get(node.schematic_id, node.schematic_id)
            if problem is None and known != node.schematic_id:
                problem = (
                    f'schematic ID mismatch for node "{node.hostname}": expected "{node.schematic_id}", got "{known}"'
                )
            if problem is not None:
                found.append(problem)
        return found

    async def _health(self, plan: ImportPlan) -> None:
        from omniherd.wire import cluster

        request = cluster.HealthCheckRequest()
        request.wait_timeout.seconds = _HEALTH_SECONDS
        request.cluster_info.control_plane_nodes.extend(node.address for node in plan.control_planes)
        request.cluster_info.worker_nodes.extend(node.address for node in plan.workers)
        talos = self._of(plan.control_planes[0].address)
        async with talos.stream(_HEALTH_CHECK, request, timeout=self._left(None)) as answers:
            async for reply in answers:
                if reply.error is not None:
                    raise OmniError(f"healthcheck error: {reply.error}")
                self._note(f" > {reply.result().message}")

    async def run(
        self,
        plan: ImportPlan,
        *,
        force: bool,
        health_check: bool,
        backup: str | os.PathLike[str] | None,
        overwrite: Confirm | None,
    ) -> None:
        """Make what a plan says; see `AsyncClusters.run_import`."""
        await self.check(plan, force=force, health_check=health_check)
        if backup is not None:
            self._back_up(plan, Path(backup), overwrite)
        try:
            # First of all: a server that takes no imports says so here, before a machine is touched.
            await self._create_secrets(plan)
            await self._connect(plan)
            await self._create(plan)
        except BaseException as error:
            self._leave_word(plan, error)
            raise

    def _back_up(self, plan: ImportPlan, path: Path, overwrite: Confirm | None) -> None:
        from omniherd._core.files import write_atomic

        self._note(f'saving the machine configurations to "{path}"')
        if path.exists() and not (overwrite is not None and overwrite(str(path))):
            raise InputError(
                "operation was aborted" if overwrite is not None else f"{path} already exists",
                hint=None if overwrite is not None else "name another file, or say with `overwrite` that it may go",
            )
        write_atomic(path, _archive(plan))

    async def _connect(self, plan: ImportPlan) -> None:
        from omniherd.wire import machine

        self._note("connecting the nodes to Omni...")
        texts = [joined(node.config, [dict(document) for document in plan.join]) for node in plan.nodes]
        for node, text in zip(plan.nodes, texts, strict=True):
            request = machine.ApplyConfigurationRequest(data=text.encode(), mode=_AUTO)
            with during(f'failed to connect nodes to omni: failed to apply configuration to node "{node.address}"'):
                [reply] = await self._of(node.address).call("ApplyConfiguration", request, timeout=self._left())
                reply.result()
            self._done.append(
                f'node "{node.address}" has the configuration that leads to Omni (machine {node.machine})'
            )

    async def _create_secrets(self, plan: ImportPlan) -> None:
        from omniherd.errors import AlreadyExists

        secrets = plan.resources[0]
        self._note("creating the cluster's secrets in Omni...")
        with during(_creating(secrets)):
            try:
                await self._omni.create(secrets, timeout=self._left())
            except AlreadyExists:
                # There is no such cluster, so they are what an earlier import left behind.
                self._note(f'replacing the secrets that an earlier import of "{secrets.id}" left behind')
                await self._omni.delete(type(secrets), secrets.id, timeout=self._left())
                await self._omni.create(secrets, timeout=self._left())
        self._done.append(f"{secrets.type_name} {secrets.id} is in Omni")

    async def _create(self, plan: ImportPlan) -> None:
        self._note("creating the cluster's resources in Omni...")
        for resource in plan.resources[1:]:
            self._note(f" > {resource.type_name} {resource.id}")
            with during(_creating(resource)):
                await self._omni.create(resource, timeout=self._left())
            self._done.append(f"{resource.type_name} {resource.id} is in Omni")

    def _leave_word(self, plan: ImportPlan, error: BaseException) -> None:
        """Say what stands, where something does: an import must not stop half way in silence."""
        if not self._done:
            return
        made = any(f"Clusters.omni.sidero.dev {plan.cluster} is" in done for done in self._done)
        undo = (
            f"`omniherd cluster import abort {plan.cluster}` undoes it"
            if made
            else "there is no cluster in Omni yet: try again, or take the machines' links out of Omni"
        )
        self._note("the import stopped half way; what stands:")
        for done in self._done:
            self._note(f" > {done}")
        self._note(undo)
        if isinstance(error, OmniError):
            error.details["done"] = list(self._done)
            error.hint = undo if error.hint is None else f"{error.hint}; {undo}"

    # --- parts ----------------------------------------------------------------------------------------------------

    def _of(self, node: str) -> AsyncTalos:
        return self._talos.talos(nodes=node)

    async def _get(self, node: str, type_name: str, id_: str, namespace: str) -> Resource[Any]:
        return await self._of(node).get(type_name, id_, namespace=namespace, timeout=self._left())

    def _left(self, most: float | None = 30.0) -> float | None:
        """Return how long the next call may take."""
        if self._deadline is None:
            return most
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout("the import took longer than it may", hint="allow it more time")
        return left if most is None else min(most, left)


def _creating(resource: Resource[Any]) -> str:
    return f'failed to import cluster: failed to create {resource.type_name} "{resource.id}"'


def _schematic(extensions: list[Resource[Any]]) -> tuple[str, str]:
    """Return the id and text of the schematic that Talos was installed from, as far as it says."""
    for extension in extensions:
        metadata = extension.spec.get("metadata")
        if is_mapping(metadata) and metadata.get("name") == _SCHEMATIC:
            return str(metadata.get("version") or ""), str(metadata.get("extraInfo") or "")
    return "", ""


def _check_machines(nodes: list[ImportNode]) -> None:
    seen: dict[str, str] = {}
    for node in nodes:
        other = seen.setdefault(node.machine, node.address)
        if other != node.address:
            raise InputError(f'nodes "{other}" and "{node.address}" are the same machine, {node.machine}')


def _archive(plan: ImportPlan) -> bytes:
    import io
    import zipfile

    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for node in plan.nodes:
            # Nobody's hostname shall decide where a file goes when the archive is unpacked.
            archive.writestr(f"{node.hostname}-{node.address}.yaml".replace("/", "_"), node.config)
    return whole.getvalue()


def _unfit(problems: list[str]) -> FailedPrecondition:
    listed = "".join(f"\n - {problem}" for problem in problems)
    return _precondition(f"validation error: {listed}", None, problems=problems)


def _precondition(text: str, hint: str | None = None, **details: Any) -> FailedPrecondition:
    # What this side finds out bears no status: nobody refused a call.
    error = FailedPrecondition(text, hint=hint, details=details)
    error.code = None
    return error


def _silent(_line: str) -> None: ...
