"""The audit log: who changed which resource of the types that people manage. Kept in memory."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from omniherd._core.pool import message
from omniherd.emulator.controllers import USER_MANAGED
from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, missing_here, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.emulator.records import Stored
    from omniherd.emulator.server import Incoming, Method, Send, UnaryMethod
    from omniherd.emulator.store import Store

__all__ = ["AuditLog"]

_STATE = "/cosi.resource.State/"
_O = ".omni.sidero.dev"
# What is described in the log; of all other types it has the session only.
_NAMES = {
    "AccessPolicies" + _O: "access_policy",
    "Clusters" + _O: "cluster",
    "ConfigPatches" + _O: "config_patch",
    "MachineLabels" + _O: "machine_labels",
    "MachineSetNodes" + _O: "machine_set_node",
    "MachineSets" + _O: "machine_set",
}
_CLUSTER = "omni.sidero.dev/cluster"
_EVENTS = {
    "Create": ("create",),
    "Update": ("update",),
    "Teardown": ("teardown",),
    "Destroy": ("destroy",),
    "TeardownAndDestroy": ("teardown", "destroy"),
}
_DESCENDING = "AUDIT_LOG_ORDER_BY_DIR_DESC"
_DATE = "AUDIT_LOG_ORDER_BY_FIELD_DATE"
_KIND = "AUDIT_LOG_EVENT_TYPE_"
# What the real server's own proxy calls itself; callers' names never get into its log.
_AGENT = "grpc-go/1.81.1"


@dataclass(slots=True, frozen=True)
class _Entry:
    event: str
    type: str
    id: str
    cluster: str
    actor: str
    milliseconds: int
    line: str


class AuditLog:
    """The log.

    Args:
        store: The state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: list[_Entry] = []

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {PREFIX + "ReadAuditLog": self.read}

    def watching(self, methods: Mapping[str, Method]) -> dict[str, Method]:
        """Return the methods, those that change resources with a note in the log when they succeed."""
        found = dict(methods)
        for name, events in _EVENTS.items():
            path = _STATE + name
            if path in found:
                found[path] = self._watched(cast("UnaryMethod", found[path]), events)
        return found

    def _watched(self, method: UnaryMethod, events: tuple[str, ...]) -> UnaryMethod:
        async def noted(call: Incoming, request: Any) -> Any:
            key = _key(request)
            if key is None:
                return await method(call, request)
            before = self._store.find(*key)
            answer = await method(call, request)
            resource = self._store.find(*key) or before
            if resource is not None:
                for event in events:
                    self._note(call, event, resource)
            return answer

        return noted

    def _note(self, call: Incoming, event: str, resource: Stored) -> None:
        principal = call.principal
        milliseconds = self._store.clock() // 1_000_000
        name = _NAMES.get(resource.type)
        described = {} if name is None else {name: _content(resource, event)}
        entry = {
            "event_type": event,
            "resource_type": resource.type,
            "resource_id": resource.id,
            "event_data": {
                **described,
                "session": {
                    "user_agent": _AGENT,
                    "user_id": principal.user_id,
                    "role": principal.role,
                    "email": principal.identity,
                    "fingerprint": principal.fingerprint,
                },
            },
            "event_ts": milliseconds,
        }
        line = json.dumps(entry, separators=(",", ":"), ensure_ascii=False) + "\n"
        cluster = resource.id if resource.type == "Clusters" + _O else resource.labels.get(_CLUSTER, "")
        self._entries.append(_Entry(event, resource.type, resource.id, cluster, principal.identity, milliseconds, line))

    async def read(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer ReadAuditLog."""
        require(call)
        for name in ("follow", "from_id"):
            if getattr(request, name):
                raise missing_here(call, f"read the audit log with {name}")
        if _enum_name(request, "order_by_field") not in {"", _DATE} and request.order_by_field:
            raise missing_here(call, "sort the audit log by anything but the date")
        start, end = _day(request.start_time, "start"), _day(request.end_time, "end")
        event = _enum_name(request, "event_type").removeprefix(_KIND).lower() if request.event_type else ""
        found = [
            one
            for one in tuple(self._entries)
            if (not event or one.event == event)
            and (start is None or one.milliseconds >= start)
            and one.milliseconds >= request.start_ts_ms
            and (end is None or one.milliseconds < end)
            and request.search in one.line
            and request.resource_type in {"", one.type}
            and request.resource_id in {"", one.id}
            and request.cluster_id in {"", one.cluster}
            and request.actor in {"", one.actor}
        ]
        if _enum_name(request, "order_by_dir") == _DESCENDING:
            found.reverse()
        response: Any = message("management.ReadAuditLogResponse")
        for one in found:
            await send(response(audit_log=one.line.encode()).SerializeToString())


def _key(request: Any) -> tuple[str, str, str] | None:
    """Return which resource a request is about; None when its type is not logged."""
    for name in ("resource", "new_resource"):
        if name in request.DESCRIPTOR.fields_by_name:
            request = getattr(request, name).metadata
            break
    return (
        (request.namespace, request.type, request.id)
        if request.type in USER_MANAGED or request.type in _NAMES
        else None
    )


def _content(resource: Stored, event: str) -> dict[str, Any]:
    if event == "destroy":
        return {"id": resource.id}
    shown: dict[str, Any] = {"labels": dict(resource.labels)} if resource.labels else {}
    shown["id"] = resource.id
    from omniherd.emulator.forms import unpacked

    return {**shown, **_plain(unpacked(resource.type, resource.decode()))}


def _plain(proto: Any) -> dict[str, Any]:
    """Return a message as the server's JSON encoder writes it: by proto names, enums and times as numbers."""

    def value(found: Any) -> Any:
        if hasattr(found, "ListFields"):
            return _plain(found)
        return base64.b64encode(found).decode() if isinstance(found, bytes) else found

    shown: dict[str, Any] = {}
    for field, content in proto.ListFields():
        if hasattr(content, "items"):
            shown[field.name] = {str(key): value(one) for key, one in content.items()}
        elif hasattr(content, "extend"):
            shown[field.name] = [value(one) for one in content]
        else:
            shown[field.name] = value(content)
    return shown


def _enum_name(request: Any, field: str) -> str:
    values = request.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    found = values.get(getattr(request, field))
    return "" if found is None else str(found.name)


def _day(text: str, which: str) -> int | None:
    """Return the beginning of a day in milliseconds since 1970; None for no day."""
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        problem = f'invalid {which} time: parsing time "{text}" as "2006-01-02": cannot parse "{text}" as "2006"'
        raise StateError("INVALID_ARGUMENT", problem) from None
    return int(day.timestamp()) * 1000
