"""What the audit log says about a change, by the type of the resource, in the order and form of the real server."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from omniherd.emulator.controllers import USER_MANAGED
from omniherd.emulator.forms import unpacked
from omniherd.emulator.names import IDENTITY, PUBLIC_KEY, SERVICE_ACCOUNT_LABEL, USER
from omniherd.emulator.records import CREATED, DESTROYED, TEARING_DOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.records import Event, Stored

__all__ = ["ACCOUNTS", "SECTIONS", "cluster_in", "described", "is_logged", "kind_of"]

ACCOUNTS = frozenset({IDENTITY, PUBLIC_KEY, USER})
"""Types that the server tears down before it destroys them, whoever asked for it."""

SECTIONS = (
    "new_user",
    "machine",
    "machine_labels",
    "access_policy",
    "cluster",
    "machine_set",
    "machine_set_node",
    "config_patch",
    "machine_config_diff",
    "talos_access",
)
"""What an entry can tell of, in the order in which it stands there."""

_O = ".omni.sidero.dev"
_CLUSTER = "omni.sidero.dev/cluster"
_NEW_USER = "new_user"
_MACHINE = "Machines" + _O
_DIFFS = "MachineConfigDiffs" + _O
_NAMES = {
    "AccessPolicies" + _O: "access_policy",
    "Clusters" + _O: "cluster",
    "ConfigPatches" + _O: "config_patch",
    "MachineLabels" + _O: "machine_labels",
    "MachineSetNodes" + _O: "machine_set_node",
    "MachineSets" + _O: "machine_set",
    _MACHINE: "machine",
    _DIFFS: "machine_config_diff",
}
# Types whose changes are not all told.
_ONLY = {
    "ImportedClusterSecrets" + _O: frozenset({"create", "destroy"}),
    "Links" + _O: frozenset({"destroy"}),
    _MACHINE: frozenset({"create", "teardown", "destroy"}),
    _DIFFS: frozenset({"create"}),
}
_ALL = frozenset({"create", "update", "teardown", "destroy"})
_LOGGED = frozenset({*USER_MANAGED, *_NAMES, *_ONLY, *ACCOUNTS, "JoinTokens" + _O})
# What is left out of the sections of types whose changes by controllers count only while nobody owns them.
_OWNERLESS = frozenset({"MachineSets" + _O, "MachineSetNodes" + _O})


def is_logged(type_name: str) -> bool:
    """Tell whether changes of a type are in the log."""
    return type_name in _LOGGED


def kind_of(event: Event) -> str:
    """Return how the log calls a change: `create`, `update`, `teardown` or `destroy`; empty for one that it omits."""
    resource, old = event.resource, event.old
    if resource is None:
        return ""
    if event.kind == CREATED:
        name = "create"
    elif event.kind == DESTROYED:
        name = "destroy"
    elif old is None or (old.spec == resource.spec and old.phase == resource.phase):
        return ""
    else:
        name = "teardown" if resource.phase == TEARING_DOWN else "update"
    if resource.type in _OWNERLESS and resource.owner and name != "destroy":
        return ""
    return name if name in _ONLY.get(resource.type, _ALL) else ""


def described(resource: Stored, event: str) -> dict[str, dict[str, Any]]:
    """Return what an entry tells of a resource, by section.

    Args:
        resource: The resource.
        event: What happened to it.
    """
    if resource.type in {IDENTITY, USER}:
        return {_NEW_USER: _user(resource, event)}
    name = _NAMES.get(resource.type)
    if name is None:
        return {}
    if event != "destroy":
        return {name: _bare(_CONTENTS[name](resource))}
    found: dict[str, Any] = {"id": resource.id}
    if resource.type == _MACHINE and resource.labels:
        found = {"labels": dict(resource.labels), **found}
    return {name: found}


def cluster_in(sections: dict[str, dict[str, Any]]) -> str:
    """Return the cluster that an entry counts to; empty for none."""
    for name in ("cluster", "talos_access", "machine_set", "machine_set_node", "config_patch", "machine_config_diff"):
        if name in sections:
            key = {"cluster": "id", "talos_access": "cluster_name"}.get(name, "cluster_id")
            return str(sections[name].get(key, ""))
    return ""


def _bare(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", None, False, {}, [])}


def _user(resource: Stored, event: str) -> dict[str, Any]:
    if resource.type == USER:
        if event == "destroy":
            return {"id": resource.id}
        return _bare({"role": resource.decode().role, "id": resource.id})
    account = SERVICE_ACCOUNT_LABEL in resource.labels
    found: dict[str, Any] = {"email": resource.id, "is_service_account": account}
    if event != "destroy":
        found["id"] = resource.decode().user_id
    return _bare(found)


def _machine(resource: Stored) -> dict[str, Any]:
    spec = resource.decode()
    return {
        "labels": dict(resource.labels),
        "id": resource.id,
        "management_address": spec.management_address,
        "is_connected": spec.connected,
    }


def _machine_labels(resource: Stored) -> dict[str, Any]:
    return {"labels": dict(resource.labels), "id": resource.id}


def _machine_set_node(resource: Stored) -> dict[str, Any]:
    return {**_machine_labels(resource), "cluster_id": resource.labels.get(_CLUSTER, "")}


def _access_policy(resource: Stored) -> dict[str, Any]:
    plain = _plain(resource.decode())
    names = ("cluster_groups", "user_groups", "rules", "tests")
    return {"id": resource.id, **{name: plain.get(name) for name in names}}


def _cluster(resource: Stored) -> dict[str, Any]:
    spec = resource.decode()
    parts = ("backup_configuration", "features")
    found: dict[str, Any] = {"id": resource.id, "labels": dict(resource.labels)}
    found |= {name: _plain(getattr(spec, name)) for name in parts if spec.HasField(name)}
    return {**found, "kubernetes_version": spec.kubernetes_version, "talos_version": spec.talos_version}


def _machine_set(resource: Stored) -> dict[str, Any]:
    spec = resource.decode()

    def chosen(name: str) -> str:
        values = spec.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number
        return str(values[getattr(spec, name)].name)

    parts = ("machine_allocation", "bootstrap_spec", "update_strategy_config", "delete_strategy_config")
    found: dict[str, Any] = {"labels": dict(resource.labels)}
    found |= {name: _plain(getattr(spec, name)) for name in parts if spec.HasField(name)}
    return {
        **found,
        "id": resource.id,
        "update_strategy": chosen("update_strategy"),
        "delete_strategy": chosen("delete_strategy"),
        "cluster_id": resource.labels.get(_CLUSTER, ""),
    }


def _config_patch(resource: Stored) -> dict[str, Any]:
    spec = unpacked(resource.type, resource.decode())
    return {
        "labels": dict(resource.labels),
        "id": resource.id,
        "data": spec.data,
        "cluster_id": resource.labels.get(_CLUSTER, ""),
    }


def _machine_config_diff(resource: Stored) -> dict[str, Any]:
    return {
        "id": resource.id,
        "diff": resource.decode().diff,
        "cluster_id": resource.labels.get(_CLUSTER, ""),
    }


_CONTENTS: dict[str, Callable[[Stored], dict[str, Any]]] = {
    "access_policy": _access_policy,
    "cluster": _cluster,
    "config_patch": _config_patch,
    "machine": _machine,
    "machine_config_diff": _machine_config_diff,
    "machine_labels": _machine_labels,
    "machine_set": _machine_set,
    "machine_set_node": _machine_set_node,
}


def _plain(proto: Any) -> dict[str, Any]:
    """Return a message as the server's JSON encoder writes it: by proto names, enums and times as numbers."""

    def value(found: Any) -> Any:
        if hasattr(found, "ListFields"):
            return _plain(found)
        return base64.b64encode(found).decode() if isinstance(found, bytes) else found

    shown: dict[str, Any] = {}
    for field, content in proto.ListFields():
        if hasattr(content, "items"):
            shown[field.name] = {str(key): value(one) for key, one in sorted(content.items())}
        elif hasattr(content, "extend"):
            shown[field.name] = [value(one) for one in content]
        else:
            shown[field.name] = value(content)
    return shown
