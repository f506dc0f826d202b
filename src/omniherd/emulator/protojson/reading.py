"""JSON into messages: keys by proto or JSON name, and Go's texts for what does not fit."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, TypeVar

from omniherd._core.spec_mapping import is_repeated
from omniherd.emulator.protojson.scanning import JSONFault, Token, scan

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["read"]

M = TypeVar("M", bound="Message")

# Numbers of FieldDescriptor.Type; the class that has their names is not always the one of the installed protobuf.
_DOUBLE, _FLOAT, _BOOL, _STRING, _BYTES, _ENUM = 1, 2, 8, 9, 12, 14
_INTEGERS = {
    3: ("int64", -(1 << 63), 1 << 63),
    4: ("uint64", 0, 1 << 64),
    5: ("int32", -(1 << 31), 1 << 31),
    6: ("fixed64", 0, 1 << 64),
    7: ("fixed32", 0, 1 << 32),
    13: ("uint32", 0, 1 << 32),
    15: ("sfixed32", -(1 << 31), 1 << 31),
    16: ("sfixed64", -(1 << 63), 1 << 63),
    17: ("sint32", -(1 << 31), 1 << 31),
    18: ("sint64", -(1 << 63), 1 << 63),
}
_KINDS = {_DOUBLE: "double", _FLOAT: "float", _BOOL: "bool", _STRING: "string", _BYTES: "bytes", _ENUM: "enum"}
_INTEGER = re.compile(r"(-?\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?", re.ASCII)
_FLOATING = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}", re.ASCII)
_LONGEST_INTEGER = 40
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def read(cls: type[M], text: str, *, whole: bool = True) -> M:
    """Read a message.

    Args:
        cls: Its class.
        text: The JSON.
        whole: Whether the message must be all of the text; else what follows it is not looked at, and an empty text is
            an empty message.

    Raises:
        JSONFault: It is no JSON, or a field does not fit.
    """
    message = cls()
    token = scan(text, whole=whole)
    if token is not None:
        _fill(message, token)
    return message


def _unexpected(token: Token) -> JSONFault:
    return JSONFault(f"proto: syntax error ({token.position}): unexpected token {token.raw}")


def _invalid(token: Token, kind: str, field: Any) -> JSONFault:
    return JSONFault(f"proto: ({token.position}): invalid value for {kind} field {field.json_name}: {token.raw}")


def _fill(message: Any, token: Token) -> None:
    descriptor = message.DESCRIPTOR
    if descriptor.full_name in {"google.protobuf.Timestamp", "google.protobuf.Duration"}:
        _fill_time(message, token)
        return
    if token.kind != "object":
        raise _unexpected(token)
    names = {field.json_name: field for field in descriptor.fields} | dict(descriptor.fields_by_name)
    seen: set[int] = set()
    groups: set[str] = set()
    for key, value in token.fields:
        field = names.get(key.text)
        if field is None:
            raise JSONFault(f'proto: ({key.position}): unknown field "{key.text}"')
        if value.raw == "null" and value.kind == "literal":
            continue
        if field.number in seen:
            raise JSONFault(f'proto: ({key.position}): duplicate field "{key.text}"')
        seen.add(field.number)
        group = field.containing_oneof
        if group is not None:
            if group.name in groups:
                told = f'error parsing "{key.text}", oneof {group.full_name} is already set'
                raise JSONFault(f"proto: ({key.position}): {told}")
            groups.add(group.name)
        _set(message, field, value)


def _fill_time(message: Any, token: Token) -> None:
    if token.kind != "string":
        raise _unexpected(token)
    try:
        message.FromJsonString(token.text)
    except ValueError:
        name = message.DESCRIPTOR.full_name
        raise JSONFault(f"proto: ({token.position}): invalid {name} value {token.raw}") from None


def _set(message: Any, field: Any, value: Token) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _set_map(getattr(message, field.name), field, value)
    elif is_repeated(field):
        if value.kind != "array":
            raise _unexpected(value)
        target = getattr(message, field.name)
        for item in value.items:
            if field.message_type is not None:
                _fill(target.add(), item)
            else:
                target.append(_scalar(field, item))
    elif field.message_type is not None:
        child = getattr(message, field.name)
        child.SetInParent()
        _fill(child, value)
    else:
        setattr(message, field.name, _scalar(field, value))


def _set_map(target: Any, field: Any, value: Token) -> None:
    if value.kind != "object":
        raise _unexpected(value)
    key_field, value_field = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    seen: set[Any] = set()
    for key, item in value.fields:
        read_key = _map_key(key_field, key.text, key.position)
        if read_key in seen:
            raise JSONFault(f'proto: ({key.position}): duplicate map key "{key.text}"')
        seen.add(read_key)
        if value_field.message_type is not None:
            _fill(target[read_key], item)
        else:
            target[read_key] = _scalar(value_field, item)


def _map_key(field: Any, text: str, position: str) -> Any:
    if field.type == _STRING:
        return text
    if field.type == _BOOL and text in {"true", "false"}:
        return text == "true"
    number = _integer(text)
    kind, low, high = _INTEGERS.get(field.type, ("bool", 0, 0))
    if number is None or not low <= number < high:
        raise JSONFault(f'proto: ({position}): invalid value for {kind} key: "{text}"')
    return number


def _scalar(field: Any, token: Token) -> Any:
    kind: int = field.type
    if kind in _INTEGERS:
        name, low, high = _INTEGERS[kind]
        number = _integer(token.raw if token.kind == "number" else token.text)
        if token.kind not in {"number", "string"} or number is None or not low <= number < high:
            raise _invalid(token, name, field)
        return number
    if kind == _STRING and token.kind == "string":
        return token.text
    if kind == _BOOL and token.kind == "literal" and token.raw != "null":
        return token.raw == "true"
    found: Any = None
    if kind == _ENUM:
        found = _enum(field, token)
    elif kind == _BYTES and token.kind == "string":
        found = _bytes(token.text)
    elif kind in {_DOUBLE, _FLOAT}:
        found = _float(token)
    if found is None:
        raise _invalid(token, _KINDS[kind], field)
    return found


def _integer(text: str) -> int | None:
    """Read an integer, also one that is written with a fraction of noughts or an exponent."""
    found = _INTEGER.fullmatch(text)
    if found is None or len(text) > _LONGEST_INTEGER:
        return None
    whole, fraction, exponent = found[1], found[2] or "", int(found[3] or 0)
    if exponent > _LONGEST_INTEGER:
        return None
    digits, scale = whole + fraction, exponent - len(fraction)
    if scale < 0:
        cut = digits[scale:] if -scale <= len(digits) else digits
        if cut.strip("0-"):
            return None
        return int(digits[:scale] or "0") if digits[:scale] != "-" else 0
    return int(digits + "0" * scale)


def _enum(field: Any, token: Token) -> int | None:
    if token.kind == "string":
        value: Any = field.enum_type.values_by_name.get(token.text)
        number: int | None = None if value is None else value.number
        return number
    plain = _integer(token.raw) if token.kind == "number" else None
    return plain if plain is not None and -(1 << 31) <= plain < 1 << 31 else None


def _bytes(text: str) -> bytes | None:
    bare = text.rstrip("=")
    if _BASE64.fullmatch(text) is None or len(bare) % 4 == 1:
        return None
    try:
        return base64.urlsafe_b64decode(bare.replace("+", "-").replace("/", "_") + "=" * (-len(bare) % 4))
    except binascii.Error:  # pragma: no cover - the form was looked at
        return None


def _float(token: Token) -> float | None:
    if token.kind == "number":
        return float(token.raw)
    if token.kind == "string" and (token.text in _NOT_FINITE or _FLOATING.fullmatch(token.text)):
        return float(token.text)
    return None
