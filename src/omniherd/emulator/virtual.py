"""Resources that the server computes for each call: who is asking, what they may do, fixed lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import denied, insufficient, rank, refuse
from omniherd.emulator.catalog import load_catalog
from omniherd.emulator.forms import TYPES, encode, spec_class
from omniherd.emulator.records import UNDEFINED, StateError, Stored, describe, missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.access import Principal
    from omniherd.emulator.store import Store

__all__ = ["Virtual"]

_NIL = "runtime error: invalid memory address or nil pointer dereference"
_SUFFIX = ".omni.sidero.dev"
_USAGES = "KubernetesUsages" + _SUFFIX
_BACKUPS = "EtcdBackups" + _SUFFIX
_UNSUPPORTED = "unsupported resource type"
_FIXED = ("CloudPlatformConfigs", "MetalPlatformConfigs", "SBCConfigs")

_READER_PERMISSIONS = (
    "can_read_clusters",
    "can_read_machines",
    "can_read_machine_logs",
    "can_read_machine_config_patches",
    "can_read_join_tokens",
    "can_read_installation_media",
)
_OPERATOR_PERMISSIONS = (
    "can_create_clusters",
    "can_remove_machines",
    "can_manage_machine_config_patches",
    "can_access_maintenance_nodes",
    "can_manage_installation_media",
)
_READER_CLUSTER_PERMISSIONS = (
    "can_download_kubeconfig",
    "can_download_talosconfig",
    "can_read_config_patches",
    "can_read_machine_config",
    "can_read_kernel_args",
    "can_read_machine_pending_updates",
    "can_read_kubernetes_manifests",
)


class Virtual:
    """The computed resources.

    Args:
        store: The state they are computed from, and the clock.
        api_url: The address of the server's API as clients see it, with a slash at its end.
    """

    def __init__(self, store: Store, api_url: Callable[[], str]) -> None:
        self._store = store
        self._api_url = api_url
        self._types = {row.type for row in TYPES.values() if row.namespace == "virtual" and row.since is None}
        self._types.add(_BACKUPS)

    @staticmethod
    def has(namespace: str) -> bool:
        """Whether what is in a namespace is computed."""
        return namespace in {"external", "virtual"}

    def _not_here(self, namespace: str, type_name: str) -> bool:
        """Whether a namespace has no resources of a type, and says so."""
        if namespace == "external":
            return type_name != _BACKUPS
        return namespace == "virtual" and (type_name == _BACKUPS or type_name not in self._types)

    def get(self, principal: Principal, namespace: str, type_name: str, id_: str) -> Stored:
        """Return one resource.

        Args:
            principal: Who asks.
            namespace: The namespace asked for.
            type_name: The full type name.
            id_: The id; some types answer any.

        Raises:
            StateError: There is none.
        """
        name = type_name.removesuffix(_SUFFIX)
        if name == "CurrentUsers" and id_ == "current":
            return self._current_user(principal)
        if name == "Permissions":
            return self._permissions(principal)
        if name == "ClusterPermissions":
            return self._cluster_permissions(principal, id_)
        if name == "AdvertisedEndpoints":
            return self._make(type_name, id_, {"grpc_api_url": self._api_url()}, version=UNDEFINED)
        if name == "Quirks":
            return self._make(type_name, id_, _quirks(id_))
        if name in _FIXED:
            spec = load_catalog()[type_name].get(id_)
            if spec is not None:
                return self._make(type_name, id_, spec, version=UNDEFINED)
        if name == "LabelsCompletions":
            return self._make(type_name, id_, {"items": self._labels(id_)})
        raise missing(namespace, type_name, id_)

    def list(self, principal: Principal, namespace: str, type_name: str, by_labels: bool, by_id: bool) -> list[Stored]:
        """Return all resources of a type, in the order of the server.

        Args:
            principal: Who asks.
            namespace: The namespace asked for.
            type_name: The full type name.
            by_labels: Whether the caller asked for labels, which these types refuse.
            by_id: Whether the caller asked for ids, which they refuse too.

        Raises:
            StateError: The type cannot be listed, or not by a query.
        """
        if namespace == "external" and type_name != _BACKUPS:
            named = describe(type_name, namespace, "", UNDEFINED)
            raise StateError("UNKNOWN", f'{_UNSUPPORTED}: unsupported resource kind for list "{named}"')
        if namespace == "external" and not by_labels:
            raise StateError("UNKNOWN", "failed to validate: cluster ID must be specified in query")
        if namespace == "external":
            return []
        if by_labels:
            raise StateError("UNIMPLEMENTED", "label queries are not supported")
        if by_id:
            raise StateError("UNIMPLEMENTED", "id query is not supported")
        ops = () if self._not_here(namespace, type_name) else TYPES[type_name].ops
        if ops is not None and "list" not in ops:
            raise StateError("UNIMPLEMENTED", f'{_UNSUPPORTED} for list "{type_name}"')
        name = type_name.removesuffix(_SUFFIX)
        if name == "CurrentUsers":
            return [self._current_user(principal)]
        if name == "Permissions":
            return [self._permissions(principal)]
        if name == "Quirks":
            versions = self._store.list("default", "TalosVersions.omni.sidero.dev")
            return [self.get(principal, namespace, type_name, version.id) for version in versions]
        return [self.get(principal, namespace, type_name, id_) for id_ in load_catalog().get(type_name, ())]

    @staticmethod
    def follows(namespace: str, type_name: str, *, kind: bool) -> bool:
        """Whether a type can be watched after all; nothing ever changes there."""
        return kind and namespace == "external" and type_name == _BACKUPS

    def refuse_watch(self, namespace: str, type_name: str, id_: str, *, kind: bool) -> None:
        """Refuse a watch of a type; none of them can be watched.

        Args:
            namespace: The namespace.
            type_name: The full type name.
            id_: The id asked for.
            kind: Whether the whole kind was asked for.

        Raises:
            StateError: Always.
        """
        if namespace == "external":
            named = describe(type_name, namespace, "", UNDEFINED)
            what = f'unsupported resource kind for watch "{named}"' if kind else "watch is not supported"
            raise StateError("UNKNOWN", f"{_UNSUPPORTED}: {what}")
        if type_name == _USAGES and not kind:
            raise self._no_cluster(id_, "UNKNOWN")
        raise StateError("UNIMPLEMENTED", f'{_UNSUPPORTED} for {"watch kind" if kind else "watch"} "{type_name}"')

    @staticmethod
    def refuse_creation(namespace: str) -> None:
        """Refuse a creation where nothing can be created.

        Args:
            namespace: The namespace.

        Raises:
            StateError: Nothing can be created there.
        """
        if namespace == "virtual":
            raise StateError("UNIMPLEMENTED", "create is not supported")
        if namespace == "external":
            raise StateError("UNKNOWN", f"{_UNSUPPORTED}: create is not supported")

    def precheck(self, principal: Principal, verb: str, named: Stored) -> None:
        """Judge what the server judges before it looks at the caller's role, on reads and changes of one resource.

        Args:
            principal: Who asks.
            verb: `get`, `update` or `destroy`.
            named: What is asked for.

        Raises:
            StateError: The call ends here.
        """
        type_name, id_ = named.type, named.id
        if not self.has(named.namespace):
            return
        if self._not_here(named.namespace, type_name):
            if named.namespace == "external":
                raise StateError("UNKNOWN", f'{_UNSUPPORTED}: {_UNSUPPORTED} for get "{named}"')
            raise StateError("UNIMPLEMENTED", f'{_UNSUPPORTED} for get "{type_name}"')
        if type_name == "AdvertisedEndpoints" + _SUFFIX and id_ != "current":
            raise StateError("UNKNOWN", f'invalid endpoints id "{id_}"')
        if type_name == "Supports" + _SUFFIX:
            raise StateError("INTERNAL", _NIL)
        if type_name == _BACKUPS:
            stamp = id_.rpartition("-")[2]
            if not (stamp.isascii() and stamp.isdigit()):
                text = f'invalid timestamp in ID "{id_}": strconv.Atoi: parsing "{stamp}": invalid syntax'
                raise StateError("UNKNOWN", f"failed to validate: {text}")
        if type_name == _USAGES:
            if rank(principal.role) < rank("Reader"):
                denial = refuse([denied(insufficient(principal.role))], "PERMISSION_DENIED")
                raise StateError(denial.code, f"failed to resolve watch id: {denial.message}")
            if verb == "get":
                raise self._no_cluster(id_, "NOT_FOUND")

    @staticmethod
    def _no_cluster(id_: str, code: str) -> StateError:
        text = missing("default", "ClusterUUIDs" + _SUFFIX, id_).message
        return StateError(code, f"failed to resolve watch id: {text}")

    def _make(self, type_name: str, id_: str, fields: dict[str, Any], version: str = "1") -> Stored:
        now = self._store.now()
        return Stored("virtual", type_name, id_, version, created=now, updated=now, spec=encode(type_name, fields))

    def _current_user(self, principal: Principal) -> Stored:
        fields = {"identity": principal.identity, "role": principal.role, "user_id": principal.user_id}
        return self._make("CurrentUsers" + _SUFFIX, "current", fields)

    def _permissions(self, principal: Principal) -> Stored:
        level = rank(principal.role)
        names = _field_names("Permissions" + _SUFFIX)
        fields = {
            name: level
            >= rank(
                "Reader" if name in _READER_PERMISSIONS else "Operator" if name in _OPERATOR_PERMISSIONS else "Admin"
            )
            for name in names
        }
        return self._make("Permissions" + _SUFFIX, "permissions", fields)

    def _cluster_permissions(self, principal: Principal, id_: str) -> Stored:
        level = rank(principal.role)
        type_name = "ClusterPermissions" + _SUFFIX
        fields = {
            name: level >= rank("Reader" if name in _READER_CLUSTER_PERMISSIONS else "Operator")
            for name in _field_names(type_name)
        }
        return self._make(type_name, id_, fields)

    def _labels(self, type_name: str) -> dict[str, Any]:
        values: dict[str, set[str]] = {}
        for resource in self._store.list("default", type_name):
            for key, value in resource.labels.items():
                values.setdefault(key, set()).add(value)
        return {key: {"items": sorted(found)} for key, found in values.items()}


def _field_names(type_name: str) -> list[str]:
    cls = spec_class(type_name)
    assert cls is not None  # noqa: S101 - virtual types have specs
    return [field.name for field in cls.DESCRIPTOR.fields]


def _quirks(version: str) -> dict[str, Any]:
    known = load_catalog()["Quirks.omni.sidero.dev"]
    return known.get(version) or next(reversed(known.values()))
