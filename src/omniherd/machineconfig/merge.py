"""Put documents into a machine configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.shapes import is_list, is_mapping
from omniherd.errors import InputError
from omniherd.machineconfig.difference import identity
from omniherd.machineconfig.fields import Field, empty_text, fields_of, shape_of_kind
from omniherd.machineconfig.normal import normal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["merge"]

_ANYTHING = "interface"


def merge(documents: Sequence[Mapping[str, Any]], patch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a machine configuration with a strategic merge patch put on it.

    A document that the configuration does not have is added. In one that it has, values replace values, mappings are
    merged, and lists are added to lists, or replace them where Talos says so. An address is replaced whole, where Talos
    keeps the parts of it that the new one does not have.

    Args:
        documents: The configuration, as `read` gives it. It stays as it is.
        patch: The patch's documents, as `read` gives them.

    Raises:
        InputError: The patch deletes something, or would merge a list whose items Talos merges by their names.

    Example:
        >>> here = {"apiVersion": "v1alpha1", "kind": "EventSinkConfig", "endpoint": "192.0.2.1:8090"}
        >>> there = here | {"endpoint": "192.0.2.2:8090"}
        >>> merge([{"version": "v1alpha1"}, here], [there])[1]["endpoint"]
        '192.0.2.2:8090'
    """
    merged = [dict(document) for document in documents]
    for document in patch:
        if "$patch" in document:
            raise InputError("a patch that deletes documents cannot be merged here")
        at = next((at for at, one in enumerate(merged) if identity(one) == identity(document)), None)
        if at is None:
            merged.append(dict(document))
            continue
        shape = shape_of_kind(document.get("kind", ""))
        whole = _mapping(merged[at], document, shape or _ANYTHING, ())
        merged[at] = whole if shape is None else normal(whole, shape)
    return sorted(merged, key=lambda document: bool(document.get("kind")))


def _mapping(left: Mapping[str, Any], right: Mapping[str, Any], shape: str, path: tuple[str, ...]) -> dict[str, Any]:
    merged = dict(left)
    for key, value in right.items():
        merged[key] = _value(left[key], value, _field(shape, key), (*path, key)) if key in left else value
    return merged


def _field(shape: str, key: str) -> Field:
    """Return what a shape holds under a key."""
    shape = shape.removeprefix("*")
    if shape.startswith("@"):
        return next((field for field in fields_of(shape) if field.name == key), Field(key, _ANYTHING))
    return Field(key, shape.removeprefix("{}") if shape.startswith("{}") else _ANYTHING)


def _value(left: Any, right: Any, field: Field, path: tuple[str, ...]) -> Any:
    if is_mapping(right):
        if "$patch" in right:
            raise InputError(f"{'.'.join(path)}: a patch that deletes cannot be merged here")
        if field.keyed:
            # The arguments of programs: one that is given anew replaces the old one, be it a text or a list.
            return {**left, **right}
        if field.replace or "~" in field.shape or not is_mapping(left):
            return right or left
        return _mapping(left, right, field.shape, path)
    if is_list(right):
        if field.replace or not right or not is_list(left) or not left:
            return right or left
        if field.keyed:
            raise InputError(f"{'.'.join(path)}: its items are merged by name, which is not done here")
        return [*left, *right]
    return left if _says_nothing(right, field.shape) else right


def _says_nothing(value: Any, shape: str) -> bool:
    """Tell whether a value is the one that a field has by itself; a field that may be absent has none."""
    if value is None:
        return True
    if shape.startswith("*") or isinstance(value, bool):
        return False
    return value in {"", 0, "0s"} or (shape.startswith("~") and value == empty_text(shape))
