"""Resources as `cluster template render` and `diff` print them: YAML with indent 2, or any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.gojson import time_text
from omniherd._core.shapes import is_mapping
from omniherd.template.language import NEWEST, OLDEST

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from omniherd.resource import Resource

__all__ = ["render_resource", "render_resources"]

_ZERO_TIME = "0001-01-01T00:00:00Z"


def render_resources(
    resources: Iterable[Resource[Any]], *, indent: int = 2, now: datetime | None = None, dialect: str = OLDEST
) -> str:
    """Return resources as one stream of YAML documents.

    Args:
        resources: The resources.
        indent: Columns for each level.
        now: What to show for times that are not set; the zero time unless given.
        dialect: The version of Omni whose fields are shown.
    """
    return "---\n".join(render_resource(one, indent=indent, now=now, dialect=dialect) for one in resources)


def render_resource(
    resource: Resource[Any], *, indent: int = 2, now: datetime | None = None, dialect: str = OLDEST
) -> str:
    """Return a resource as a YAML document.

    Args:
        resource: The resource.
        indent: Columns for each level.
        now: What to show for times that are not set; the zero time unless given.
        dialect: The version of Omni whose fields are shown.
    """
    from omniherd.yamlform.documents import metadata_pair, metadata_text
    from omniherd.yamlform.emit import dump

    metadata = resource.metadata
    unset = _ZERO_TIME if now is None else _seconds(now)
    pairs = [
        ("namespace", resource.namespace),
        ("type", resource.type),
        ("id", resource.id),
        ("version", "undefined" if metadata.version is None else str(metadata.version)),
        ("owner", metadata.owner),
        ("phase", str(metadata.phase)),
        ("created", unset if metadata.created is None else _seconds(metadata.created)),
        ("updated", unset if metadata.updated is None else _seconds(metadata.updated)),
    ]
    lines = ["metadata:", *(metadata_pair(key, value, indent, indent) for key, value in pairs)]
    for name, values in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        if values:
            lines.append(f"{' ' * indent}{name}:")
            # COSI keeps them in the order of their bytes.
            lines += [metadata_pair(key, values[key], 2 * indent, indent) for key in sorted(values, key=str.encode)]
    if metadata.finalizers:
        lines.append(f"{' ' * indent}finalizers:")
        pad = " " * (2 * indent)
        lines += [f"{pad}- {metadata_text(name, 2 * indent, indent)}".rstrip() for name in metadata.finalizers]
    return "\n".join(lines) + "\n" + dump({"spec": spec_mapping(resource, dialect)}, indent=indent, sort=False)


def spec_mapping(resource: Resource[Any], dialect: str = OLDEST) -> dict[str, Any]:
    """Return a resource's spec in Omni's YAML form, with what a newer version shows though it is not set."""
    from omniherd.yamlform import spec_to_mapping

    spec = resource.spec
    if spec is None:
        return {}
    if is_mapping(spec):
        return dict(spec)
    shown = spec_to_mapping(spec, resource.type)
    features = shown.get("features")
    if dialect == NEWEST and resource.type == "Clusters.omni.sidero.dev" and features is not None:
        features.setdefault("disablepublicdiscoveryservice", False)
    return shown


def _seconds(moment: datetime) -> str:
    return time_text(moment.replace(microsecond=0))
