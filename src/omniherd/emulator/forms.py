"""Specs in the emulator: which message a type's spec is, encoding, decoding, and the YAML form shown beside it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from omniherd._core.pool import message
from omniherd._core.resource_table import TABLE, TypeInfo
from omniherd.emulator.packed import unpack

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["TYPES", "decode", "default_namespace", "encode", "spec_class", "unpacked", "yaml_of"]

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


@functools.lru_cache(maxsize=4096)
def yaml_of(type_name: str, data: bytes) -> str:
    """Return the YAML form of a spec as the server shows it."""
    cls = spec_class(type_name)
    if cls is None:
        return "{}\n"
    from omniherd.yamlform.emit import dump
    from omniherd.yamlform.specform import spec_to_mapping

    spec = unpacked(type_name, cls.FromString(data))
    mapping = spec_to_mapping(spec, type_name)
    plan = _plan(spec.DESCRIPTOR.full_name)
    if plan is not None:
        _prune(mapping, plan)
    return dump(mapping, sort=False)


# Fields that came after v1.9.3, by their names in the YAML form: a server of that version does not know them.
_NEWER: dict[str, tuple[str, ...]] = {
    "specs.AuthConfigSpec": ("hasinitialuser",),
    "specs.ClusterMachineConfigStatusSpec": (
        "prerebootbootid",
        "appliedhighpriorityconfighash",
        "imagefactoryhost",
    ),
    "specs.ClusterMachineIdentitySpec": ("discoveryserviceendpoints",),
    "specs.ClusterSpec.Features": ("disablepublicdiscoveryservice",),
    "specs.ClusterStatusSpec": ("disablepublicdiscoveryservice", "initialtalosversion"),
    "specs.DiscoveryAffiliateDeleteTaskSpec": ("discoveryserviceendpoints",),
    "specs.FeaturesConfigSpec": ("secondaryimagefactorybaseurl", "secondaryimagefactorypxebaseurl"),
    "specs.InfraProviderCombinedStatusSpec": ("version",),
    "specs.InfraProviderStatusSpec": ("version",),
    "specs.InstallationMediaConfigSpec": ("imagefactoryurl",),
    "specs.MachineConfigDiffSpec": ("compresseddiff",),
    "specs.MachineConfigGenOptionsSpec.InstallImage": ("imagefactoryhost",),
    "specs.MachinePendingUpdatesSpec": ("compressedconfigdiff",),
    "specs.MachineStatusSnapshotSpec": ("bootid",),
    "specs.MachineStatusSpec": ("talosversionname",),
    "specs.MachineStatusSpec.HardwareStatus.BlockDevice": (
        "devpath",
        "iosize",
        "sectorsize",
        "modalias",
        "subsystem",
        "rotational",
        "cdrom",
        "prettysize",
        "secondarydisks",
        "symlinks",
        "firmwareversion",
    ),
    "specs.SecurityState": ("fipsstate",),
    "specs.TalosVersionSpec": ("imagefactoryurl", "isenterprise"),
}

_Plan = tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]


@functools.cache
def _plan(full_name: str) -> _Plan | None:
    """Return what to leave out of a message's YAML form: keys, and the plans of messages below; None for nothing."""
    from omniherd._core.pool import descriptor

    below: list[tuple[str, Any]] = []
    for field in descriptor(full_name).fields:
        inner = field.message_type
        if inner is None or inner.full_name == full_name or not inner.full_name.startswith("specs."):
            continue
        plan = None if inner.GetOptions().map_entry else _plan(inner.full_name)
        if plan is not None:
            below.append((field.name.replace("_", "").lower(), plan))
    here = _NEWER.get(full_name, ())
    return (here, tuple(below)) if here or below else None


def _prune(mapping: dict[str, Any], plan: _Plan) -> None:
    for key in plan[0]:
        mapping.pop(key, None)
    for key, inner in plan[1]:
        value = mapping.get(key)
        for item in _listed(value):
            if isinstance(item, dict):
                _prune(cast("dict[str, Any]", item), inner)


def _listed(value: Any) -> list[Any]:
    """Return the items of a list, or the value alone."""
    return list(cast("Iterable[Any]", value)) if isinstance(value, list) else [value]
