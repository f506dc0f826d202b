"""What the server does by itself when resources change. It all happens at once, inside the change that caused it."""

from __future__ import annotations

import base64
import json
from collections import deque
from typing import TYPE_CHECKING

from omniherd.emulator.catalog import join_arguments
from omniherd.emulator.finalizers import hold, release
from omniherd.emulator.forms import TYPES
from omniherd.emulator.imports import Imports
from omniherd.emulator.lifecycle import Lifecycle
from omniherd.emulator.names import IDENTITY, PROVIDER_SUFFIX, PUBLIC_KEY, USER, USER_ID_LABEL
from omniherd.emulator.records import CREATED, DESTROYED, TEARING_DOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.simulation import Fleet
    from omniherd.emulator.store import Store

__all__ = ["Controllers"]

_O = ".omni.sidero.dev"

USER_MANAGED = frozenset(info.type for info in TYPES.values() if info.user_managed)
# What the server destroys once it is torn down and nothing holds it.
_REAPED = USER_MANAGED | {"Links" + _O}

_HOLDERS = {
    "InfraProviders" + _O: (
        "InfraProviderCleanupController",
        "ProviderJoinConfigController",
        "InfraProviderStatusController",
    ),
    "JoinTokens" + _O: ("JoinTokenStatusController",),
    "MachineRequests" + _O: ("ClusterMachineRequestStatusController",),
}


_OF_PROVIDER = tuple(
    name + _O
    for name in (
        "InfraProviderCombinedStatuses",
        "InfraProviderHealthStatuses",
        "InfraProviderStatuses",
        "ProviderJoinConfigs",
    )
)


class Controllers:
    """The controllers, fed with every change in order.

    Args:
        store: What they watch and change.
        fleet: What looks after clusters and their machines; None when no machine lives.

    Attributes:
        imports: What looks after clusters that are taken in from outside.
    """

    def __init__(self, store: Store, fleet: Fleet | None = None) -> None:
        self.imports = Imports(store, fleet)
        self._store = store
        self._queue: deque[Event] = deque()
        self._running = False
        self._handlers: list[Callable[[Event], None]] = [
            self._adopt,
            self._providers,
            self._join_tokens,
            Lifecycle(store).handle if fleet is None else fleet.handle,
            self.imports.handle,
            self._reap,
        ]
        self._settle = None if fleet is None else fleet.settle
        store.observe(self._take)

    def _take(self, event: Event) -> None:
        # A controller's own changes come here while it runs: they wait until it is done, so each sees one at a time.
        self._queue.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._queue or (self._settle is not None and self._settle()):
                if self._queue:
                    current = self._queue.popleft()
                    for handler in self._handlers:
                        handler(current)
        finally:
            self._queue.clear()
            self._running = False

    def _adopt(self, event: Event) -> None:
        """Hold what controllers hold while it runs, let go when it is torn down."""
        resource = event.resource
        if event.kind == DESTROYED or resource is None or resource.type not in _HOLDERS:
            return
        if resource.namespace != TYPES[resource.type].namespace:
            return
        holders = _HOLDERS[resource.type]
        if resource.phase == TEARING_DOWN:
            release(self._store, resource, holders)
        else:
            hold(self._store, resource, holders)

    def _reap(self, event: Event) -> None:
        """Destroy what was torn down, once nothing holds it."""
        resource = event.resource
        if event.kind == DESTROYED or resource is None or resource.type not in _REAPED:
            return
        if _finished(resource):
            current = self._store.find(resource.namespace, resource.type, resource.id)
            if current is not None and _finished(current):
                self._store.remove(resource.namespace, resource.type, resource.id)

    # --- infra providers --------------------------------------------------------------------------------------------

    def _providers(self, event: Event) -> None:
        resource = event.resource
        if resource is None:
            return
        name = resource.id
        if resource.type == "InfraProviders" + _O and event.kind == CREATED:
            self._store.put(
                "ProviderJoinConfigs" + _O,
                name,
                {"config": _join_config(name)},
                owner="ProviderJoinConfigController",
                labels={"omni.sidero.dev/infra-provider-id": name},
            )
            self._combine(name)
        elif resource.type == "InfraProviders" + _O and event.kind == DESTROYED:
            for type_name in _OF_PROVIDER:
                self._store.remove(TYPES[type_name].namespace, type_name, name)
            self._dismiss(name + PROVIDER_SUFFIX)
        elif resource.type in {"InfraProviderStatuses" + _O, "InfraProviderHealthStatuses" + _O}:
            self._combine(name)

    def _dismiss(self, identity: str) -> None:
        """Remove the service account of a provider that is gone."""
        found = self._store.find("default", IDENTITY, identity)
        if found is None:
            return
        user_id = found.labels.get(USER_ID_LABEL)
        for key in self._store.list("default", PUBLIC_KEY):
            if user_id and key.labels.get(USER_ID_LABEL) == user_id:
                self._store.remove("default", PUBLIC_KEY, key.id)
        self._store.remove("default", IDENTITY, identity)
        self._store.remove("default", USER, found.decode().user_id)

    def _combine(self, name: str) -> None:
        store = self._store
        if store.find("infra-provider", "InfraProviders" + _O, name) is None:
            return
        status = store.find("infra-provider", "InfraProviderStatuses" + _O, name)
        health = store.find("infra-provider-ephemeral", "InfraProviderHealthStatuses" + _O, name)
        fields: dict[str, object] = {"health": {}}
        if status is not None:
            spec = status.decode()
            fields |= {"name": spec.name, "description": spec.description, "icon": spec.icon}
        if health is not None:
            fields["health"] = {"error": health.decode().error, "initialized": True}
        store.put("InfraProviderCombinedStatuses" + _O, name, fields, owner="InfraProviderStatusController")

    # --- join tokens ------------------------------------------------------------------------------------------------

    def _join_tokens(self, event: Event) -> None:
        resource = event.resource
        if resource is None or resource.type not in {"JoinTokens" + _O, "DefaultJoinTokens" + _O}:
            return
        if resource.type == "JoinTokens" + _O and event.kind == DESTROYED:
            self._store.remove("default", "JoinTokenStatuses" + _O, resource.id)
        default = self._store.find("default", "DefaultJoinTokens" + _O, "default")
        chosen = "" if default is None else default.decode().token_id
        for token in self._store.list("default", "JoinTokens" + _O):
            self._tell_token(token, is_default=token.id == chosen)

    def _tell_token(self, token: Stored, *, is_default: bool) -> None:
        spec = token.decode()
        now = self._store.now()[0]
        expired = spec.HasField("expiration_time") and spec.expiration_time.seconds <= now
        state = "REVOKED" if spec.revoked else "EXPIRED" if expired else "ACTIVE"
        fields: dict[str, object] = {"name": spec.name, "state": state, "is_default": is_default}
        if spec.HasField("expiration_time"):
            fields["expiration_time"] = spec.expiration_time
        self._store.put(
            "JoinTokenStatuses" + _O,
            token.id,
            fields,
            owner="JoinTokenStatusController",
            labels={"omni.sidero.dev/active-join-token": ""} if state == "ACTIVE" else {},
        )


def _finished(resource: Stored) -> bool:
    return resource.phase == TEARING_DOWN and not resource.owner and not resource.finalizers


def _join_config(provider: str) -> dict[str, object]:
    """Return how machines of a provider join; the token carries the provider's name."""
    claims = {"extra_data": {_O.removeprefix(".") + "/infra-provider-id": provider}, "signature": ""}
    token = "v2:" + base64.b64encode(json.dumps(claims, separators=(",", ":")).encode()).decode()
    return {"kernel_args": join_arguments(token)}
