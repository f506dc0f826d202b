"""A cluster template as a whole: loaded, built, checked, turned into resources and written."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omniherd.template import models
from omniherd.template.exporting import export_documents
from omniherd.template.files import Files
from omniherd.template.language import OLDEST
from omniherd.template.loading import Dialect, read_documents, read_file
from omniherd.template.planning import Plan, plan_delete, plan_sync
from omniherd.template.problems import Problem, TemplateError
from omniherd.template.rendering import render_resources
from omniherd.template.translation import Translation
from omniherd.template.validation import Rules
from omniherd.template.writing import write_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from omniherd.resource import Resource

__all__ = ["Template", "export", "load", "loads"]


@dataclass
class Template:
    """A cluster template.

    Attributes:
        documents: Its documents, in order.
        files: Where the files that it names are looked for, and where they may lie.
        dialect: The version of the language that it is read, checked and translated in: `"1.9"` or `"1.10"`.
        name: The file that it came from, empty when it came from elsewhere.

    Example:
        >>> from omniherd import template
        >>> lab = template.Template(
        ...     [
        ...         template.Cluster("lab", template.Kubernetes("v1.34.3"), template.Talos("v1.12.7")),
        ...         template.ControlPlane(machines=["11111111-1111-4111-8111-111111111111"]),
        ...     ]
        ... )
        >>> [resource.id for resource in lab.resources()]
        ['lab', 'lab-control-planes', '11111111-1111-4111-8111-111111111111']
    """

    documents: Sequence[models.Document]
    files: Files = field(default_factory=Files)
    dialect: str = OLDEST
    name: str = field(default="", compare=False)

    @property
    def cluster(self) -> models.Cluster:
        """The cluster's document.

        Raises:
            TemplateError: There is none.
        """
        for document in self.documents:
            if isinstance(document, models.Cluster):
                return document
        raise TemplateError("cluster model not found")

    def problems(self, *, strict: bool = False) -> list[Problem]:
        """Return everything that is wrong with the template; nothing when it is valid.

        Args:
            strict: Whether to find what omnictl lets through, too. See `validate`.
        """
        wrong = Rules(self.files, self.dialect, strict).check(self.documents)
        return [] if wrong is None else list(wrong.problems())

    def validate(self, *, strict: bool = False) -> None:
        """Check the template by omnictl's rules.

        Args:
            strict: Whether to find what omnictl finds only later or never: fields that Omni owns in later documents of
                a patch, and, when nothing else is wrong, resources of one id (a machine twice in a set, two documents
                for one set) and kernel arguments of the cluster together with a machine class.

        Raises:
            TemplateError: It is not valid; the text is omnictl's, `problems` has every finding with its place.
        """
        wrong = Rules(self.files, self.dialect, strict).check(self.documents)
        if wrong is not None:
            raise TemplateError(str(wrong), problems=list(wrong.problems()))

    def resources(self) -> list[Resource[Any]]:
        """Return the resources that the template stands for, in its order. It should be valid.

        Raises:
            TemplateError: Resources would have the same id, or a file cannot be read.
        """
        return Translation(self.documents, self.files, self.dialect).resources()

    def render(self, *, now: datetime | None = None) -> str:
        """Check the template and return its resources as YAML, as `omnictl cluster template render` prints them.

        Args:
            now: The time that is shown as created and updated; the zero time unless given.

        Raises:
            TemplateError: The template is not valid, or makes no resources.
        """
        self.validate()
        return render_resources(self.resources(), now=now, dialect=self.dialect)

    def to_yaml(self) -> str:
        """Return the template as the text of a file, keys in the order of omnictl's export.

        Raises:
            InputError: Inline content has no YAML form.
        """
        return write_documents(self.documents, self.dialect)

    def plan(self, world: Iterable[Resource[Any]]) -> Plan:
        """Plan what makes the world what the template says. Nothing is read or written.

        Args:
            world: The resources that are there: the cluster, those with its label, and whatever has an id that the
                template uses. Others may be among them.

        Raises:
            TemplateError: The template makes no resources, or they belong to another cluster or a controller.
        """
        return plan_sync(self.cluster.name, self.resources(), world, dialect=self.dialect)

    def plan_delete(self, world: Iterable[Resource[Any]]) -> Plan:
        """Plan what removes the template's cluster. Nothing is read or written.

        Args:
            world: The resources that are there; others may be among them.

        Raises:
            TemplateError: Resources belong to another cluster.
        """
        return plan_delete(self.cluster.name, world, dialect=self.dialect)


def load(path: str | Path, *, allowed_dir: str | Path | None = "./", dialect: Dialect = "1.9") -> Template:
    """Read a template file.

    Args:
        path: The file. Files that it names are looked for beside it.
        allowed_dir: The folder that those must lie in, relative to the template's; None allows all.
        dialect: The version of the language; `"auto"` reads the newer one where a template needs it.

    Raises:
        TemplateError: The file cannot be read, or is no template; `problems` has every finding with its place.
    """
    text, files = read_file(path, allowed_dir)
    name = os.fspath(path)
    documents, used = read_documents(text, name, dialect, files)
    return Template(documents, files, used, name)


def loads(
    text: str | bytes,
    *,
    folder: str | Path = ".",
    allowed_dir: str | Path | None = "./",
    dialect: Dialect = "1.9",
    name: str = "",
) -> Template:
    """Read a template from text.

    Args:
        text: The template.
        folder: Where files that it names are looked for.
        allowed_dir: The folder that those must lie in, relative to `folder`; None allows all.
        dialect: The version of the language; `"auto"` reads the newer one where a template needs it.
        name: What findings call the template.

    Raises:
        TemplateError: The text is no template; `problems` has every finding with its place.
    """
    files = Files.beside(folder, allowed_dir)
    documents, used = read_documents(text, name, dialect, files)
    return Template(documents, files, used, name)


def export(
    resources: Iterable[Resource[Any]], cluster: str, *, include_kernel_args: bool = False, dialect: str = OLDEST
) -> Template:
    """Turn the resources of a cluster into its template.

    Importing it again changes nothing, except that manifests made by hand are named anew.

    Args:
        resources: The cluster's resources, in any order; others may be among them.
        cluster: The cluster's id.
        include_kernel_args: Whether every machine gets its kernel arguments written, none included.
        dialect: The version of the language.

    Raises:
        TemplateError: The cluster is not there, its resources do not fit together, or what they make is not valid.
    """
    documents = export_documents(resources, cluster, include_kernel_args=include_kernel_args, dialect=dialect)
    template = Template(documents, Files(".", None), dialect)
    try:
        template.validate()
    except TemplateError as error:
        text = f"error validating models: {error}"
        raise TemplateError(text, problems=error.problems, stage="exporting") from None
    return template
