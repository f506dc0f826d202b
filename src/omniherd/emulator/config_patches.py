"""Judges machine configuration patches as the server does: documents, kinds, unknown keys, forbidden fields."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from omniherd.emulator.goyamltext import go_yaml_fault_4

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["judge_config_patch"]

_FORBIDDEN = (
    "cluster.clusterName",
    "cluster.id",
    "cluster.controlPlane.endpoint",
    "cluster.token",
    "cluster.secret",
    "cluster.aescbcEncryptionSecret",
    "cluster.secretboxEncryptionSecret",
    "cluster.acceptedCAs",
    "machine.token",
    "machine.ca",
    "machine.type",
    "machine.install.extensions",
    "machine.acceptedCAs",
)
_TALOS_ROLES = "machine.features.kubernetesTalosAPIAccess.allowedRoles"
_LEGACY_KEYS = frozenset({"machine", "cluster", "debug", "persist"})


@functools.cache
def _keys() -> dict[str, dict[str, Any]]:
    text = resources.files("omniherd.template").joinpath("talos-config-keys.json").read_text("utf-8")
    return cast("dict[str, dict[str, Any]]", json.loads(text))


def judge_config_patch(text: str) -> list[str]:
    """Return what is wrong with a patch, one text for each fault; nothing when it is fine.

    Args:
        text: YAML documents.
    """
    import yaml

    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.CSafeLoader))
        documents = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError as error:
        return [f"decode error: {go_yaml_fault_4(error, text)}"]
    except (ValueError, OverflowError, RecursionError) as error:
        # Values that look like dates or numbers and are none, and nests too deep to read.
        return [f"yaml: {error}"]
    found = [(node.start_mark.line + 1, document) for node, document in zip(nodes, documents, strict=True) if document]
    if not found:
        return ["config not found"]
    seen: set[tuple[str, str, str]] = set()
    for line, document in found:
        if not isinstance(document, dict):
            return [f"expected a YAML document at line {line}"]
        fault = _judge_document(line, cast("dict[str, Any]", document), seen)
        if fault is not None:
            return [fault]
    return _forbidden(cast("dict[str, Any]", found[0][1]))


def _judge_document(line: int, document: dict[str, Any], seen: set[tuple[str, str, str]]) -> str | None:
    version, kind, name = (str(document.get(key) or "") for key in ("apiVersion", "kind", "name"))
    legacy = not kind and bool(_LEGACY_KEYS & document.keys())
    shown = kind or "v1alpha1"
    if (version, kind, name) in seen:
        return f"duplicate document {version}/{shown}/{name} is not allowed (line {line})"
    seen.add((version, kind, name))
    fault = _judge_content(document, version, kind, legacy=legacy)
    return None if fault is None else f"error decoding document {version}/{shown}/{name} (line {line}): {fault}"


def _judge_content(document: dict[str, Any], version: str, kind: str, *, legacy: bool) -> str | None:
    kinds = _keys()["kinds"]
    if not legacy:
        if not kind:
            return "missing kind"
        if not version:
            return "missing apiVersion"
        if kind not in kinds or version != "v1alpha1":
            return f'"{kind}" "{version}": not registered'
    content = (
        document if legacy else {key: value for key, value in document.items() if key not in {"apiVersion", "kind"}}
    )
    unknown = _unknown(content, kinds["v1alpha1" if legacy else kind])
    if not unknown:
        return None
    import yaml

    tree = yaml.safe_dump(unknown, sort_keys=False, indent=4, default_flow_style=False)
    return f"unknown keys found during decoding:\n{tree}"


def _unknown(value: Any, shape: Any) -> Any:
    """Return the part of a value that its shape does not have, None when there is none."""
    if isinstance(shape, str) and shape.startswith("@"):
        fields = _keys()["types"].get(shape[1:])
        if not fields or not isinstance(value, dict) or "custom" in fields:
            return None
        items = cast("Mapping[str, Any]", value).items()
        wrong = {key: inner if key not in fields else _unknown(inner, fields[key]) for key, inner in items}
        return {key: inner for key, inner in wrong.items() if key not in fields or inner is not None} or None
    return _unknown_in_collection(value, shape)


def _unknown_in_collection(value: Any, shape: Any) -> Any:
    if isinstance(shape, dict) and isinstance(value, list) and "list" in shape:
        inner = cast("dict[str, Any]", shape)["list"]
        wrong = [_unknown(item, inner) for item in cast("Sequence[Any]", value)]
        return [item for item in wrong if item is not None] or None
    if isinstance(shape, dict) and isinstance(value, dict) and "map" in shape:
        inner = cast("dict[str, Any]", shape)["map"]
        items = cast("dict[str, Any]", value).items()
        found = {key: _unknown(item, inner) for key, item in items}
        return {key: item for key, item in found.items() if item is not None} or None
    return None


def _forbidden(document: dict[str, Any]) -> list[str]:
    texts = [
        f'overriding "{path}" is not allowed in the config patch'
        for path in _FORBIDDEN
        if _at(document, path) is not None
    ]
    roles = _at(document, _TALOS_ROLES)
    if isinstance(roles, list) and "os:admin" in roles:
        texts.append(f'element "os:admin" is not allowed in field "{_TALOS_ROLES}"')
    return texts


def _at(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, Any]", value).get(key)
    return value
