"""Folders of files: templates, overlays and plain resources, read together and checked together."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from omniherd._core.files import reason, yaml_files
from omniherd.errors import InputError, YAMLError
from omniherd.resource import Resource
from omniherd.template import ids, models
from omniherd.template.documents import Source
from omniherd.template.files import Files
from omniherd.template.language import KINDS
from omniherd.template.overlays import KIND, base_of
from omniherd.template.problems import Problem, TemplateError
from omniherd.template.template import Template, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from omniherd.template.loading import Dialect

__all__ = ["RESOURCE_ORDER", "Fleet", "ResourceFile", "read_fleet"]

AnyResource: TypeAlias = Resource[Any]

RESOURCE_ORDER = (
    "AccessPolicies.omni.sidero.dev",
    "SAMLLabelRules.omni.sidero.dev",
    "EtcdBackupS3Configs.omni.sidero.dev",
    "InfraProviders.omni.sidero.dev",
    "MachineClasses.omni.sidero.dev",
    "InstallationMediaConfigs.omni.sidero.dev",
    "MachineRequestSets.omni.sidero.dev",
    "InfraMachineConfigs.omni.sidero.dev",
    "InfraMachineBMCConfigs.omni.sidero.dev",
    "GRPCTunnelConfigs.omni.sidero.dev",
    "MachineLabels.omni.sidero.dev",
    "KernelArgs.omni.sidero.dev",
    "MachineInstallDiskConfigs.omni.sidero.dev",
    "ExtensionsConfigurations.omni.sidero.dev",
    "ConfigPatches.omni.sidero.dev",
)
"""The types that people manage beside clusters, each before what may need it."""


@dataclass(frozen=True)
class ResourceFile:
    """A plain resource and the file that it came from.

    Attributes:
        resource: The resource.
        file: The file's name.
    """

    resource: AnyResource
    file: str


@dataclass
class Fleet:
    """What the files of a fleet say.

    Attributes:
        templates: Its clusters.
        resources: What is not of a cluster, in the order in which it is to be created.
        unused: YAML files that are neither, and that no template names.
    """

    templates: list[Template] = field(default_factory=list[Template])
    resources: list[ResourceFile] = field(default_factory=list[ResourceFile])
    unused: list[str] = field(default_factory=list[str])

    def problems(self, *, strict: bool = False) -> list[Problem]:
        """Return everything that is wrong, in all files.

        Args:
            strict: See `Template.validate`.
        """
        found = [problem for one in self.templates for problem in one.problems(strict=strict)]
        clusters: dict[str, str] = {}
        machines: dict[str, str] = {}
        for template in self.templates:
            name = ""
            for document in template.documents:
                if isinstance(document, models.Cluster):
                    name = document.name
                    other = clusters.setdefault(name, template.name)
                    if other != template.name:
                        found.append(_at(document, "name", f'cluster "{name}" stands in {other} too', template))
            for document in template.documents:
                for machine in document.machines if isinstance(document, models.MachineSet) else ():
                    other = machines.setdefault(machine, name)
                    if other != name:
                        text = f'machine "{machine}" is in cluster "{other}" too'
                        found.append(_at(document, "machines", text, template))
        seen: dict[tuple[str, str, str], str] = {}
        for one in self.resources:
            resource = one.resource
            shown = f"{resource.type}({resource.namespace}/{resource.id})"
            if resource.key in seen:
                found.append(Problem(f"{shown} stands in {seen[resource.key]} too", one.file))
            seen[resource.key] = one.file
            owner = resource.labels.get(ids.CLUSTER, "")
            if owner in clusters:
                text = f'{shown} belongs to cluster "{owner}", whose template would remove it'
                found.append(Problem(f"{text}: write it into {clusters[owner]}", one.file))
        return found

    def validate(self, *, strict: bool = False) -> None:
        """Check everything.

        Args:
            strict: See `Template.validate`.

        Raises:
            TemplateError: Something is not valid; `problems` has every finding.
        """
        found = self.problems(strict=strict)
        if found:
            raise _listed(found, "validating")


def read_fleet(
    paths: Iterable[str | Path], *, allowed_dir: str | Path | None = None, dialect: Dialect = "1.9"
) -> Fleet:
    """Read templates, overlays and plain resources.

    Args:
        paths: Files, and folders, of which every YAML file is looked at, apart from hidden ones. Of a folder what is
            neither a template nor a resource is passed over.
        allowed_dir: The folder that files which templates name must lie in; by default the folder that was given, and
            for a file its own.
        dialect: The version of the language.

    Returns:
        What the files say; it may still be invalid, see `Fleet.validate`.

    Raises:
        InputError: A path is not there, or a folder holds nothing.
        TemplateError: Files cannot be read as what they are; `problems` has every finding.
    """
    reading = _Reading(dialect)
    for path in paths:
        name = os.fspath(path)
        if Path(name).is_dir():
            found = [one for one in yaml_files(name) if not _hidden(one, name)]
            if not found:
                raise InputError(f'no YAML files found in directory "{name}"')
            reading.look_at(found, name if allowed_dir is None else allowed_dir, given=False)
        else:
            allowed = Path(name).parent if allowed_dir is None else allowed_dir
            reading.look_at([name], allowed, given=True)
    return reading.fleet()


def _at(element: models.Element, key: str, text: str, template: Template) -> Problem:
    place = element.place(key)
    return Problem(text, place.file or template.name, place.line, place.column)


def _hidden(path: str, folder: str) -> bool:
    return any(part.startswith(".") for part in Path(os.path.relpath(path, folder)).parts)


def _listed(problems: Sequence[Problem], stage: str) -> TemplateError:
    text = "\n".join(str(one).rstrip() for one in problems)
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    return TemplateError(f"{count} in the files:\n{text}", problems=problems, stage=stage)


class _Reading:
    """Files sorted by what they are."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect: Dialect = dialect
        self._templates: dict[str, Files] = {}
        self._resources: list[str] = []
        self._others: list[str] = []
        self._bases: set[str] = set()
        self._problems: list[Problem] = []

    def look_at(self, paths: Sequence[str], allowed: str | Path, *, given: bool) -> None:
        """Sort files; one that was given by its name must be something."""
        for path in paths:
            kind = self._kind(path)
            if kind == "resource":
                self._resources.append(path)
            elif kind == "template" or (given and kind == "other"):
                self._templates[path] = Files(str(Path(path).parent), os.path.normpath(allowed))
            elif kind == "other":
                self._others.append(path)

    def _kind(self, path: str) -> str:
        try:
            source = Source(Path(path).read_bytes(), path)
        except OSError as error:
            raise InputError(f"open {path}: {reason(error)}") from None
        found = ""
        try:
            for document in source.documents():
                keys = {
                    key.value: value
                    for key, value in (document.node.value if document.node.id == "mapping" else ())
                    if key.id == "scalar"
                }
                kind = keys["kind"].value if "kind" in keys else None
                if kind == KIND and not found:
                    base = base_of(document)
                    self._bases.add(os.path.realpath(Path(path).parent / base))
                    return "template"
                if isinstance(kind, str) and kind in KINDS and "apiVersion" not in keys:
                    return "template"
                found = "resource" if {"metadata", "spec"} <= keys.keys() and "apiVersion" not in keys else found
        except YAMLError:
            # Reading it as what it looks like most says what is wrong with it.
            return "template"
        return found or "other"

    def fleet(self) -> Fleet:
        fleet = Fleet()
        named: set[str] = set()
        for path, files in self._templates.items():
            if os.path.realpath(path) in self._bases:
                continue
            try:
                template = load(
                    path, allowed_dir=os.path.relpath(files.allowed or ".", files.folder), dialect=self._dialect
                )
            except TemplateError as error:
                self._problems += [one if one.file else Problem(one.text, path) for one in error.problems]
                continue
            fleet.templates.append(template)
            named.update(os.path.realpath(Path(files.folder) / name) for name in _named_files(template))
        for path in self._resources:
            if os.path.realpath(path) not in named:
                fleet.resources += self._read(path)
        if self._problems:
            # Whoever mends the one wants to know the others, too.
            raise _listed([*self._problems, *fleet.problems()], "loading")
        fleet.resources.sort(key=lambda one: _rank(one.resource))
        fleet.unused = [path for path in self._others if os.path.realpath(path) not in named]
        return fleet

    def _read(self, path: str) -> Iterator[ResourceFile]:
        from omniherd.yamlform import resources_from_yaml

        try:
            text = Path(path).read_bytes().decode("utf-8-sig")
            for resource in resources_from_yaml(text):
                yield ResourceFile(resource, path)
        except UnicodeDecodeError as error:
            self._problems.append(Problem(f"the file is no UTF-8 text: byte {error.start}", path))
        except YAMLError as error:
            line, column = int(error.details.get("line", 0)), int(error.details.get("column", 0))
            self._problems.append(Problem(error.message, path, line, column))


def _named_files(template: Template) -> Iterator[str]:
    for document in template.documents:
        elements: list[models.Patch | models.Manifest | models.HealthCheck] = list(document.patches)
        if isinstance(document, models.Cluster):
            elements += [*document.kubernetes.manifests, *document.kubernetes.healthchecks]
        yield from (one.file for one in elements if one.file)


def _rank(resource: AnyResource) -> int:
    """Return how early a resource comes; what belongs to a cluster comes last."""
    known = RESOURCE_ORDER.index(resource.type) if resource.type in RESOURCE_ORDER else len(RESOURCE_ORDER)
    return known + (len(RESOURCE_ORDER) + 1 if ids.CLUSTER in resource.labels else 0)
