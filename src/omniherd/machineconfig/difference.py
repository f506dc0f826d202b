"""What makes one machine configuration out of another, as config patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.shapes import is_list, is_mapping
from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["difference", "identity"]

_DELETE = "$patch"
_MAIN = (("version", "v1alpha1"),)


def difference(
    original: Sequence[Mapping[str, Any]], modified: Sequence[Mapping[str, Any]]
) -> list[list[dict[str, Any]]]:
    """Return the patches that make `modified` out of `original` when they are put on it one after the other.

    Patches append to lists, so a list that changed goes in two steps: the first patch takes it out, and does everything
    else; the second sets it anew.

    Args:
        original: The documents of the first configuration, as `generate` or `read` give them.
        modified: The documents of the second.

    Returns:
        At most two patches, each as a list of documents; none when nothing differs.

    Raises:
        InputError: `modified` has no main document where `original` has one.

    Example:
        >>> before = [{"version": "v1alpha1", "machine": {"certSANs": ["a"], "token": "x"}}]
        >>> after = [{"version": "v1alpha1", "machine": {"certSANs": ["b"], "sysctls": {"c": "1"}}}]
        >>> for patch in difference(before, after):
        ...     print(patch[0]["machine"])
        {'certSANs': {'$patch': 'delete'}, 'sysctls': {'c': '1'}, 'token': {'$patch': 'delete'}}
        {'certSANs': ['b']}
    """
    patches = (_patch(original, modified, first=first) for first in (True, False))
    return [patch for patch in patches if patch]


def identity(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that tell which document of a configuration this is.

    Example:
        >>> identity({"apiVersion": "v1alpha1", "kind": "KmsgLogConfig", "name": "a", "url": "tcp://192.0.2.1:1"})
        {'apiVersion': 'v1alpha1', 'kind': 'KmsgLogConfig', 'name': 'a'}
    """
    if not document.get("kind"):
        return {"version": "v1alpha1"}
    name = {"name": document["name"]} if document.get("name") else {}
    return {"apiVersion": document.get("apiVersion", ""), "kind": document["kind"], **name}


def _patch(
    original: Sequence[Mapping[str, Any]], modified: Sequence[Mapping[str, Any]], *, first: bool
) -> list[dict[str, Any]]:
    before = {tuple(identity(document).items()): document for document in original}
    after = {tuple(identity(document).items()): document for document in modified}
    found: list[dict[str, Any]] = []
    if first:
        if _MAIN in before and _MAIN not in after:
            raise InputError("the second machine configuration has no main document, and no patch can delete that")
        found += [{**dict(key), _DELETE: "delete"} for key in before if key not in after]
        found += [dict(document) for key, document in after.items() if key not in before]
    for key, document in after.items():
        if key in before:
            changed = _mapping(before[key], document, dict(key), first=first)
            if changed:
                found.append(changed)
    return found


def _mapping(
    original: Mapping[str, Any], modified: Mapping[str, Any], identifying: Mapping[str, Any], *, first: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    known: dict[str, Any] = {}
    for key, value in modified.items():
        if key in identifying:
            known[key] = identifying[key]
            continue
        old = original.get(key)
        if key in original and is_mapping(old) and is_mapping(value):
            inner = _mapping(old, value, {}, first=first)
            if inner:
                found[key] = inner
        elif key in original and is_list(old) and is_list(value):
            if not _same(old, value):
                found[key] = {_DELETE: "delete"} if first else value
        elif first and (key not in original or not _same(old, value)):
            found[key] = value
    if first:
        found |= {key: {_DELETE: "delete"} for key in original if key not in modified}
    return {**known, **found} if found else {}


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal and of the same types: 1 is not true, and not 1.0."""
    if is_mapping(one) and is_mapping(other):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if is_list(one) and is_list(other):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other
