"""Sort resources by what a caller names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from omniherd.errors import InputError

__all__ = ["Sort", "sorted_resources"]

T = TypeVar("T")
Sort = str | Callable[[Any], Any]


def sorted_resources(resources: Sequence[T], sort: Sort) -> list[T]:
    """Return the resources in another order.

    Args:
        resources: The resources.
        sort: An attribute path (`created`, `spec.kubernetes_version`), with a leading `-` for the reverse order, or a
            key function. What has no value comes last in either order.

    Raises:
        InputError: A resource has no such attribute, or the values do not compare.
    """
    try:
        if not isinstance(sort, str):
            return sorted(resources, key=sort)
        reverse = sort.startswith("-")
        path = sort.removeprefix("-").split(".")
        keyed = [(_value(resource, path, sort), resource) for resource in resources]
        present = sorted((pair for pair in keyed if pair[0] is not None), key=lambda pair: pair[0], reverse=reverse)
        return [resource for _, resource in present] + [resource for value, resource in keyed if value is None]
    except TypeError as error:
        raise InputError(f"cannot sort by {sort!r}: {error}") from None


def _value(resource: Any, path: list[str], sort: str) -> Any:
    value: Any = resource
    for name in path:
        if value is None:
            return None
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(name)
            continue
        try:
            value = getattr(value, name)
        except AttributeError:
            raise InputError(f"there is nothing to sort by of the name {sort.removeprefix('-')!r}") from None
    return value
