"""A server's resources as the files of a fleet: a template for each cluster, a document for everything else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from omniherd.resource import Phase, Resource
from omniherd.template import ids, models
from omniherd.template.exporting import EXPORTED_TYPES
from omniherd.template.fleet import RESOURCE_ORDER
from omniherd.template.language import OLDEST
from omniherd.template.rendering import spec_mapping
from omniherd.template.template import Template, export

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CLUSTER_TYPES", "SECRET_TYPES", "FleetExport", "export_fleet", "resource_text"]

AnyResource: TypeAlias = Resource[Any]

_CLUSTERS = "Clusters.omni.sidero.dev"
_KERNEL_ARGS = "KernelArgs.omni.sidero.dev"

CLUSTER_TYPES = (_CLUSTERS, *EXPORTED_TYPES)
"""The types that templates are made of."""
SECRET_TYPES = frozenset(("EtcdBackupS3Configs.omni.sidero.dev", "InfraMachineBMCConfigs.omni.sidero.dev"))
"""The types that hold nothing but credentials."""


@dataclass
class FleetExport:
    """The files of a fleet.

    Attributes:
        templates: The clusters' templates, by name.
        resources: What belongs to no cluster, by type and id.
        unreadable: Types that the caller may not read.
    """

    templates: list[Template] = field(default_factory=list[Template])
    resources: list[AnyResource] = field(default_factory=list[AnyResource])
    unreadable: list[str] = field(default_factory=list[str])

    def files(self) -> dict[str, str]:
        """Return the texts of the files by their paths, in order. The same resources make the same files."""
        found = {f"clusters/{_file_name(one.cluster.name)}": one.to_yaml() for one in self.templates}
        found |= {f"{_folder(one.type)}/{_file_name(one.id)}": resource_text(one) for one in self.resources}
        return dict(sorted(found.items()))


def export_fleet(resources: Iterable[AnyResource], *, dialect: str = OLDEST) -> FleetExport:
    """Turn the resources that people manage into the files of a fleet.

    What controllers made is left out. Kernel arguments go into the template of the machine's cluster when a template
    brought them, and stand by themselves otherwise.

    Args:
        resources: The resources, in any order; others may be among them.
        dialect: The version of the language.

    Raises:
        TemplateError: A cluster's resources make no valid template.
    """
    theirs = [one for one in resources if _is_made_by_people(one)]
    names = sorted((one.id for one in theirs if one.type == _CLUSTERS), key=str.encode)
    args = {
        one.id: list(one.spec.args) for one in theirs if one.type == _KERNEL_ARGS and ids.MANAGED in one.annotations
    }
    found = FleetExport()
    written: set[str] = set()
    for name in names:
        template = export(theirs, name, dialect=dialect)
        for document in template.documents:
            if isinstance(document, models.Machine) and document.name in args:
                document.kernel_args = args[document.name]
                written.add(document.name)
        found.templates.append(template)
    kept = [
        one
        for one in theirs
        if one.type in RESOURCE_ORDER
        and one.labels.get(ids.CLUSTER) not in names
        and not (one.type == _KERNEL_ARGS and one.id in written)
    ]
    found.resources = sorted(kept, key=lambda one: (one.type, one.namespace, one.id.encode()))
    return found


def resource_text(resource: AnyResource) -> str:
    """Return a resource as a document for `apply`, without what the server keeps about it.

    Args:
        resource: The resource.
    """
    from omniherd.yamlform import dump

    metadata: dict[str, Any] = {"namespace": resource.namespace, "type": resource.type, "id": resource.id}
    for name in ("labels", "annotations"):
        values = getattr(resource, name)
        if values:
            metadata[name] = {key: values[key] for key in sorted(values, key=str.encode)}
    spec = {key: value for key, value in spec_mapping(resource).items() if not (key == "compresseddata" and not value)}
    return dump({"metadata": metadata, "spec": spec}, indent=2, sort=False)


def _is_made_by_people(resource: AnyResource) -> bool:
    return (
        not resource.owner and resource.phase == Phase.RUNNING and ids.MANAGED_BY_NODE_CONTROLLER not in resource.labels
    )


def _folder(type_name: str) -> str:
    """Return `machine-classes` for `MachineClasses.omni.sidero.dev`."""
    kind = type_name.partition(".")[0]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", kind).lower()


def _file_name(ident: str) -> str:
    # An id may hold a slash, and may begin with a dot, which would hide the file.
    text = quote(ident, safe="@:+ ")
    return f"{'%2E' + text[1:] if text.startswith('.') else text}.yaml"
