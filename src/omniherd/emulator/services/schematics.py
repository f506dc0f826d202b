"""The management calls that make schematics, as an image factory does: their id is the digest of their text."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, cast

from omniherd._core.pool import message
from omniherd._core.shapes import is_mapping
from omniherd.emulator.catalog import join_arguments
from omniherd.emulator.goyamltext import go_yaml_fault_4
from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, found, missing_here

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.emulator.server import Incoming, Method
    from omniherd.emulator.services.guards import Gate
    from omniherd.emulator.store import Store

__all__ = ["SchematicCalls", "canonical", "schematic_id"]

_MEDIA = "InstallationMedias.omni.sidero.dev"
_FEATURES = "FeaturesConfigs.omni.sidero.dev"
_TUNNEL = 2  # SiderolinkGRPCTunnelMode.ENABLED
_BOOTLOADERS = ("", "dual-boot", "sd-boot", "grub")
_LABELS_META = 0x0C
# Keys of META that Talos keeps to itself: what it upgrades from and to, its network, encryption and the like.
_RESERVED = frozenset(range(6, 10))
_OVERLAYS_SINCE = (1, 7)
# What a schematic may hold, in the order in which a factory writes it.
_CUSTOMIZATION = (
    "extraKernelArgs",
    "meta",
    "systemExtensions",
    "secureboot",
    "bootloader",
    "embeddedMachineConfiguration",
)
_OVERLAY = ("image", "name", "options")
_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]+")
_PXE, _ISO, _DISK = 1, 2, 3
_NEWEST = "1.13.5"


class SchematicCalls:
    """The calls.

    Args:
        store: The state.
        gate: Who may call.
    """

    def __init__(self, store: Store, gate: Gate) -> None:
        self._gate = gate
        self._store = store

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {
            PREFIX + "CreateSchematic": self.create,
            PREFIX + "CreateSchematicFromRaw": self.create_from_raw,
            PREFIX + "GetBootAssetURL": self.boot_asset_url,
        }

    async def create(self, call: Incoming, request: Any) -> Any:
        """Answer CreateSchematic."""
        self._gate.require(call, request)
        if request.image_factory_url:
            raise missing_here(call, "use other image factories")
        token = request.join_token
        if not token:
            token = self._store.get("default", "DefaultJoinTokens.omni.sidero.dev", "default").decode().token_id
        tunnel = request.siderolink_grpc_tunnel_mode == _TUNNEL
        customization: dict[str, Any] = {
            "extraKernelArgs": [*join_arguments(token, tunnel=tunnel), *request.extra_kernel_args],
            "meta": _meta(request.meta_values),
            "systemExtensions": _extensions(sorted(set(request.extensions))),
            "bootloader": _BOOTLOADERS[request.bootloader] if request.bootloader < len(_BOOTLOADERS) else "",
            "embeddedMachineConfiguration": request.embedded_machine_config,
        }
        text = _text(self._overlay(request), customization)
        return message("management.CreateSchematicResponse")(
            schematic_id=schematic_id(text), schematic_yml=text, grpc_tunnel_enabled=tunnel
        )

    def _overlay(self, request: Any) -> dict[str, Any]:
        version = request.talos_version
        if version and not re.fullmatch(r"v?\d+\.\d+(?:\.\d+)?(?:-[\w.]+)?", version):
            raise StateError("INVALID_ARGUMENT", "invalid Talos version")
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
        if numbers and numbers < _OVERLAYS_SINCE:
            return {}
        if request.HasField("overlay"):
            options: Any = _parsed(request.overlay.options) if request.overlay.options else {}
            return {"image": request.overlay.image, "name": request.overlay.name, "options": options}
        if not request.media_id:
            return {}
        name = found(self._store, "ephemeral", _MEDIA, request.media_id).decode().overlay
        return {"image": f"siderolabs/sbc-{name}", "name": name} if name else {}

    async def create_from_raw(self, call: Incoming, request: Any) -> Any:
        """Answer CreateSchematicFromRaw."""
        self._gate.require(call, request)
        try:
            text = canonical(request.raw_schematic)
        except StateError as error:
            raise StateError("UNKNOWN", f"failed to unmarshal raw schematic: {error.message}") from None
        return message("management.CreateSchematicResponse")(schematic_id=schematic_id(text))

    async def boot_asset_url(self, call: Incoming, request: Any) -> Any:
        """Answer GetBootAssetURL, which servers have from 1.10 on; the emulated factory wants no credentials."""
        self._gate.require(call, request)
        kind = request.boot_asset_kind
        if kind not in {_PXE, _ISO, _DISK}:
            values = request.DESCRIPTOR.fields_by_name["boot_asset_kind"].enum_type.values_by_number
            name = values[kind].name if kind in values else str(kind)
            raise StateError("INVALID_ARGUMENT", f"unknown boot asset kind {name}")
        named: list[tuple[str, str]] = [("platform", request.platform), ("architecture", request.architecture)]
        if kind == _DISK:
            named.append(("disk image format", request.format))
        version = request.talos_version or _NEWEST
        if not re.fullmatch(r"v?\d+\.\d+(?:\.\d+)?(?:[-+].*)?", version):
            raise _bad_asset("Talos version", version)
        for what, value in (*named, ("schematic ID", request.schematic_id)):
            if not _SEGMENT.fullmatch(value):
                raise _bad_asset(what, value)
        features = self._store.get("default", _FEATURES, "features-config").decode()
        base, prefix = features.image_factory_base_url, "image"
        if kind == _PXE:
            base, prefix = features.image_factory_pxe_base_url, "pxe"
        name = f"{request.platform}-{request.architecture}{'-secureboot' if request.secure_boot else ''}"
        name += {_PXE: "", _ISO: ".iso", _DISK: f".{request.format}"}[kind]
        version = f"v{version.lstrip('v')}"
        parts = (base, prefix, request.schematic_id, version, name)
        return message("management.BootAssetURLResponse")(
            url=f"{base}/{prefix}/{request.schematic_id}/{version}/{name}",
            image_factory_host=base.partition("://")[2],
            storage_key=hashlib.sha256(b"\0".join(part.encode() for part in parts)).hexdigest(),
        )


def _bad_asset(what: str, value: str) -> StateError:
    return StateError("INVALID_ARGUMENT", f'invalid boot asset request: invalid {what} "{value}"')


def _meta(values: Mapping[int, str]) -> list[dict[str, Any]]:
    for key, value in values.items():
        if key in _RESERVED or key > 0xFF:
            text = f"meta key {key:#x} is not allowed to be set in the schematic, as it's reserved by Talos"
            raise StateError("INVALID_ARGUMENT", text)
        if key == _LABELS_META:
            _check_labels(value)
    return [{"key": key, "value": values[key]} for key in sorted(values, reverse=True)]


def _check_labels(text: str) -> None:
    """Refuse labels for machines that are not in the form that Omni reads."""
    try:
        labels = _parsed(text)
    except StateError as error:
        raise StateError("INVALID_ARGUMENT", f"failed to parse machine labels: {error.message}") from None
    if not is_mapping(labels) or labels.get("machineLabels") is None:
        raise StateError("INVALID_ARGUMENT", "machine labels are empty")
    if labels.get("machineInitialLabels") is not None:
        raise StateError("INVALID_ARGUMENT", "'initialMachineLabels' is deprecated")


def _extensions(names: list[str]) -> dict[str, Any]:
    return {"officialExtensions": names} if names else {}


def _parsed(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        StateError: `UNKNOWN`, in Go's words.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StateError("UNKNOWN", go_yaml_fault_4(error, text)) from None


def canonical(raw: bytes) -> str:
    """Return a schematic as a factory writes it.

    Raises:
        StateError: `UNKNOWN`: it is none, in Go's words as far as they are recorded.
    """
    text = raw.decode("utf-8", "replace")
    if not text.strip():
        raise StateError("UNKNOWN", "EOF")
    content: Any = _parsed(text) or {}
    if not is_mapping(content):
        raise StateError("UNKNOWN", "yaml: construct errors:\n  line 1: cannot construct the text as a schematic")
    parts = {"overlay": _OVERLAY, "customization": _CUSTOMIZATION}
    for name, value in content.items():
        known = parts.get(str(name))
        unknown = [name] if known is None else [key for key in _mapping(value) if key not in known]
        if unknown:
            raise StateError("UNKNOWN", f"yaml: construct errors:\n  field {unknown[0]} not found in the schematic")
    return _text(_mapping(content.get("overlay")), _mapping(content.get("customization")))


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(overlay: Mapping[str, Any], customization: Mapping[str, Any]) -> str:
    from omniherd.yamlform import dump

    shown: dict[str, Any] = {}
    if any(overlay.values()):
        shown["overlay"] = {
            name: overlay.get(name, "") for name in _OVERLAY if name != "options" or overlay.get("options")
        }
    shown["customization"] = {name: customization[name] for name in _CUSTOMIZATION if customization.get(name)}
    return dump(shown, sort=False)


def schematic_id(text: str) -> str:
    """Return the id of a schematic, which is the digest of its text as a factory writes it."""
    return hashlib.sha256(text.encode()).hexdigest()
