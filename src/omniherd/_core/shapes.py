"""Tell mappings and lists from other decoded values, in a way that type checkers follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

__all__ = ["is_items", "is_list", "is_mapping"]


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Tell whether a value is a mapping."""
    return isinstance(value, Mapping)


def is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Tell whether a value is a list or a tuple."""
    return isinstance(value, (list, tuple))


def is_items(value: Any) -> TypeGuard[Iterable[Any]]:
    """Tell whether a value is a sequence of items, and not a text or a mapping, which iterate too."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
