"""A template turned into resources: the ids, labels, annotations, specs and order that omnictl makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from omniherd.errors import InputError
from omniherd.resource import Resource
from omniherd.template import ids, models
from omniherd.template.files import FileRefused, Files
from omniherd.template.inline import inline_text
from omniherd.template.language import NEWEST, OLDEST
from omniherd.template.problems import Fault, TemplateError, bullets, fault, go_quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AnyResource", "Translation"]

AnyResource: TypeAlias = Resource[Any]

_WEIGHT_CLUSTER = 200
_WEIGHT_SET = 400
_MODES = {"full": 1, "one-time": 2}
_STRATEGIES = {"Unset": 0, "Rolling": 1}
_ROLLING = 1
_WITHOUT_CLUSTER = frozenset(
    ("Clusters.omni.sidero.dev", "KernelArgs.omni.sidero.dev", "MachineInstallDiskConfigs.omni.sidero.dev")
)


class _Refused(Exception):
    def __init__(self, text: str, element: models.Element) -> None:
        super().__init__(text)
        self.fault = fault(text, element.place())


_Described: TypeAlias = (
    models.Cluster | models.MachineSet | models.Machine | models.Patch | models.Manifest | models.HealthCheck
)


def _describe(resource: AnyResource, element: _Described) -> AnyResource:
    resource.labels.update(element.labels)
    resource.annotations.update(element.annotations)
    return resource


@dataclass
class Translation:
    """Makes the resources of a template.

    Attributes:
        documents: The template.
        files: Where its files are.
        dialect: The version of the language.
    """

    documents: Sequence[models.Document]
    files: Files
    dialect: str = OLDEST
    _cluster: str = field(default="", init=False)
    _cluster_args: list[str] | None = field(default=None, init=False)
    _machines: dict[str, models.Machine] = field(default_factory=dict[str, models.Machine], init=False)
    _locked: set[str] = field(default_factory=set[str], init=False)
    _set_args: dict[str, list[str] | None] = field(default_factory=dict[str, "list[str] | None"], init=False)

    def resources(self) -> list[AnyResource]:
        """Return the resources, in the order of the template.

        Raises:
            TemplateError: Two resources have one id, a file cannot be read, kernel arguments of the cluster meet a
                machine class.
        """
        found, wrong = self._make()
        if wrong:
            tree = bullets(wrong)
            raise TemplateError(str(tree), problems=list(tree.problems()), stage="rendering")
        return found

    def faults(self) -> list[Fault]:
        """Return what stands in the way of making the resources, nothing when they can be made."""
        return self._make()[1]

    def _make(self) -> tuple[list[AnyResource], list[Fault]]:
        self._collect()
        found: list[AnyResource] = []
        wrong: list[Fault] = []
        places: list[models.Document] = []
        for document in self.documents:
            try:
                made = self._document(document)
            except _Refused as error:
                wrong.append(error.fault)
                continue
            found += made
            places += [document] * len(made)
        seen: set[tuple[str, str, str]] = set()
        for resource, document in zip(found, places, strict=True):
            shown = f"{resource.type}({resource.namespace}/{resource.id})"
            if resource.key in seen:
                wrong.append(fault(f"resource ID duplicate {shown}", document.place()))
            seen.add(resource.key)
            if resource.type not in _WITHOUT_CLUSTER and resource.labels.get(ids.CLUSTER, "") != self._cluster:
                wrong.append(fault(f"resource {go_quote(resource.id)} is missing cluster label", document.place()))
        return found, wrong

    def _collect(self) -> None:
        """Note down what documents say of each other's machines."""
        self._cluster, self._cluster_args = "", None
        self._machines, self._locked, self._set_args = {}, set(), {}
        for document in self.documents:
            if isinstance(document, models.Cluster):
                self._cluster, self._cluster_args = document.name, document.kernel_args
            elif isinstance(document, models.Machine):
                self._machines[document.name] = document
                if document.locked:
                    self._locked.add(document.name)
            else:
                self._set_args.update(dict.fromkeys(document.machines, document.kernel_args))

    def _document(self, document: models.Document) -> list[AnyResource]:
        if isinstance(document, models.Cluster):
            return self._cluster_resources(document)
        if isinstance(document, models.Machine):
            return self._machine(document)
        return self._machine_set(document)

    # --- documents ------------------------------------------------------------------------------------------------

    def _cluster_resources(self, cluster: models.Cluster) -> list[AnyResource]:
        from omniherd.resources import Cluster
        from omniherd.wire import specs

        features = cluster.features
        spec = specs.ClusterSpec(
            kubernetes_version=cluster.kubernetes.version.lstrip("v"),
            talos_version=cluster.talos.version.lstrip("v"),
        )
        spec.features.SetInParent()
        spec.features.enable_workload_proxy = features.enable_workload_proxy
        spec.features.disk_encryption = features.disk_encryption
        spec.features.use_embedded_discovery_service = features.use_embedded_discovery_service
        if self.dialect == NEWEST:
            spec.features.enable_node_audit_skip = features.enable_node_audit_skip
            spec.features.disable_public_discovery_service = bool(features.disable_public_discovery_service)
        interval = features.backup_configuration.interval
        if interval.total_seconds() > 0:
            spec.backup_configuration.interval.FromTimedelta(interval)
            spec.backup_configuration.enabled = True
        resource = Cluster(cluster.name, annotations={ids.MANAGED: ""}, spec=spec)
        labels = {ids.CLUSTER: cluster.name}
        prefix = f"cluster-{cluster.name}"
        found: list[AnyResource] = [_describe(resource, cluster)]
        found += self._patches(cluster.patches, prefix, _WEIGHT_CLUSTER, labels)
        for index, manifest in enumerate(cluster.kubernetes.manifests):
            found.append(self._manifest(manifest, f"{_WEIGHT_CLUSTER + index:03d}-{prefix}", labels))
        found += [self._health_check(check, prefix, labels) for check in cluster.kubernetes.healthchecks]
        return found + self._extensions(cluster.system_extensions, cluster.name, labels)

    def _machine_set(self, machine_set: models.MachineSet) -> list[AnyResource]:
        from omniherd.resources import MachineSet, MachineSetNode

        identity = ids.machine_set_id(self._cluster, machine_set)
        role = ids.ROLE_CONTROL_PLANE if isinstance(machine_set, models.ControlPlane) else ids.ROLE_WORKER
        of_cluster = {ids.CLUSTER: self._cluster}
        of_set = {**of_cluster, ids.MACHINE_SET: identity}
        resource = MachineSet(identity, labels={**of_cluster, role: ""}, spec=self._set_spec(machine_set))
        found: list[AnyResource] = [_describe(resource, machine_set)]
        # A class takes the place of what is listed.
        for machine in machine_set.machines if machine_set.machine_class is None else ():
            node = MachineSetNode(machine, labels={**of_set, role: ""})
            document = self._machines.get(machine)
            if document is not None:
                _describe(node, document)
            if machine in self._locked:
                node.annotations[ids.LOCKED] = ""
            found.append(node)
            # With a document of its own the machine's arguments come there.
            if document is None:
                found += self._kernel_args(machine, machine_set.kernel_args, self._cluster_args)
        found += self._patches(machine_set.patches, identity, _WEIGHT_SET, of_set)
        return found + self._extensions(machine_set.system_extensions, identity, of_set)

    def _set_spec(self, machine_set: models.MachineSet) -> Any:
        from omniherd.wire import specs

        spec = specs.MachineSetSpec()
        spec.update_strategy = _ROLLING
        for name in ("update", "delete", "upgrade"):
            strategy: models.Strategy | None = getattr(machine_set, f"{name}_strategy")
            if strategy is None:
                continue
            if strategy.type is not None:
                setattr(spec, f"{name}_strategy", _STRATEGIES[strategy.type])
            if strategy.rolling is not None:
                config = getattr(spec, f"{name}_strategy_config")
                config.rolling.SetInParent()
                config.rolling.max_parallelism = strategy.rolling.max_parallelism
        if machine_set.bootstrap_spec is not None:
            spec.bootstrap_spec.SetInParent()
            spec.bootstrap_spec.cluster_uuid = machine_set.bootstrap_spec.cluster_uuid
            spec.bootstrap_spec.snapshot = machine_set.bootstrap_spec.snapshot
        allocation = machine_set.machine_class
        if allocation is not None:
            if self._cluster_args is not None:
                text = (
                    "kernelArgs cannot be defined at cluster level for this machine set since it uses a machine class"
                )
                raise _Refused(text, machine_set)
            spec.machine_allocation.SetInParent()
            spec.machine_allocation.name = allocation.name
            if allocation.size == "Unlimited":
                spec.machine_allocation.allocation_type = 1
            else:
                spec.machine_allocation.machine_count = allocation.size
        return spec

    def _machine(self, machine: models.Machine) -> list[AnyResource]:
        labels = {ids.CLUSTER: self._cluster, ids.CLUSTER_MACHINE: machine.name}
        prefix = f"cm-{machine.name}"
        found: list[AnyResource] = []
        install = machine.install
        if self.dialect == NEWEST:
            if install.disk or install.disk_selector:
                from omniherd.resources import MachineInstallDiskConfig

                spec = {"disk": install.disk, "disk_selector": install.disk_selector}
                found.append(MachineInstallDiskConfig(machine.name, annotations={ids.MANAGED: ""}, spec=spec))
        elif install.disk:
            disk = models.Patch("install-disk", inline={"machine": {"install": {"disk": install.disk}}})
            found += self._patches([disk], prefix, 0, {**labels, ids.SYSTEM_PATCH: ""})
        found += self._patches(machine.patches, prefix, _WEIGHT_SET, labels)
        found += self._kernel_args(
            machine.name, machine.kernel_args, self._set_args.get(machine.name), self._cluster_args
        )
        return found + self._extensions(machine.system_extensions, machine.name, labels)

    # --- what is in them ------------------------------------------------------------------------------------------

    def _patches(
        self, patches: Sequence[models.Patch], prefix: str, weight: int, labels: Mapping[str, str]
    ) -> list[AnyResource]:
        from omniherd.resources import ConfigPatch

        found: list[AnyResource] = []
        for index, patch in enumerate(patches):
            identity = patch.id_override or f"{weight + index:03d}-{prefix}-{patch.title}"
            data = self._content(patch.inline, patch.file, f"patch {go_quote(patch.title)}", patch)
            resource = ConfigPatch(identity, labels=labels, annotations={ids.NAME: patch.title}, spec={"data": data})
            found.append(_describe(resource, patch))
        return found

    def _manifest(self, manifest: models.Manifest, prefix: str, labels: Mapping[str, str]) -> AnyResource:
        from omniherd.resources import KubernetesManifestGroup

        title = manifest.title
        data = self._content(manifest.inline, manifest.file, f"manifest {go_quote(title)}", manifest)
        spec = {"data": data, "mode": _MODES.get(manifest.mode, 0)}
        resource = KubernetesManifestGroup(f"{prefix}-{title}", labels=labels, annotations={ids.NAME: title}, spec=spec)
        return _describe(resource, manifest)

    def _health_check(self, check: models.HealthCheck, prefix: str, labels: Mapping[str, str]) -> AnyResource:
        from omniherd.resources import KubernetesHealthCheck
        from omniherd.wire import specs

        spec = specs.KubernetesHealthCheckSpec()
        spec.job = self._content(check.job, check.file, f"healthcheck {go_quote(check.title)}", check)
        if check.interval.total_seconds() > 0:
            spec.interval.FromTimedelta(check.interval)
        identity = check.id_override or f"{prefix}-{check.name}"
        return _describe(KubernetesHealthCheck(identity, labels=labels, spec=spec), check)

    def _content(self, inline: models.Inline | None, file: str, what: str, element: models.Element) -> str:
        try:
            if file:
                return self.files.read(file).decode()
            return "" if inline is None else inline_text(inline)
        except (FileRefused, InputError) as error:
            raise _Refused(f"failed to read {what}: {error}", element) from None
        except UnicodeDecodeError as error:
            raise _Refused(f"failed to read {what}: {file} is not UTF-8 text: {error.reason}", element) from None

    @staticmethod
    def _extensions(extensions: list[str] | None, suffix: str, labels: Mapping[str, str]) -> list[AnyResource]:
        from omniherd.resources import ExtensionsConfiguration

        if extensions is None:
            return []
        spec = {"extensions": list(extensions)}
        return [ExtensionsConfiguration(f"schematic-{suffix}", labels=labels, spec=spec)]

    @staticmethod
    def _kernel_args(machine: str, *levels: list[str] | None) -> list[AnyResource]:
        from omniherd.resources import KernelArg

        for args in levels:
            if args is not None:
                return [KernelArg(machine, annotations={ids.MANAGED: ""}, spec={"args": list(args)})]
        return []
