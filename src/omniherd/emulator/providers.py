"""What infra providers and the server exchange: who may touch the namespaces `infra-provider…`.

Refusals come bare here, without the form of validators, and existence is told before the right to write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import Principal, insufficient, rank
from omniherd.emulator.access_table import ACCESS
from omniherd.emulator.records import StateError, Stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.store import Match, Store

__all__ = ["ProviderRules", "is_provider_resource"]

_NAMESPACE = "infra-provider"
_EPHEMERAL = "infra-provider-ephemeral"
_PROVIDERS = "InfraProviders.omni.sidero.dev"
_LABEL = "omni.sidero.dev/infra-provider-id"

# The server judges these only when they are watched or created, an oversight of v1.9.3.
_UNGUARDED = frozenset({"ConfigPatchRequests.omni.sidero.dev", "ProviderJoinConfigs.omni.sidero.dev"})
_OWN_ID = frozenset({"InfraProviderStatuses.omni.sidero.dev", "InfraProviderHealthStatuses.omni.sidero.dev"})


def is_provider_resource(namespace: str, type_name: str) -> bool:
    """Whether the rules of this module decide on a resource."""
    if namespace.startswith(_NAMESPACE + ":"):
        return True
    return namespace in {_NAMESPACE, _EPHEMERAL} and type_name in ACCESS


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
        if type_name in _UNGUARDED and verb != "watch" and rank(principal.role) < rank("Reader"):
            return None
        name = self._provider(principal, namespace, type_name)
        if name is not None and namespace.startswith(_NAMESPACE + ":"):
            return None
        if name is not None:
            return lambda resource: resource.labels.get(_LABEL) == name
        least = _row(type_name)["access"].get("read", "Reader")
        if rank(principal.role) < rank(least):
            raise StateError("PERMISSION_DENIED", f'only admins are allowed to read "{type_name}" resources')
        return None

    def create(self, principal: Principal, resource: Stored) -> Stored:
        """Judge a creation; return the resource with the provider's label when a provider makes it.

        Raises:
            StateError: The caller may not create it.
        """
        name = self._provider(principal, resource.namespace, resource.type)
        if name is None:
            self._user_writes(principal, "create", resource.type)
            return resource
        if resource.namespace.startswith(_NAMESPACE + ":"):
            return resource
        if not _row(resource.type).get("provider_access", {}).get("create"):
            raise _provider_refused("create", resource.type)
        if resource.type in _OWN_ID and resource.id != name:
            raise StateError("INVALID_ARGUMENT", f'resource ID must match the infra provider ID "{name}"')
        return resource.replace(labels={**resource.labels, _LABEL: name})

    def change(self, principal: Principal, verb: str, current: Stored, changed: Stored | None) -> None:
        """Judge an update (`update`) or an end (`destroy`) of a resource that the caller can see.

        Raises:
            StateError: The caller may not change it.
        """
        name = self._provider(principal, current.namespace, current.type)
        if name is None:
            self._user_writes(principal, verb, current.type)
            return
        if current.namespace.startswith(_NAMESPACE + ":"):
            return
        right = _row(current.type).get("provider_access", {}).get(verb)
        if right == "finalizers" and changed is not None:
            if _without_finalizers(current) != _without_finalizers(changed):
                raise StateError(
                    "PERMISSION_DENIED",
                    f'infra providers are not allowed to update "{current.type}" resources '
                    "other than setting finalizers",
                )
            return
        if not right:
            raise _provider_refused(verb, current.type)

    def _provider(self, principal: Principal, namespace: str, type_name: str) -> str | None:
        """Return the name of the provider that calls, None for users.

        Raises:
            StateError: The role is too low, the provider not registered, the namespace another's or not for the type.
        """
        if rank(principal.role) < rank("InfraProvider"):
            raise StateError("PERMISSION_DENIED", insufficient(principal.role))
        if principal.role != "InfraProvider":
            return None
        name = principal.identity.partition("@")[0]
        if self._store.find(_NAMESPACE, _PROVIDERS, name) is None:
            raise StateError("PERMISSION_DENIED", f'infra provider with name "{name}" is not registered in the system')
        allowed = (_NAMESPACE, _EPHEMERAL, f"{_NAMESPACE}:{name}")
        if namespace not in allowed:
            raise StateError("PERMISSION_DENIED", f"namespace not allowed, must be one of: {', '.join(allowed)}")
        suffix = f".{name}.infraprovider.sidero.dev"
        if namespace == allowed[-1] and not type_name.endswith(suffix):
            raise StateError(
                "INVALID_ARGUMENT", f'resources in namespace "{namespace}" must have a type suffix "{suffix}"'
            )
        return name

    @staticmethod
    def _user_writes(principal: Principal, verb: str, type_name: str) -> None:
        least = _row(type_name)["access"].get(verb)
        if least is None:
            raise StateError("PERMISSION_DENIED", f'users are not allowed to modify "{type_name}" resources')
        if rank(principal.role) < rank(least):
            raise StateError(
                "PERMISSION_DENIED",
                f'only operators and admins are allowed to modify "{type_name}" resources',
            )


def visible(seen: Callable[[Stored], bool] | None, resource: Stored) -> Stored:
    """Return a resource when its reader may see it.

    Raises:
        StateError: `NOT_FOUND`, with a text of its own.
    """
    if seen is not None and not seen(resource):
        raise StateError("NOT_FOUND", "not found")
    return resource


def _row(type_name: str) -> dict[str, Any]:
    return ACCESS.get(type_name, {"access": {}})


def _provider_refused(verb: str, type_name: str) -> StateError:
    return StateError("PERMISSION_DENIED", f'infra providers are not allowed to {verb} "{type_name}" resources')


def _without_finalizers(resource: Stored) -> tuple[Any, ...]:
    labels, annotations = dict(resource.labels), dict(resource.annotations)
    return resource.spec, labels, annotations, resource.phase, resource.owner
