"""Fill a protobuf message from plain Python values."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from omniherd._core.shapes import is_items, is_mapping
from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

__all__ = ["fill", "is_repeated"]

_TIMESTAMP = "google.protobuf.Timestamp"
_DURATION = "google.protobuf.Duration"


def fill(message: Message, values: Mapping[str, Any], path: str = "spec") -> None:
    """Set the fields of a message that a mapping names; others keep what they have.

    Args:
        message: The message to change.
        values: By proto field name. Messages are mappings or messages, enums numbers or names, maps mappings, durations
            `timedelta` or seconds, timestamps `datetime`; None clears a field.
        path: Where in the spec the message stands, for error texts.

    Raises:
        InputError: A name is no field of the message, or a value does not fit its field. The text names the path.

    Example:
        >>> from omniherd.wire import specs
        >>> spec = specs.ClusterSpec()
        >>> fill(spec, {"features": {"disk_encryption": True}})
        >>> spec.features.disk_encryption
        True
    """
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        field = fields.get(name)
        here = f"{path}.{name}"
        if field is None:
            known = ", ".join(sorted(fields)) or "none"
            raise InputError(f"{here}: {message.DESCRIPTOR.full_name} has no such field", hint=f"its fields: {known}")
        if value is None:
            message.ClearField(name)
            continue
        try:
            _set(message, field, value, here)
        except (TypeError, ValueError) as error:
            raise InputError(f"{here}: {error}") from None


def _set(message: Message, field: Any, value: Any, path: str) -> None:
    name = field.name
    if _is_map(field):
        if not is_mapping(value):
            raise TypeError(f"expected a mapping, got {type(value).__name__}")
        message.ClearField(name)
        target = getattr(message, name)
        value_field = field.message_type.fields_by_name["value"]
        for key, item in value.items():
            if value_field.message_type is not None:
                _assign_message(target[key], item, f"{path}[{key!r}]")
            else:
                target[key] = _scalar(value_field, item)
    elif is_repeated(field):
        if not is_items(value):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        items = list(value)
        message.ClearField(name)
        target = getattr(message, name)
        for index, item in enumerate(items):
            if field.message_type is not None:
                _assign_message(target.add(), item, f"{path}[{index}]")
            else:
                target.append(_scalar(field, item))
    elif field.message_type is not None:
        message.ClearField(name)
        child = getattr(message, name)
        child.SetInParent()
        _assign_message(child, value, path)
    else:
        setattr(message, name, _scalar(field, value))


def is_repeated(field: Any) -> bool:
    """Tell whether a field descriptor is of a list (or map); protobuf before 6 knows a `label` only."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _scalar(field: Any, value: Any) -> Any:
    if field.enum_type is not None and isinstance(value, str):
        number = field.enum_type.values_by_name.get(value)
        if number is None:
            known = ", ".join(field.enum_type.values_by_name)
            raise ValueError(f"{value!r} is none of {known}")
        return number.number
    return value


def _assign_message(child: Message, value: Any, path: str) -> None:
    full_name = child.DESCRIPTOR.full_name
    if is_mapping(value):
        fill(child, value, path)
    elif hasattr(value, "SerializeToString"):
        if value.DESCRIPTOR.full_name != full_name:
            raise TypeError(f"expected {full_name}, got {value.DESCRIPTOR.full_name}")
        # Over bytes, so that a message of protobuf's default pool (a Timestamp, say) is welcome too.
        child.ParseFromString(value.SerializeToString())
    elif full_name == _TIMESTAMP and isinstance(value, datetime.datetime):
        child.FromDatetime(value)  # type: ignore[attr-defined]
    elif full_name == _DURATION and isinstance(value, datetime.timedelta):
        child.FromTimedelta(value)  # type: ignore[attr-defined]
    elif full_name == _DURATION and isinstance(value, (int, float)) and not isinstance(value, bool):
        child.FromTimedelta(datetime.timedelta(seconds=value))  # type: ignore[attr-defined]
    else:
        raise TypeError(f"expected {full_name} or a mapping, got {type(value).__name__}")
