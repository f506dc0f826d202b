"""Resources as documents: one mapping with `metadata` and `spec`, as omnictl prints and reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from omniherd.errors import YAMLError
from omniherd.yamlform.emit import dump, literal_block, may_be_simple_key
from omniherd.yamlform.goyaml import compose_all, construct, load
from omniherd.yamlform.scalars import quote_unprotected
from omniherd.yamlform.specform import spec_from_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from omniherd.resource import Resource
    from omniherd.wire import cosi_resource

__all__ = [
    "dump_spec_mapping",
    "load_spec_mapping",
    "metadata_pair",
    "metadata_text",
    "read_document",
    "render_document",
    "render_resource",
    "resource_from_yaml",
    "resource_to_dict",
    "resources_from_yaml",
    "typed_object",
]

_ZERO_SECONDS = -62135596800
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# yaml.Node's kinds, as Go's error texts name them.
_KINDS = {"mapping": 4, "sequence": 2, "scalar": 8}


def render_resource(resource: Resource[Any]) -> str:
    """Return a resource as one YAML document, to the byte as omnictl prints it.

    Label and annotation values are written without protection, as omnictl does: the label `"10"` shows as `10`.
    """
    return render_document(resource.metadata.proto, resource.yaml_spec)


def render_document(metadata: cosi_resource.Metadata, yaml_spec: str) -> str:
    """Return metadata and the text of a spec as one YAML document.

    Args:
        metadata: The metadata's message.
        yaml_spec: The spec in Omni's YAML form, indented by four as the server sends it.
    """
    lines = ["metadata:"]
    fields = (
        ("namespace", metadata.namespace),
        ("type", metadata.type),
        ("id", metadata.id),
        ("version", metadata.version or "undefined"),
        ("owner", metadata.owner),
        ("phase", metadata.phase),
        ("created", _time_text(metadata, "created")),
        ("updated", _time_text(metadata, "updated")),
    )
    lines += [metadata_pair(key, value, 4) for key, value in fields]
    for name in ("labels", "annotations"):
        values: Mapping[str, str] = getattr(metadata, name)
        if values:
            lines.append(f"    {name}:")
            lines += [metadata_pair(key, values[key], 8) for key in sorted(values, key=str.encode)]
    if metadata.finalizers:
        lines.append("    finalizers:")
        lines += [f"        - {metadata_text(name, 8)}".rstrip() for name in metadata.finalizers]
    text = yaml_spec.strip("\n") if yaml_spec else "{}"
    if text.startswith(("{", "[")) or text in {"null", ""}:
        lines.append(f"spec: {text or '{}'}")
    else:
        lines.append("spec:")
        # A shift by a whole step keeps every column where Go would put it.
        body = yaml_spec.removesuffix("\n").split("\n")
        lines += [f"    {line}" if line else "" for line in body]
    return "\n".join(lines) + "\n"


def metadata_pair(key: str, value: str, column: int, indent: int = 4) -> str:
    """Return a line of metadata, or more where the key is too long or the value has lines.

    Args:
        key: The key.
        value: Its value.
        column: Where the key stands.
        indent: The document's indent.
    """
    pad = " " * column
    shown = metadata_text(key, column, indent) or "''"
    before = f"{pad}{shown}" if may_be_simple_key(key) else f"{pad}? {shown}\n{pad}"
    return f"{before}: {metadata_text(value, column, indent)}".rstrip(" ")


def metadata_text(text: str, column: int, indent: int = 4) -> str:
    """Return a key, value or item of metadata; the arguments are those of `metadata_pair`."""
    shown = quote_unprotected(text, column)
    return literal_block(text, column + indent, indent) if shown.startswith("|") and "\n" in text else shown


def _time_text(metadata: cosi_resource.Metadata, field: str) -> str:
    seconds: int = getattr(metadata, field).seconds
    if not _ZERO_SECONDS <= seconds < 253402300800:
        seconds = _ZERO_SECONDS
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}Z"


def resource_to_dict(resource: Resource[Any]) -> dict[str, Any]:
    """Return a resource as plain values: names, labels and annotations as text, the spec in Omni's YAML form."""
    metadata = resource.metadata.proto
    shown: dict[str, Any] = {
        "namespace": metadata.namespace,
        "type": metadata.type,
        "id": metadata.id,
        "version": metadata.version or "undefined",
        "owner": metadata.owner,
        "phase": metadata.phase,
        "created": _time_text(metadata, "created"),
        "updated": _time_text(metadata, "updated"),
    }
    for name in ("labels", "annotations"):
        if getattr(metadata, name):
            shown[name] = dict(sorted(getattr(metadata, name).items()))
    if metadata.finalizers:
        shown["finalizers"] = list(metadata.finalizers)
    return {"metadata": shown, "spec": load_spec_mapping(resource.yaml_spec)}


def typed_object(document: str) -> Any:
    """Return what omnictl's JSON and JSONPath output is made from: the printed YAML, read back.

    Label values that look like numbers, booleans or times have become such.

    Args:
        document: What `render_resource` returned.
    """
    return load(document)


def load_spec_mapping(text: str) -> dict[str, Any]:
    """Return a spec in Omni's YAML form as a mapping.

    Raises:
        YAMLError: The text is no mapping.
    """
    value = load(text)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise YAMLError(f"a spec is a mapping, not {type(value).__name__}")
    return cast("dict[str, Any]", value)


def dump_spec_mapping(value: Mapping[str, Any]) -> str:
    """Return a mapping as the text of a spec, keys sorted."""
    return dump(value)


def resource_from_yaml(text: str) -> Resource[Any]:
    """Read a resource from a text that holds one document.

    Raises:
        YAMLError: There is no document or more than one, or it is no resource; see `read_document`.
    """
    found = list(resources_from_yaml(text))
    if len(found) != 1:
        raise YAMLError(f"expected one YAML document, got {len(found)}")
    return found[0]


def resources_from_yaml(text: str) -> Iterator[Resource[Any]]:
    """Yield the resource of each document of a stream; empty documents are passed over.

    Raises:
        YAMLError: A document is no resource; see `read_document`.
    """
    node: Any
    for node in compose_all(text):
        if node.id == "scalar" and not node.value:
            continue
        yield read_document(node)


def read_document(node: Any) -> Resource[Any]:
    """Read a resource from the node of a document, with the rules and texts of COSI's reader.

    Args:
        node: A node from `omniherd.yamlform.goyaml.compose_all`.

    Raises:
        YAMLError: It is no mapping of exactly `metadata` and `spec`, or a value does not fit its place.
    """
    from omniherd._core.pool import message
    from omniherd.resource import class_for_type

    if node.id != "mapping":
        raise _fail(node, f"expected mapping node, got {_KINDS[node.id]}", place=False)
    if len(node.value) != 2:
        raise _fail(node, f"expected 4 elements node, got {2 * len(node.value)}", place=False)
    parts: dict[str, Any] = {}
    for key, value in node.value:
        if key.id != "scalar":
            raise _fail(key, f"expected scalar node, got {_KINDS[key.id]}", place=False)
        if value.id != "mapping":
            raise _fail(value, f"expected mapping node, got {_KINDS[value.id]}", place=False)
        if key.value not in {"metadata", "spec"}:
            raise _fail(key, f"unexpected key {key.value}", place=False)
        parts[key.value] = value
    if len(parts) != 2:
        raise _fail(node, "metadata or spec node is missing", place=False)
    fields = _metadata(parts["metadata"])
    kind = class_for_type(fields.pop("type", ""))
    if not kind.type_name:
        raise _fail(parts["metadata"], "the resource has no type", place=False)
    resource = kind(
        fields.pop("id", ""),
        namespace=fields.pop("namespace", ""),
        labels=fields.pop("labels", None),
        annotations=fields.pop("annotations", None),
        finalizers=fields.pop("finalizers", None),
    )
    proto = resource.metadata.proto
    for name, value in fields.items():
        if name in {"created", "updated"}:
            stamp = getattr(proto, name)
            stamp.seconds, stamp.nanos = value
        else:
            setattr(proto, name, value)
    if kind.info is not None and kind.info.spec is not None:
        values = construct(parts["spec"], source=True)
        resource.spec = spec_from_mapping(values, message(kind.info.spec), kind.type_name)
    elif kind.info is None or parts["spec"].value:
        resource.spec = construct(parts["spec"])
    return resource


def _fail(node: Any, text: str, *, place: bool = True) -> YAMLError:
    line, column = int(node.start_mark.line) + 1, int(node.start_mark.column) + 1
    return YAMLError(f"{line}:{column} {text}" if place else text, details={"line": line, "column": column})


def _text(node: Any) -> str:
    if node.id != "scalar":
        raise _fail(node, f"expected scalar node, got {_KINDS[node.id]}")
    return str(node.value)


def _metadata(node: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key_node, value in node.value:
        name = _text(key_node)
        if name in {"namespace", "type", "id", "owner"}:
            fields[name] = _text(value)
        elif name == "version":
            fields[name] = _version(value)
        elif name == "phase":
            phase = _text(value)
            if phase not in {"running", "tearingDown"}:
                raise _fail(value, f"failed to parse resource.Phase unknown phase: {phase}")
            fields[name] = phase
        elif name in {"created", "updated"}:
            fields[name] = _moment(value)
        elif name == "finalizers":
            if value.id != "sequence":
                raise _fail(value, f"expected sequence node, got {_KINDS[value.id]}")
            fields[name] = [_text(item) for item in value.value]
        elif name in {"labels", "annotations"}:
            if value.id != "mapping":
                raise _fail(value, f"expected mapping node, got {_KINDS[value.id]}")
            fields[name] = {_text(key): _text(item) for key, item in value.value}
    return fields


def _version(node: Any) -> str:
    text = _text(node)
    if text == "undefined":
        return text
    try:
        number = int(text) if text.isascii() and text.isdigit() else -1
    except ValueError:
        number = -1
    if number < 0:
        raise _fail(node, f'failed to parse resource.Version strconv.ParseInt: parsing "{text}": invalid syntax')
    return str(number)


def _moment(node: Any) -> tuple[int, int]:
    text = _text(node)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text:
        raise _fail(node, f"failed to parse time.Time {text!r} is no time such as 2026-11-24T08:00:00Z")
    delta = moment - _EPOCH
    return delta.days * 86400 + delta.seconds, delta.microseconds * 1000
