"""Specs in the emulator: which message a type's spec is, encoding, decoding, and the YAML form shown beside it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd._core.resource_table import TABLE, TypeInfo
from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["TYPES", "check_frames", "decode", "default_namespace", "encode", "spec_class", "unpacked", "yaml_of"]

TYPES: dict[str, TypeInfo] = {row.type: row for row in TABLE}
"""What is known of every type, by full name."""


@functools.cache
def spec_class(type_name: str) -> type[Message] | None:
    """Return the class of a type's spec, None for types without one or unknown here."""
    info = TYPES.get(type_name)
    return None if info is None or info.spec is None else message(info.spec)


def default_namespace(type_name: str) -> str:
    """Return where a type lives."""
    info = TYPES.get(type_name)
    return "default" if info is None else info.namespace


def encode(type_name: str, spec: Message | Mapping[str, Any]) -> bytes:
    """Return a spec as bytes.

    Args:
        type_name: The full type name.
        spec: The message, or its fields by proto name.

    Raises:
        KeyError: Fields were given for a type without a spec message.
    """
    if not isinstance(spec, Mapping):
        return spec.SerializeToString(deterministic=True)
    cls = spec_class(type_name)
    if cls is None:
        if spec:
            raise KeyError(type_name)
        return b""
    fresh = cls()
    from omniherd._core.spec_mapping import fill

    fill(fresh, spec)
    return fresh.SerializeToString(deterministic=True)


def decode(type_name: str, data: bytes) -> Any:
    """Return a spec as a fresh message.

    Raises:
        KeyError: The type has no spec message.
    """
    cls = spec_class(type_name)
    if cls is None:
        raise KeyError(type_name)
    return cls.FromString(data)


_ZSTD_MAGIC = bytes.fromhex("28b52ffd")


def check_frames(packed: Any) -> None:
    """Look whether compressed data is compressed at all.

    Args:
        packed: A compressed field: bytes, or a list of them.

    Raises:
        StateError: `UNKNOWN`, as the server tells it.
    """
    for frame in [packed] if isinstance(packed, bytes) else packed:
        if not frame.startswith(_ZSTD_MAGIC):
            raise StateError("UNKNOWN", "invalid input: magic number mismatch")


def unpack(frame: bytes) -> str | None:
    """Return the text of a zstd frame; None when it cannot be read here.

    Clients compress with a dictionary that Omni has and the emulator has not, and Python reads zstd by itself from
    3.14 on only.
    """
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        try:
            import zstandard
        except ModuleNotFoundError:
            return None
        try:
            return zstandard.ZstdDecompressor().decompressobj().decompress(frame).decode()
        except (zstandard.ZstdError, UnicodeDecodeError):
            return None
    try:
        return str(zstd.decompress(frame), "utf-8")
    except (zstd.ZstdError, UnicodeDecodeError):
        return None


def unpacked(type_name: str, spec: Any) -> Any:
    """Move what is compressed in a spec into its plain twins, as the YAML form shows it, as far as it can be read."""
    for packed, plain in TYPES[type_name].compressed:
        value = getattr(spec, packed)
        if not value:
            continue
        texts = [unpack(frame) for frame in ([value] if isinstance(value, bytes) else value)]
        if any(text is None for text in texts):
            continue
        spec.ClearField(packed)
        if isinstance(value, bytes):
            setattr(spec, plain, texts[0])
        else:
            getattr(spec, plain).extend(texts)
    return spec


def yaml_of(type_name: str, data: bytes) -> str:
    """Return the YAML form of a spec as the server shows it."""
    cls = spec_class(type_name)
    if cls is None:
        return "{}\n"
    try:
        from omniherd.yamlform.specform import spec_to_yaml
    except ModuleNotFoundError:
        return _interim_yaml(unpacked(type_name, cls.FromString(data)))
    return spec_to_yaml(unpacked(type_name, cls.FromString(data)), type_name)


def _interim_yaml(spec: Any) -> str:
    import yaml
    from google.protobuf import json_format

    def lower(value: Any) -> Any:
        if isinstance(value, dict):
            return {key.replace("_", ""): lower(inner) for key, inner in value.items()}
        return [lower(inner) for inner in value] if isinstance(value, list) else value

    found = json_format.MessageToDict(
        spec,
        preserving_proto_field_name=True,
        use_integers_for_enums=True,
        descriptor_pool=spec.DESCRIPTOR.file.pool,
    )
    return yaml.safe_dump(lower(found), sort_keys=False, indent=4)
