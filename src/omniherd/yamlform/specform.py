"""Specs in Omni's YAML form: what `Resource.spec.yaml_spec` holds, `get -o yaml` prints and `apply` reads.

It is how Go's YAML library writes the generated Go struct of a spec: keys are field names in lower case without
underscores, enums are numbers, timestamps and durations are mappings of `seconds` and `nanos`, bytes are lists of
numbers, a message that is not set is null, and a oneof is a mapping under the name of its group. Everything is shown,
set or not. Three types have a form of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from omniherd._core.resource_table import NEWER_FIELDS
from omniherd._core.shapes import is_list
from omniherd._core.spec_mapping import is_repeated
from omniherd.errors import YAMLError
from omniherd.yamlform.goyaml import Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

__all__ = ["spec_from_mapping", "spec_from_yaml", "spec_to_mapping", "spec_to_yaml"]

_CLUSTER_MACHINES = "ClusterMachines.omni.sidero.dev"
_CONFIG_PATCHES = "ClusterMachineConfigPatches.omni.sidero.dev"
_DEFINITIONS = "ResourceDefinitions.meta.cosi.dev"
# Keys of a ResourceDefinition, in their order; `sensitivity` stands only when it is set.
_DEFINITION_KEYS = {
    "type": "resource_type",
    "displayType": "display_type",
    "defaultNamespace": "default_namespace",
    "aliases": "aliases",
    "allAliases": "all_aliases",
    "printColumns": "print_columns",
    "sensitivity": "sensitivity",
}
_SENSITIVITIES = ("", "sensitive")


def spec_to_yaml(message: Message, type_name: str = "") -> str:
    """Return a spec in Omni's YAML form, laid out as the server does.

    Args:
        message: The spec's message. Compressed fields that are still set show as empty.
        type_name: The resource type; three types have a form of their own.

    Example:
        >>> from omniherd.wire import specs
        >>> print(spec_to_yaml(specs.MachineClassSpec(match_labels=["site = lab"])), end="")
        matchlabels:
            - site = lab
        autoprovision: null
    """
    from omniherd.yamlform.emit import dump

    return dump(spec_to_mapping(message, type_name), sort=False)


def spec_to_mapping(message: Message, type_name: str = "") -> dict[str, Any]:
    """Return a spec in Omni's YAML form, as plain values in their order.

    Args:
        message: The spec's message.
        type_name: The resource type.
    """
    if type_name == _DEFINITIONS:
        return _definition(message)
    if type_name == _CLUSTER_MACHINES:
        return {"kubernetes_version": getattr(message, "kubernetes_version")}  # noqa: B009 - fields are not attributes of Message
    shown = _message(message)
    if type_name == _CONFIG_PATCHES:
        return {"patches": shown["patches"]}
    return shown


def spec_from_yaml(text: str, message_class: type[Message], type_name: str = "") -> Message:
    """Read a spec from Omni's YAML form.

    Args:
        text: One YAML document.
        message_class: The class of the spec's message.
        type_name: The resource type.

    Raises:
        YAMLError: The text is no YAML, or a value does not fit its field; the text of the error names the key.
    """
    from omniherd.yamlform.goyaml import compose_all, construct

    node = next(compose_all(text), None)
    value = None if node is None else construct(node, source=True)
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise YAMLError(f"the spec must be a mapping, not {_kind(value)}")
    return spec_from_mapping(cast("Mapping[str, Any]", value), message_class, type_name)


def spec_from_mapping(values: Mapping[str, Any], message_class: type[Message], type_name: str = "") -> Message:
    """Read a spec from Omni's YAML form, given as plain values; unknown keys are passed over, as omnictl does.

    Args:
        values: The spec.
        message_class: The class of the spec's message.
        type_name: The resource type.

    Raises:
        YAMLError: A value does not fit its field; the text names the key.
    """
    if type_name == _DEFINITIONS:
        values = _definition_fields(values)
    elif type_name == _CLUSTER_MACHINES:
        values = {"kubernetesversion": values.get("kubernetes_version", "")}
    message = message_class()
    _fill(message, values, "")
    return message


@cache
def _layout(full_name: str) -> tuple[tuple[str, str, Any], ...]:
    """Return key, kind and field for everything that a message shows, in the order of its declaration."""
    from omniherd._core.pool import descriptor

    rows: list[tuple[str, str, Any]] = []
    groups: set[str] = set()
    for field in descriptor(full_name).fields:
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1:
            if oneof.name not in groups:
                groups.add(oneof.name)
                rows.append((_key(oneof.name), "oneof", oneof))
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            kind = "map"
        elif is_repeated(field):
            kind = "list"
        elif field.message_type is not None:
            kind = "message"
        elif field.type == field.TYPE_BYTES:
            kind = "bytes"
        else:
            kind = "scalar"
        rows.append((_key(field.name), kind, field))
    return tuple(rows)


@cache
def _newer(full_name: str) -> frozenset[str]:
    """Return the fields of a message that a server of v1.9.3 does not know."""
    return frozenset(row[2].name for row in _layout(full_name) if f"{full_name}.{row[2].name}" in NEWER_FIELDS)


def _key(name: str) -> str:
    return name.replace("_", "").lower()


def _message(message: Message) -> dict[str, Any]:
    full_name = message.DESCRIPTOR.full_name
    if full_name in {"google.protobuf.Timestamp", "google.protobuf.Duration"}:
        value: Any = message
        return {"seconds": value.seconds, "nanos": value.nanos}
    shown: dict[str, Any] = {}
    newer = _newer(full_name)
    for key, kind, field in _layout(full_name):
        name: str = field.name
        if name in newer and not _is_set(message, kind, name):
            # A server of v1.9.3 shows no such key; a newer server's own text is used as it is.
            continue
        if kind == "oneof":
            chosen = message.WhichOneof(name)
            if chosen is None:
                shown[key] = None
            else:
                value = getattr(message, chosen)
                shown[key] = {_key(chosen): _value(value)}
        elif kind == "message":
            shown[key] = _message(getattr(message, name)) if message.HasField(name) else None
        elif kind == "map":
            shown[key] = _map(getattr(message, name))
        elif kind == "list":
            shown[key] = [_value(one) for one in getattr(message, name)]
        elif kind == "bytes":
            shown[key] = list(getattr(message, name))
        else:
            shown[key] = getattr(message, name)
    return shown


def _is_set(message: Message, kind: str, name: str) -> bool:
    return message.HasField(name) if kind == "message" else bool(getattr(message, name))


def _map(values: Mapping[Any, Any]) -> dict[Any, Any]:
    from omniherd.yamlform.emit import natural_key

    return {key: _value(values[key]) for key in sorted(values, key=natural_key)}


def _value(value: Any) -> Any:
    if isinstance(value, (str, int, float)):
        return value
    return list(value) if isinstance(value, bytes) else _message(value)


def _definition(message: Message) -> dict[str, Any]:
    spec: Any = message
    shown: dict[str, Any] = {}
    for key, name in _DEFINITION_KEYS.items():
        if key == "printColumns":
            shown[key] = [{"name": column.name, "jsonPath": column.json_path} for column in spec.print_columns]
        elif key == "sensitivity":
            if spec.sensitivity:
                shown[key] = _SENSITIVITIES[spec.sensitivity]
        else:
            value = getattr(spec, name)
            shown[key] = value if isinstance(value, str) else list(value)
    return shown


def _definition_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    fields = {_key(name): values[key] for key, name in _DEFINITION_KEYS.items() if key in values}
    columns: Any = values.get("printColumns") or []
    fields["printcolumns"] = [{"name": one.get("name", ""), "jsonpath": one.get("jsonPath", "")} for one in columns]
    if "sensitivity" in fields:
        fields["sensitivity"] = _SENSITIVITIES.index(values["sensitivity"])
    return fields


def _kind(value: Any) -> str:
    if isinstance(value, Scalar):
        value = value.value
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f"{type(value).__name__} {value!r}"


def _fail(path: str, wanted: str, value: Any) -> YAMLError:
    return YAMLError(f"spec{path}: expected {wanted}, got {_kind(value)}", details={"path": f"spec{path}"})


def _fill(message: Message, values: Mapping[str, Any], path: str) -> None:
    full_name = message.DESCRIPTOR.full_name
    if full_name in {"google.protobuf.Timestamp", "google.protobuf.Duration"}:
        for name in ("seconds", "nanos"):
            _set_number(message, name, values.get(name), f"{path}.{name}")
        return
    for key, kind, field in _layout(full_name):
        if key not in values or values[key] is None:
            continue
        value, here = values[key], f"{path}.{key}"
        if kind == "oneof":
            _fill_oneof(message, field, value, here)
        elif kind == "message":
            child = getattr(message, field.name)
            child.SetInParent()
            _fill(child, _mapping(value, here), here)
        elif kind == "map":
            _fill_map(message, field, value, here)
        elif kind == "list":
            _fill_list(message, field, value, here)
        else:
            setattr(message, field.name, _read(field, value, here))


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _fail(path, "a mapping", value)
    return cast("Mapping[str, Any]", value)


def _fill_oneof(message: Message, oneof: Any, value: Any, path: str) -> None:
    for key, inner in _mapping(value, path).items():
        for field in oneof.fields:
            if _key(field.name) != key or inner is None:
                continue
            if field.message_type is not None:
                child = getattr(message, field.name)
                child.SetInParent()
                _fill(child, _mapping(inner, f"{path}.{key}"), f"{path}.{key}")
            else:
                setattr(message, field.name, _read(field, inner, f"{path}.{key}"))


def _fill_map(message: Message, field: Any, value: Any, path: str) -> None:
    target = getattr(message, field.name)
    key_field, value_field = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    for key, inner in _mapping(value, path).items():
        here = f"{path}[{key!r}]"
        read_key = _read(key_field, key, here)
        if value_field.message_type is not None:
            _fill(target[read_key], _mapping(inner or {}, here), here)
        else:
            target[read_key] = _read(value_field, inner, here)


def _fill_list(message: Message, field: Any, value: Any, path: str) -> None:
    if not is_list(value) or isinstance(value, Scalar):
        raise _fail(path, "a list", value)
    target = getattr(message, field.name)
    for index, item in enumerate(value):
        here = f"{path}[{index}]"
        if field.message_type is not None:
            _fill(target.add(), _mapping({} if item is None else item, here), here)
        else:
            target.append(_read(field, item, here))


def _set_number(message: Message, name: str, value: Any, path: str) -> None:
    if value is None:
        return
    setattr(message, name, _read(message.DESCRIPTOR.fields_by_name[name], value, path))


def _read_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError


def _read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError


def _read_integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise TypeError


def _read_float(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise TypeError


def _read_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if is_list(value):
        return bytes(one.value if isinstance(one, Scalar) else one for one in value)
    raise TypeError


def _reader(field: Any) -> tuple[str, Callable[[Any], Any]]:
    if field.type == field.TYPE_STRING:
        return "text", _read_text
    if field.type == field.TYPE_BOOL:
        return "true or false", _read_bool
    if field.type == field.TYPE_BYTES:
        return "a list of numbers up to 255", _read_bytes
    if field.type in {field.TYPE_DOUBLE, field.TYPE_FLOAT}:
        return "a number", _read_float
    return "a whole number", _read_integer


def _read(field: Any, value: Any, path: str) -> Any:
    wanted, reader = _reader(field)
    if value is None:
        return reader(field.default_value)
    if isinstance(value, Scalar):
        # Go reads numbers, booleans and times into a text field as they are written.
        value = value.text if field.type == field.TYPE_STRING else value.value
    try:
        read = reader(value)
    except (TypeError, ValueError):
        raise _fail(path, wanted, value) from None
    if isinstance(read, int) and not isinstance(read, bool):
        _check_range(field, read, path)
    return read


def _check_range(field: Any, value: int, path: str) -> None:
    unsigned = field.type in {field.TYPE_UINT32, field.TYPE_UINT64, field.TYPE_FIXED32, field.TYPE_FIXED64}
    wide = field.type in {
        field.TYPE_INT64,
        field.TYPE_UINT64,
        field.TYPE_SINT64,
        field.TYPE_FIXED64,
        field.TYPE_SFIXED64,
    }
    bits = 64 if wide else 32
    low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if not low <= value <= high:
        raise _fail(path, f"a whole number from {low} to {high}", value)
