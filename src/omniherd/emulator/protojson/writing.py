"""Messages into JSON: by proto name, enums as numbers, without blanks, what is not set left out."""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["compact", "write"]

_LONG = frozenset({3, 4, 6, 16, 18})  # numbers of FieldDescriptor.Type that JSON has no exact numbers for
_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
_LARGEST_PLAIN = 1e21


def write(message: Message, *, escape: bool = True) -> str:
    """Return a message as JSON.

    Args:
        message: The message.
        escape: Whether `<`, `>` and `&` are escaped, as wherever Go puts JSON into JSON.
    """
    return compact(_plain(message), escape=escape)


def compact(value: Any, *, escape: bool = True) -> str:
    """Return plain data as JSON without blanks, mappings in their order."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_ESCAPES) if escape else text


def _plain(message: Any) -> Any:
    name = message.DESCRIPTOR.full_name
    if name in {"google.protobuf.Timestamp", "google.protobuf.Duration"}:
        return message.ToJsonString()
    shown: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
            shown[field.name] = {_key(key): _value(inner, value[key]) for key in sorted(value)}
        elif hasattr(value, "extend"):
            shown[field.name] = [_value(field, item) for item in value]
        else:
            shown[field.name] = _value(field, value)
    return shown


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return _plain(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if field.type in _LONG:
        return str(value)
    if isinstance(value, float):
        return _number(value)
    return value


def _number(value: float) -> Any:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return int(value) if value.is_integer() and abs(value) < _LARGEST_PLAIN else value
