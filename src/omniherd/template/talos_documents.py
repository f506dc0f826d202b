"""What is known of the documents of a Talos machine configuration: which kinds there are, and their keys."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, cast

from omniherd.errors import YAMLError
from omniherd.template.decoding import scalar_value, tag_of
from omniherd.template.node_text import node_lines
from omniherd.template.problems import go_quote

__all__ = ["kind_findings", "known_kind"]

_LINE = re.compile(r"(?<=^yaml: )line \d+: ")
_ARGUMENT = "@meta.ArgValue"
# Lists that have a type of their own in Go, and elements that are held by pointer: errors name the type.
_LISTS = {
    "v1alpha1.Device": "v1alpha1.NetworkDeviceList",
    "v1alpha1.Vlan": "v1alpha1.VlanList",
    "v1alpha1.AdmissionPluginConfig": "v1alpha1.AdmissionPluginConfigList",
    "v1alpha1.AuthorizationConfigAuthorizerConfig": "v1alpha1.AuthorizationConfigAuthorizerConfigList",
    "extensions.ConfigFile": "extensions.ConfigFileList",
    "network.PortRange": "network.PortRanges",
    "network.IngressRule": "network.IngressConfig",
    "security.ImageVerificationRuleV1Alpha1": "security.ImageVerificationRules",
}
_POINTERS = frozenset(
    (
        "x509.PEMEncodedCertificate",
        "v1alpha1.Route",
        "v1alpha1.MachineSeccompProfile",
        "v1alpha1.MachineFile",
        "v1alpha1.MachineDisk",
        "v1alpha1.KernelModuleConfig",
        "v1alpha1.ExtraHost",
        "v1alpha1.EncryptionKey",
        "v1alpha1.DiskPartition",
        "v1alpha1.DeviceWireguardPeer",
    )
)


@cache
def _table() -> dict[str, Any]:
    text = files("omniherd.template").joinpath("talos-config-keys.json").read_text("utf-8")
    return cast("dict[str, Any]", json.loads(text))


def known_kind(kind: str) -> bool:
    """Tell whether Talos has a document of that kind."""
    return bool(kind) and kind != "v1alpha1" and kind in _table()["kinds"]


def kind_findings(root: Any, kind: str) -> str | None:
    """Look for values of a wrong type and for unknown keys in a document.

    Args:
        root: The document's root node.
        kind: Its kind, empty for the legacy document.

    Returns:
        The error's text, None when there is nothing to say.
    """
    shape: str = _table()["kinds"][kind or "v1alpha1"]
    wrong: list[str] = []
    try:
        _check_types(root, shape, wrong)
    except YAMLError as error:
        # Go gives up at a tag that does not fit, and says no line.
        return f"error decoding {kind} to *{shape[1:]}: {_LINE.sub('', error.message)}"
    if wrong:
        return f"error decoding {kind} to *{shape[1:]}: yaml: construct errors:\n  " + "\n  ".join(wrong)
    unknown = _unknown(root, shape, set())
    if isinstance(unknown, str):
        return unknown
    if unknown:
        return "unknown keys found during decoding:\n" + "\n".join(node_lines(unknown)) + "\n"
    return None


def _fields(shape: Any) -> dict[str, Any] | None:
    """Return the fields of a named type; None for all else."""
    if not isinstance(shape, str) or not shape.startswith("@"):
        return None
    return cast("dict[str, Any]", _table()["types"].get(shape[1:], {}))


def _go_name(shape: Any) -> str:
    if isinstance(shape, dict):
        inner = cast("dict[str, Any]", shape)
        if "list" in inner:
            element = _go_name(inner["list"])
            return _LISTS.get(element) or f"[]{'*' * (element in _POINTERS)}{element}"
        return "meta.Args" if inner.get("map") == _ARGUMENT else f"map[string]{_go_name(inner.get('map', 'string'))}"
    return str(shape).lstrip("@").rstrip("!")


def _refuse(node: Any, shape: Any, wrong: list[str]) -> None:
    value = ""
    if node.id == "scalar":
        text: str = node.value
        value = f" `{text if len(text) <= 10 else text[:7] + '...'}`"
    wrong.append(f"line {int(node.start_mark.line) + 1}: cannot construct {tag_of(node)}{value} into {_go_name(shape)}")


def _unique(node: Any, wrong: list[str]) -> bool:
    first: dict[str, int] = {}
    before = len(wrong)
    for key, _ in node.value:
        if key.id != "scalar":
            continue
        line = int(key.start_mark.line) + 1
        if key.value in first:
            wrong.append(f"line {line}: mapping key {go_quote(key.value)} already defined at line {first[key.value]}")
        else:
            first[key.value] = line
    return len(wrong) == before


def _check_any(node: Any, wrong: list[str]) -> None:
    """Look for keys that stand twice in what may be anything."""
    if node.id == "sequence":
        for item in node.value:
            _check_any(item, wrong)
    elif node.id == "mapping" and _unique(node, wrong):
        for _, value in node.value:
            _check_any(value, wrong)


def _check_types(node: Any, shape: Any, wrong: list[str]) -> None:
    """Write down values that Go cannot put into their fields; where a type reads by itself nothing is said."""
    if node.id == "scalar" and scalar_value(node) is None:
        return
    fields = _fields(shape)
    if fields is not None:
        if shape == _ARGUMENT and node.id == "mapping":
            line = int(node.start_mark.line) + 1
            wrong.append(f"line {line}: arg value must be a string or list of strings")
        if not fields or "$custom" in fields:
            return
        if node.id != "mapping":
            _refuse(node, shape, wrong)
            return
        if not _unique(node, wrong):
            return
        for key, value in node.value:
            if key.id != "scalar":
                _refuse(key, "string", wrong)
                continue
            if "*" in fields:
                _check_any(value, wrong)
                continue
            inner = fields.get(key.value)
            if inner is not None:
                _check_types(value, inner, wrong)
    elif isinstance(shape, dict):
        _check_collection(node, cast("dict[str, Any]", shape), wrong)
    elif shape == "string":
        if node.id != "scalar":
            _refuse(node, shape, wrong)
    elif shape == "bool" and (
        node.id != "scalar"
        or (tag_of(node) != "!!bool" and node.value.lower() not in {"y", "n", "yes", "no", "on", "off"})
    ):
        _refuse(node, shape, wrong)


def _check_collection(node: Any, shape: dict[str, Any], wrong: list[str]) -> None:
    if "list" in shape:
        if node.id != "sequence":
            _refuse(node, shape, wrong)
            return
        for item in node.value:
            _check_types(item, shape["list"], wrong)
    elif "map" in shape:
        if node.id != "mapping":
            _refuse(node, shape, wrong)
            return
        if not _unique(node, wrong):
            return
        for _, value in node.value:
            _check_types(value, shape["map"], wrong)


def _unknown(node: Any, shape: Any, seen: set[int]) -> Any:
    """Return the part of a document that no field is there for; an error's text when it cannot be told."""
    if shape == "any" or node.id == "scalar" or id(node) in seen:
        return None
    # What an alias points at has been looked at where it stands.
    seen.add(id(node))
    fields = _fields(shape)
    if node.id == "sequence":
        if not isinstance(shape, dict) or "list" not in shape:
            return f"unexpected type for yaml sequence: {_go_name(shape)}"
        inner_shape = cast("dict[str, Any]", shape)["list"]
        return _collect([_unknown(item, inner_shape, seen) for item in node.value])
    if fields is None and not (isinstance(shape, dict) and "map" in shape):
        return f"unexpected type for yaml mapping: {_go_name(shape)}"
    found: dict[str, Any] = {}
    for key, value in node.value:
        if key.id != "scalar":
            return "unexpected mapping key type"
        name: str = key.value
        if fields is None:
            inner = _unknown(value, cast("dict[str, Any]", shape)["map"], seen)
        elif "*" in fields:
            inner = _unknown(value, fields["*"], seen)
        elif name not in fields or name == "$custom":
            found[name] = value
            continue
        else:
            inner = _unknown(value, fields[name], seen)
        if isinstance(inner, str):
            return inner
        if inner:
            found[name] = inner
    return found or None


def _collect(items: list[Any]) -> Any:
    for item in items:
        if isinstance(item, str):
            return item
    return [item for item in items if item] or None
