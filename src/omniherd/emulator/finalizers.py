"""Finalizers: who holds a resource, and lets it go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.records import RUNNING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["hold", "release"]


def hold(store: Store, resource: Stored, holders: Iterable[str]) -> None:
    """Add finalizers that a resource lacks, one write for each as their controllers would."""
    for holder in holders:
        current = store.find(resource.namespace, resource.type, resource.id)
        if current is not None and current.phase == RUNNING and holder not in current.finalizers:
            store.modify(*_key(current), finalizers=(*current.finalizers, holder))


def release(store: Store, resource: Stored, holders: Iterable[str]) -> None:
    """Take finalizers off a resource, one write for each."""
    for holder in holders:
        current = store.find(resource.namespace, resource.type, resource.id)
        if current is not None and holder in current.finalizers:
            rest = tuple(name for name in current.finalizers if name != holder)
            store.modify(*_key(current), finalizers=rest)


def _key(resource: Stored) -> tuple[str, str, str]:
    return resource.namespace, resource.type, resource.id
