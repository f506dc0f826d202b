"""Limits of ids, labels and annotations, which hold for every type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.gotext import has_control, quote, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.emulator.records import Stored

__all__ = ["judge_metadata"]

_KEY = 1024
_VALUE = 16 * 1024
_COUNT = 256


def judge_metadata(verb: str, current: Stored | None, resource: Stored) -> list[str]:
    """Return what is wrong with a resource's metadata: one fault each of id, labels and annotations.

    Args:
        verb: `create`, `update`, `teardown` or `destroy`; the last two say nothing new.
        current: What is stored; what an update leaves as it is has passed already.
        resource: What is to be stored.
    """
    if verb not in {"create", "update"}:
        return []
    faults = [
        _id(resource.id) if verb == "create" else None,
        _entries("label", {} if current is None else current.labels, resource.labels),
        _entries("annotation", {} if current is None else current.annotations, resource.annotations),
    ]
    return [fault for fault in faults if fault is not None]


def _id(id_: str) -> str | None:
    if not id_:
        return "resource ID must not be empty"
    if size(id_) > _KEY:
        return f"resource ID is too long: {size(id_)} bytes (max {_KEY})"
    return "resource ID must not contain control characters" if has_control(id_) else None


def _entries(kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> str | None:
    if len(new) > _COUNT and len(new) > len(old):
        return f"too many {kind}s: {len(new)} (max {_COUNT})"
    faults = (_entry(kind, key, value) for key, value in new.items() if old.get(key) != value)
    return next((fault for fault in faults if fault is not None), None)


def _entry(kind: str, key: str, value: str) -> str | None:
    if not key:
        return f"{kind} key must not be empty"
    if size(key) > _KEY:
        return f"{kind} key is too long: {size(key)} bytes (max {_KEY})"
    if has_control(key):
        return f"{kind} key {quote(key)} must not contain control characters"
    if size(value) > _VALUE:
        return f"{kind} value for key {quote(key)} is too long: {size(value)} bytes (max {_VALUE})"
    if has_control(value):
        return f"{kind} value for key {quote(key)} must not contain control characters"
    return None
