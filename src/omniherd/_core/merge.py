"""Carry a change over to a newer version of what was changed: a three-way merge of resources.

`edit` reads a resource, lets the caller change it, and writes it. When somebody else wrote in between, the caller's
change is taken as the difference between what was read and what it became, and put on the newer version. Only when both
changed the same thing is there a conflict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from omniherd.resource import Resource

__all__ = ["MergeConflict", "merge_resources"]

ResourceT = TypeVar("ResourceT", bound="Resource[Any]")

_ABSENT: Any = object()


class MergeConflict(Exception):
    """Both sides changed the same thing.

    Attributes:
        paths: What both changed, `spec.talos_version` for example.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(", ".join(paths))
        self.paths = tuple(paths)


def merge_resources(base: ResourceT, mine: ResourceT, theirs: ResourceT) -> ResourceT:
    """Return `theirs` with what changed from `base` to `mine`.

    Labels and annotations are merged by key, finalizers by name, specs by field; a list in a spec counts as one value.

    Raises:
        MergeConflict: Both changed the same thing in different ways.
    """
    conflicts: list[str] = []
    merged = theirs.copy()
    for name in ("labels", "annotations"):
        values = _mapping(
            dict(getattr(base, name)), dict(getattr(mine, name)), dict(getattr(theirs, name)), name, conflicts
        )
        setattr(merged, name, values)
    merged.finalizers = _names(list(base.finalizers), list(mine.finalizers), list(theirs.finalizers))
    for name in ("owner", "phase"):
        value = _value(
            getattr(base.metadata, name), getattr(mine.metadata, name), getattr(theirs.metadata, name), name, conflicts
        )
        setattr(merged.metadata, name, value)
    specs: list[Any] = [base.spec, mine.spec, theirs.spec]
    if isinstance(specs[0], dict):
        merged.spec = _mapping(specs[0], specs[1], specs[2], "spec", conflicts)  # pyright: ignore[reportUnknownArgumentType]
    elif specs[0] is not None:
        _message(specs[0], specs[1], merged.spec, "spec", conflicts)
    if conflicts:
        raise MergeConflict(conflicts)
    return merged


def _value(base: Any, mine: Any, theirs: Any, path: str, conflicts: list[str]) -> Any:
    if mine in (base, theirs):
        return theirs
    if theirs == base:
        return mine
    conflicts.append(path)
    return theirs


def _mapping(
    base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any], path: str, conflicts: list[str]
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    # The order of the newer version first: what is only shown stays in place.
    for key in dict.fromkeys([*theirs, *mine]):
        values = [side.get(key, _ABSENT) for side in (base, mine, theirs)]
        where = f"{path}.{key}"
        if all(isinstance(value, Mapping) for value in values):
            out[key] = _mapping(values[0], values[1], values[2], where, conflicts)
            continue
        value = _value(values[0], values[1], values[2], where, conflicts)
        if value is not _ABSENT:
            out[key] = value
    return out


def _names(base: list[str], mine: list[str], theirs: list[str]) -> list[str]:
    kept = [name for name in theirs if name in mine or name not in base]
    return kept + [name for name in mine if name not in base and name not in kept]


def _message(base: Any, mine: Any, target: Any, path: str, conflicts: list[str]) -> None:
    """Put what changed from `base` to `mine` on `target`, which holds the newer version."""
    for field in base.DESCRIPTOR.fields:
        name = field.name
        where = f"{path}.{name}"
        repeated = _is_repeated(field)
        if not repeated and field.message_type is not None:
            sides: list[Any] = [getattr(side, name) if side.HasField(name) else None for side in (base, mine, target)]
            if all(side is not None for side in sides):
                _message(sides[0], sides[1], sides[2], where, conflicts)
                continue
            before, after, newer = (
                None if side is None else side.SerializeToString(deterministic=True) for side in sides
            )
        elif repeated and field.message_type is not None and field.message_type.GetOptions().map_entry:
            _map_field(getattr(base, name), getattr(mine, name), getattr(target, name), where, conflicts)
            continue
        else:
            before, after, newer = (_field(side, field, repeated) for side in (base, mine, target))
        if after in (before, newer):
            continue
        if newer != before:
            conflicts.append(where)
            continue
        target.ClearField(name)
        _copy_field(mine, target, field, repeated)


def _is_repeated(field: Any) -> bool:
    # protobuf 4 and 5 only have the label, 7 only this property.
    known = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if known is None else known)


def _field(message: Any, field: Any, repeated: bool) -> Any:
    if repeated:
        values = getattr(message, field.name)
        if field.message_type is not None:
            return [value.SerializeToString(deterministic=True) for value in values]
        return list(values)
    if field.has_presence and not message.HasField(field.name):
        return _ABSENT
    return getattr(message, field.name)


def _copy_field(source: Any, target: Any, field: Any, repeated: bool) -> None:
    if repeated:
        getattr(target, field.name).extend(getattr(source, field.name))
    elif field.message_type is not None:
        if source.HasField(field.name):
            getattr(target, field.name).CopyFrom(getattr(source, field.name))
    elif not field.has_presence or source.HasField(field.name):
        setattr(target, field.name, getattr(source, field.name))


def _map_field(before: Any, after: Any, newer: Any, path: str, conflicts: list[str]) -> None:
    for key in set(before) | set(after) | set(newer):
        values = [side.get(key) for side in (before, after, newer)]
        if values[1] in (values[0], values[2]):
            continue
        if values[2] != values[0]:
            conflicts.append(f"{path}.{key}")
        elif values[1] is None:
            del newer[key]
        elif hasattr(values[1], "CopyFrom"):
            newer[key].CopyFrom(values[1])
        else:
            newer[key] = values[1]
