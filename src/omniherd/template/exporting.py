"""Resources of an existing cluster turned back into a template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from omniherd._core.shapes import is_mapping
from omniherd.errors import YAMLError
from omniherd.resource import Resource
from omniherd.template import ids, models
from omniherd.template.language import NEWEST, OLDEST
from omniherd.template.problems import TemplateError, go_quote
from omniherd.template.versions import VersionRefused, parse_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["EXPORTED_TYPES", "export_documents"]

_CLUSTERS = "Clusters.omni.sidero.dev"
_SETS = "MachineSets.omni.sidero.dev"
_NODES = "MachineSetNodes.omni.sidero.dev"
_PATCHES = "ConfigPatches.omni.sidero.dev"
_EXTENSIONS = "ExtensionsConfigurations.omni.sidero.dev"
_MANIFESTS = "KubernetesManifestGroups.omni.sidero.dev"
_CHECKS = "KubernetesHealthChecks.omni.sidero.dev"
_KERNEL_ARGS = "KernelArgs.omni.sidero.dev"
_DISKS = "MachineInstallDiskConfigs.omni.sidero.dev"
_STATUSES = "ClusterStatuses.omni.sidero.dev"

EXPORTED_TYPES = (_SETS, _NODES, _PATCHES, _EXTENSIONS, _MANIFESTS, _CHECKS)
"""The types that carry the label of their cluster; the cluster, kernel arguments and disks are found by id."""

_MODES = {1: "full", 2: "one-time"}
_STRATEGIES = {0: "Unset", 1: "Rolling"}
_ROLLING = 1

_AnyResource = Resource[Any]
_ModelT = TypeVar("_ModelT")


def export_documents(
    resources: Iterable[_AnyResource], cluster: str, *, include_kernel_args: bool = False, dialect: str = OLDEST
) -> list[models.Document]:
    """Return the template of a cluster.

    Args:
        resources: The cluster's resources, in any order; others may be among them.
        cluster: The cluster's id.
        include_kernel_args: Whether every machine gets its kernel arguments written, none included.
        dialect: The version of the language.

    Raises:
        TemplateError: The cluster is not there, or its resources do not fit together.
    """
    return _Export(list(resources), cluster, include_kernel_args, dialect).documents()


def _fail(text: str) -> TemplateError:
    return TemplateError(text, stage="exporting")


class _Export:
    def __init__(self, resources: list[_AnyResource], cluster: str, kernel_args: bool, dialect: str) -> None:
        self.cluster = cluster
        self.with_kernel_args = kernel_args
        self.dialect = dialect
        self.by_id = {(one.type, one.id): one for one in resources}
        self.listed = [one for one in resources if one.labels.get(ids.CLUSTER) == cluster]
        self.disks: dict[str, str] = {}

    def documents(self) -> list[models.Document]:
        cluster = self.by_id.get((_CLUSTERS, self.cluster))
        if cluster is None:
            missing = f"resource {_CLUSTERS}(default/{self.cluster}@undefined) doesn't exist"
            raise _fail(f"error getting cluster {go_quote(self.cluster)}: {missing}")
        patches = self._layers(_PATCHES, skip=self._is_install_disk)
        extensions = self._layers(_EXTENSIONS)
        checks = self._layers(_CHECKS)
        nodes = self._nodes()
        found: list[models.Document] = [self._cluster(cluster, patches, extensions, checks)]
        plane = models.ControlPlane()
        workers: list[models.Workers] = []
        for resource in self._of(_SETS, owned=True):
            key = ("set", resource.id)
            model = self._machine_set(resource, nodes.get(resource.id, []))
            model.patches = _sorted(patches.get(key, []), _patch)
            model.system_extensions = _extensions(extensions.get(key, []))
            if isinstance(model, models.ControlPlane):
                plane = model
            elif isinstance(model, models.Workers):
                workers.append(model)
        found.append(plane)
        found += sorted(workers, key=lambda one: one.name.encode())
        machines: list[models.Machine] = []
        for node in (node for group in nodes.values() for node in group):
            key = ("machine", node.id)
            machine = self._machine(node)
            machine.patches = _sorted(patches.get(key, []), _patch)
            machine.system_extensions = _extensions(extensions.get(key, []))
            machines.append(machine)
        return found + sorted(machines, key=lambda one: one.name.encode())

    # --- finding --------------------------------------------------------------------------------------------------

    def _of(self, type_name: str, *, owned: bool = False) -> list[_AnyResource]:
        return [one for one in self.listed if one.type == type_name and (owned or not one.owner)]

    def _layers(
        self, type_name: str, skip: Callable[[_AnyResource], bool] = lambda _: False
    ) -> dict[tuple[str, str], list[_AnyResource]]:
        """Sort resources by what they are for: a machine, a set, or the cluster (the empty key)."""
        found: dict[tuple[str, str], list[_AnyResource]] = {}
        for one in self._of(type_name):
            if ids.MANAGED_BY_NODE_CONTROLLER in one.labels or skip(one):
                continue
            if ids.CLUSTER_MACHINE in one.labels:
                key = ("machine", one.labels[ids.CLUSTER_MACHINE])
            elif ids.MACHINE_SET in one.labels:
                key = ("set", one.labels[ids.MACHINE_SET])
            else:
                key = ("", "")
            found.setdefault(key, []).append(one)
        return found

    def _nodes(self) -> dict[str, list[_AnyResource]]:
        """Return the machines of each set that lists them; machines of a class are picked anew."""
        sets = {one.id: one for one in self._of(_SETS, owned=True)}
        found: dict[str, list[_AnyResource]] = {}
        for node in self._of(_NODES, owned=True):
            name = node.labels.get(ids.MACHINE_SET)
            if name is None:
                raise _fail(f"machine set node {go_quote(node.id)} has no machine set label")
            if name not in sets:
                raise _fail(f"unexpected machine set label {go_quote(name)}")
            if _allocation(sets[name].spec) is None:
                found.setdefault(name, []).append(node)
        return found

    def _is_install_disk(self, patch: _AnyResource) -> bool:
        """Note the disk of a patch that holds nothing else, and tell whether it is such a patch."""
        from omniherd.yamlform import load

        machine = patch.labels.get(ids.CLUSTER_MACHINE)
        if self.dialect == NEWEST or machine is None or patch.id != ids.install_disk_patch_id(machine):
            return False
        try:
            value: Any = load(patch.spec.data)
        except YAMLError:
            return False
        for key in ("machine", "install", "disk"):
            if not is_mapping(value) or len(value) != 1 or key not in value:
                return False
            value = value[key]
        if not isinstance(value, str) or not value:
            return False
        self.disks[machine] = value
        return True

    # --- models ---------------------------------------------------------------------------------------------------

    def _cluster(
        self,
        resource: _AnyResource,
        patches: dict[tuple[str, str], list[_AnyResource]],
        extensions: dict[tuple[str, str], list[_AnyResource]],
        checks: dict[tuple[str, str], list[_AnyResource]],
    ) -> models.Cluster:
        spec = resource.spec
        labels, annotations = _descriptors(resource)
        features = models.Features(
            disk_encryption=spec.features.disk_encryption,
            enable_workload_proxy=spec.features.enable_workload_proxy,
            use_embedded_discovery_service=spec.features.use_embedded_discovery_service,
            backup_configuration=models.BackupConfiguration(spec.backup_configuration.interval.ToTimedelta()),
        )
        if self.dialect == NEWEST:
            features.enable_node_audit_skip = spec.features.enable_node_audit_skip
            if self._has_discovery_choice():
                features.disable_public_discovery_service = spec.features.disable_public_discovery_service
        kubernetes = models.Kubernetes(
            f"v{spec.kubernetes_version}",
            manifests=_sorted(self._of(_MANIFESTS), _manifest),
            healthchecks=_sorted(checks.get(("", ""), []), _check),
        )
        return models.Cluster(
            resource.id,
            kubernetes=kubernetes,
            talos=models.Talos(f"v{spec.talos_version}"),
            features=features,
            patches=_sorted(patches.get(("", ""), []), _patch),
            system_extensions=_extensions(extensions.get(("", ""), [])),
            labels=labels,
            annotations=annotations,
        )

    def _has_discovery_choice(self) -> bool:
        """Tell whether the cluster began with a Talos that lets the public discovery service be switched off."""
        status = self.by_id.get((_STATUSES, self.cluster))
        version = "" if status is None else str(status.spec.initial_talos_version)
        try:
            return not parse_version(version).before(1, 14, 0)
        except VersionRefused:
            return False

    @staticmethod
    def _machine_set(resource: _AnyResource, nodes: Sequence[_AnyResource]) -> models.MachineSet:
        control_plane = ids.ROLE_CONTROL_PLANE in resource.labels
        worker = ids.ROLE_WORKER in resource.labels
        if not control_plane and not worker:
            raise _fail(f"machine set {go_quote(resource.id)} has no role label")
        spec = resource.spec
        model: models.MachineSet = models.ControlPlane() if control_plane else models.Workers()
        cluster = resource.labels.get(ids.CLUSTER, "")
        if worker and resource.id != f"{cluster}-workers":
            model.name = resource.id.removeprefix(f"{cluster}-")
        model.labels, model.annotations = _descriptors(resource)
        if spec.HasField("bootstrap_spec"):
            model.bootstrap_spec = models.BootstrapSpec(spec.bootstrap_spec.cluster_uuid, spec.bootstrap_spec.snapshot)
        allocation = _allocation(spec)
        if allocation is None:
            model.machines = sorted((node.id for node in nodes), key=str.encode)
        else:
            size: Any = "Unlimited" if allocation.allocation_type else allocation.machine_count
            model.machine_class = models.MachineClass(allocation.name, size)
        model.update_strategy = _strategy(spec, "update", _ROLLING, bare=not control_plane)
        model.delete_strategy = _strategy(spec, "delete", 0, bare=not control_plane)
        model.upgrade_strategy = _strategy(spec, "upgrade", 0, bare=True)
        return model

    def _machine(self, node: _AnyResource) -> models.Machine:
        labels, annotations = _descriptors(node)
        install = models.Install(self.disks.get(node.id, ""))
        disk = self.by_id.get((_DISKS, node.id))
        if self.dialect == NEWEST and disk is not None:
            install = models.Install(disk.spec.disk, disk.spec.disk_selector)
        machine = models.Machine(
            node.id, locked=ids.LOCKED in node.annotations, install=install, labels=labels, annotations=annotations
        )
        if self.with_kernel_args:
            args = self.by_id.get((_KERNEL_ARGS, node.id))
            machine.kernel_args = [] if args is None else list(args.spec.args)
        return machine


def _allocation(spec: Any) -> Any:
    """Return what a set picks machines by, in its newer or its older field."""
    for name in ("machine_allocation", "machine_class"):
        if spec.HasField(name):
            return getattr(spec, name)
    return None


def _strategy(spec: Any, name: str, default: int, *, bare: bool) -> models.Strategy | None:
    """Return a strategy; `bare` ones without a configuration too, which omnictl loses."""
    kind: int = getattr(spec, f"{name}_strategy")
    configured: bool = spec.HasField(f"{name}_strategy_config")
    if not configured and (kind == default or not bare):
        return None
    strategy = models.Strategy()
    if kind != default:
        strategy.type = cast("models.StrategyType", _STRATEGIES.get(kind, "Unset"))
    if configured:
        config = getattr(spec, f"{name}_strategy_config")
        if config.HasField("rolling"):
            strategy.rolling = models.Rolling(config.rolling.max_parallelism)
    return strategy


def _descriptors(resource: _AnyResource) -> tuple[dict[str, str], dict[str, str]]:
    labels, annotations = (
        {key: values[key] for key in values if not key.startswith(ids.PREFIX)}
        for values in (resource.labels, resource.annotations)
    )
    return labels, annotations


def _sorted(resources: Iterable[_AnyResource], make: Callable[[_AnyResource], _ModelT]) -> list[_ModelT]:
    return [make(one) for one in sorted(resources, key=lambda one: one.id.encode())]


def _patch(resource: _AnyResource) -> models.Patch:
    labels, annotations = _descriptors(resource)
    return models.Patch(inline=str(resource.spec.data), id_override=resource.id, labels=labels, annotations=annotations)


def _manifest(resource: _AnyResource) -> models.Manifest:
    labels, annotations = _descriptors(resource)
    name = annotations.pop(ids.NAME, None)
    if name is None:
        raise _fail(f"manifest {go_quote(resource.id)} has no name annotation")
    mode: Any = _MODES.get(resource.spec.mode, "")
    return models.Manifest(name, mode, str(resource.spec.data), labels=labels, annotations=annotations)


def _check(resource: _AnyResource) -> models.HealthCheck:
    labels, annotations = _descriptors(resource)
    spec = resource.spec
    return models.HealthCheck(
        job=str(spec.job) if spec.job else None,
        interval=spec.interval.ToTimedelta(),
        id_override=resource.id,
        labels=labels,
        annotations=annotations,
    )


def _extensions(resources: Sequence[_AnyResource]) -> list[str] | None:
    return list(resources[0].spec.extensions) if resources else None
