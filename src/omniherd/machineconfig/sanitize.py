"""Config patches without what Omni sets by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.shapes import is_list, is_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ADMIN_ROLE", "MISSING", "OWNED", "OWNED_SINCE_1_10", "ROLES", "at_path", "sanitize"]

OWNED = (
    "cluster.clusterName",
    "cluster.id",
    "cluster.controlPlane.endpoint",
    "cluster.token",
    "cluster.secret",
    "cluster.aescbcEncryptionSecret",
    "cluster.secretboxEncryptionSecret",
    "cluster.ca",
    "cluster.acceptedCAs",
    "cluster.serviceAccount",
    "machine.token",
    "machine.ca",
    "machine.type",
    "machine.install.disk",
    "machine.install.extensions",
    "machine.acceptedCAs",
)
"""What Omni sets by itself. The order is the one of the errors."""
OWNED_SINCE_1_10 = frozenset(("cluster.ca", "cluster.serviceAccount", "machine.install.disk"))
"""What of this a patch may still set in Omni 1.9."""
ADMIN_ROLE = "os:admin"
"""The role of Talos' API that pods cannot have."""
ROLES = "machine.features.kubernetesTalosAPIAccess.allowedRoles"
"""Where the roles of pods stand."""
MISSING: Any = object()
"""What `at_path` returns where there is nothing."""


def sanitize(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a config patch's documents without what Omni 1.9 owns.

    Args:
        documents: The documents; they stay as they are.

    Returns:
        As many documents. Top-level sections that are empty now or were before are left out.

    Example:
        >>> sanitize([{"machine": {"token": "x", "type": "worker"}, "cluster": {"token": "y", "proxy": {}}}])
        [{'cluster': {'proxy': {}}}]
    """
    return [_without_owned(document) for document in documents]


def at_path(document: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a path of keys with dots between them, `MISSING` when nothing does."""
    value: Any = document
    for part in path.split("."):
        # Go looks only into mappings whose keys are all text.
        if not is_mapping(value) or part not in value or not all(isinstance(key, str) for key in value):
            return MISSING
        value = value[part]
    return value


def _without_owned(document: Mapping[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = dict(document)
    for path in OWNED:
        if path not in OWNED_SINCE_1_10 and at_path(clean, path) is not MISSING:
            _put(clean, path.split("."), MISSING)
    for key in [key for key, value in clean.items() if value == {}]:
        del clean[key]
    roles = at_path(clean, ROLES)
    if is_list(roles) and ADMIN_ROLE in roles:
        _put(clean, ROLES.split("."), [role for role in roles if role != ADMIN_ROLE] or MISSING)
    return clean


def _put(document: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set the value at a path, or take it out, in copies of the mappings on the way."""
    for part in path[:-1]:
        document[part] = dict(document[part])
        document = document[part]
    if value is MISSING:
        del document[path[-1]]
    else:
        document[path[-1]] = value
