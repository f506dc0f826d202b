"""What describes resources: namespaces, and the definition of every type that the server has."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from omniherd._core.pool import message
from omniherd._core.resource_table import TABLE

if TYPE_CHECKING:
    from omniherd._core.resource_table import TypeInfo
    from omniherd.emulator.store import Store

__all__ = ["add_definitions"]

_DEFINITION = "ResourceDefinitions.meta.cosi.dev"

_SENSITIVE = frozenset(
    {
        "ConfigPatchRequests.omni.sidero.dev",
        "ConfigPatches.omni.sidero.dev",
        "Configs.omni.sidero.dev",
        "EtcdBackupS3Configs.omni.sidero.dev",
    }
)


def add_definitions(store: Store) -> None:
    """Store a definition for each type of the emulated version."""
    for id_, spec in _definitions():
        store.put(_DEFINITION, id_, spec, namespace="meta", owner="meta")


@cache
def _definitions() -> tuple[tuple[str, bytes], ...]:
    """Return ids and encoded specs; they are a third of what a new emulator has to do, and always the same."""
    found: list[tuple[str, bytes]] = []
    cls = message("cosi.resource.meta.ResourceDefinitionSpec")
    for info in TABLE:
        if not info.registered or info.since is not None:
            continue
        spec = cls(
            resource_type=info.type,
            display_type=info.display,
            default_namespace=info.namespace,
            aliases=info.aliases,
            all_aliases=_all_aliases(info),
            print_columns=[{"name": name, "json_path": path} for name, path in info.columns],
            sensitivity=int(info.type in _SENSITIVE),
        )
        found.append((info.type.lower(), spec.SerializeToString()))
    return tuple(found)


def _all_aliases(info: TypeInfo) -> list[str]:
    """Return every name a type answers to: the type with each leading part of its suffix, then its aliases."""
    parts = info.type.lower().split(".")
    return [*(".".join(parts[:count]) for count in range(1, len(parts))), *info.aliases]
