"""One typed class for every resource type of Omni's API.

The classes are made when they are first asked for; `from omniherd.resources import Cluster` costs microseconds. Their
types stand in the generated stub beside this file, the facts behind them in `omniherd._core.resource_table`.

Example:
    >>> from omniherd.resources import Cluster
    >>> lab = Cluster("lab", labels={"env": "test"}, spec={"talos_version": "1.13.5", "kubernetes_version": "1.36.1"})
    >>> lab.spec.kubernetes_version
    '1.36.1'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.resource_table import TABLE as ALL_TYPES

if TYPE_CHECKING:
    from omniherd.resource import Resource

_TYPE_OF_NAME = {info.name: info.type for info in ALL_TYPES}

# A type checker reads the stub; at run time the list follows from the table.
__all__ = ["ALL_TYPES", *sorted(_TYPE_OF_NAME)]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> type[Resource[Any]]:
    try:
        type_name = _TYPE_OF_NAME[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    from omniherd.resource import class_for_type

    found = class_for_type(type_name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
