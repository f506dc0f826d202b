"""What infra providers and the server exchange: who may touch the namespaces `infra-provider…`.

Refusals come bare here, without the form of validators, and existence is told before the right to write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import insufficient, rank
from omniherd.emulator.access_table import ACCESS
from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.access import Principal
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Match, Store

__all__ = ["ProviderRules", "among_providers", "is_provider_resource", "visible"]

_NAMESPACE = "infra-provider"
_EPHEMERAL = "infra-provider-ephemeral"
_PROVIDERS = "InfraProviders.omni.sidero.dev"
_REQUESTS = "MachineRequests.omni.sidero.dev"
_LINKS = "Links.omni.sidero.dev"
_LABEL = "omni.sidero.dev/infra-provider-id"

_TYPES = frozenset(name for name, row in ACCESS.items() if "provider_access" in row)
_ADMINS_ONLY = frozenset(name for name in _TYPES if ACCESS[name]["access"].get("read") == "Admin")
_NOT_THEIRS = frozenset(name for name in _TYPES if ACCESS[name]["provider_access"].get("update") == "finalizers")
"""Types that providers read and hold, no more."""

# The server reads these from a cache that asks nobody, an oversight of v1.9.3.
_UNGUARDED = frozenset({"ConfigPatchRequests.omni.sidero.dev", "ProviderJoinConfigs.omni.sidero.dev"})
_OWN_ID = frozenset(
    {_PROVIDERS, "InfraProviderStatuses.omni.sidero.dev", "InfraProviderHealthStatuses.omni.sidero.dev"}
)


def is_provider_resource(namespace: str, type_name: str) -> bool:
    """Whether the rules of users' roles do not count for a resource: these types are free in foreign namespaces."""
    return namespace.startswith(_NAMESPACE + ":") or type_name in _TYPES


def among_providers(namespace: str) -> bool:
    """Whether the rules of this module decide on what is in a namespace."""
    return namespace in {_NAMESPACE, _EPHEMERAL} or namespace.startswith(_NAMESPACE + ":")


class ProviderRules:
    """The rules.

    Args:
        store: The state, asked which providers are registered.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, principal: Principal, verb: str, namespace: str, type_name: str) -> Match | None:
        """Judge a read; return which resources the caller may see, None for all.

        Args:
            principal: The caller.
            verb: `get`, `list` or `watch`.
            namespace: The namespace.
            type_name: The full type name.

        Raises:
            StateError: The caller may not read.
        """
        if type_name in _UNGUARDED and namespace == _NAMESPACE and verb != "watch":
            return None
        name = self._caller(principal, namespace, type_name, writes=False)
        return None if name is None else lambda resource: resource.labels.get(_LABEL) == name

    def create(self, principal: Principal, resource: Stored) -> Stored:
        """Judge a creation; return the resource with the provider's label when a provider makes it.

        Raises:
            StateError: The caller may not create it.
        """
        name = self._caller(principal, resource.namespace, resource.type, writes=True)
        if name is None:
            return resource
        if resource.type in _NOT_THEIRS:
            raise _provider_refused("create", resource.type)
        if resource.type in _OWN_ID and resource.id != name:
            raise StateError("INVALID_ARGUMENT", f'resource ID must match the infra provider ID "{name}"')
        return resource.replace(labels={**resource.labels, _LABEL: name})

    def update(self, principal: Principal, current: Stored, resource: Stored) -> Stored:
        """Judge an update, or a teardown as one; return the resource, on which a provider's label stays.

        Raises:
            StateError: The caller may not change it, or not see it.
        """
        name = self._caller(principal, current.namespace, current.type, writes=True)
        if name is None:
            return resource
        if resource.type in _NOT_THEIRS and _without_finalizers(current) != _without_finalizers(resource):
            raise StateError(
                "PERMISSION_DENIED",
                f'infra providers are not allowed to update "{current.type}" resources other than setting finalizers',
            )
        visible(lambda found: found.labels.get(_LABEL) == name, current)
        return resource.replace(labels={**resource.labels, _LABEL: name})

    def destroy(self, principal: Principal, current: Stored) -> None:
        """Judge a destruction.

        Raises:
            StateError: The caller may not destroy it, or not see it.
        """
        name = self._caller(principal, current.namespace, current.type, writes=True)
        if name is None:
            return
        if current.type in _NOT_THEIRS:
            raise _provider_refused("destroy", current.type)
        visible(lambda found: found.labels.get(_LABEL) == name, current)

    def _caller(self, principal: Principal, namespace: str, type_name: str, *, writes: bool) -> str | None:
        """Return the name of the provider whose label counts, None for users and in a provider's own namespace.

        Raises:
            StateError: The type does not belong here, the role is too low, the provider is not registered, the
                namespace another's or not for the type.
        """
        if not is_provider_resource(namespace, type_name):
            raise StateError(
                "PERMISSION_DENIED",
                f'internal error: resource "{type_name}" is not an infra provider managed resource',
            )
        if rank(principal.role) < rank("InfraProvider"):
            raise StateError("PERMISSION_DENIED", insufficient(principal.role))
        if principal.role != "InfraProvider":
            _judge_user(principal, type_name, writes=writes)
            return None
        name = principal.identity.partition("@")[0]
        if self._store.find(_NAMESPACE, _PROVIDERS, name) is None:
            raise StateError("PERMISSION_DENIED", f'infra provider with name "{name}" is not registered in the system')
        if namespace in {_NAMESPACE, _EPHEMERAL} or type_name == _LINKS:
            return name
        allowed = (_NAMESPACE, _EPHEMERAL, f"{_NAMESPACE}:{name}")
        if namespace not in allowed:
            raise StateError("PERMISSION_DENIED", f"namespace not allowed, must be one of: {', '.join(allowed)}")
        suffix = f".{name}.infraprovider.sidero.dev"
        if not type_name.endswith(suffix):
            raise StateError(
                "INVALID_ARGUMENT", f'resources in namespace "{namespace}" must have a type suffix "{suffix}"'
            )
        return None


def _judge_user(principal: Principal, type_name: str, *, writes: bool) -> None:
    if writes and type_name not in {_PROVIDERS, _REQUESTS}:
        raise StateError("PERMISSION_DENIED", f'users are not allowed to modify "{type_name}" resources')
    if writes and type_name == _REQUESTS and rank(principal.role) < rank("Operator"):
        raise StateError(
            "PERMISSION_DENIED", f'only operators and admins are allowed to modify "{type_name}" resources'
        )
    if type_name in _ADMINS_ONLY and principal.role != "Admin":
        raise StateError("PERMISSION_DENIED", f'only admins are allowed to read "{type_name}" resources')


def visible(seen: Callable[[Stored], bool] | None, resource: Stored) -> Stored:
    """Return a resource when its reader may see it.

    Raises:
        StateError: `NOT_FOUND`, with a text of its own.
    """
    if seen is not None and not seen(resource):
        raise StateError("NOT_FOUND", "not found")
    return resource


def _provider_refused(verb: str, type_name: str) -> StateError:
    return StateError("PERMISSION_DENIED", f'infra providers are not allowed to {verb} "{type_name}" resources')


def _without_finalizers(resource: Stored) -> tuple[Any, ...]:
    labels, annotations = dict(resource.labels), dict(resource.annotations)
    return resource.spec, labels, annotations, resource.phase, resource.owner
