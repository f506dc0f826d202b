"""The audit log: who changed what people manage, and who called Talos."""

from __future__ import annotations

import json
import threading
from collections import deque
from contextvars import ContextVar
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

from omniherd._core.gojson import escape
from omniherd._core.pool import message
from omniherd.emulator.gotime import BadDate, parse_date
from omniherd.emulator.names import PUBLIC_KEY, USER_ID_LABEL
from omniherd.emulator.records import RUNNING, StateError
from omniherd.emulator.services.audit_entries import (
    ACCOUNTS,
    SECTIONS,
    cluster_in,
    described,
    is_logged,
    kind_of,
)
from omniherd.emulator.services.guards import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from omniherd.emulator.persistence import Journal
    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.server import Incoming, Method, Send
    from omniherd.emulator.services.guards import Gate
    from omniherd.emulator.store import Store

__all__ = ["AuditLog"]

_KIND = "AUDIT_LOG_EVENT_TYPE_"
_DESCENDING = "AUDIT_LOG_ORDER_BY_DIR_DESC"
_FIELD = "AUDIT_LOG_ORDER_BY_FIELD_"
_DATE = "DATE"
# What does not go together with following, in the order in which the server looks.
_FILTERS = (
    "start_time",
    "end_time",
    "order_by_field",
    "order_by_dir",
    "search",
    "event_type",
    "resource_type",
    "resource_id",
    "cluster_id",
    "actor",
)
# What the real server's own proxy calls itself; callers' names get into its log only with calls to Talos.
_AGENT = "grpc-go/1.81.1"
_INTERNAL = {"user_agent": "Omni-Internal-Agent"}
# How much is kept: whichever is reached first lets the oldest go.
_KEPT, _KEPT_TEXT = 100_000, 64 * 1024 * 1024
_BACK = 29 * 24 * 3600 * 1000  # how far back it is read where no start is given, in milliseconds
_UPDATE_USER = PREFIX + "UpdateUser"


@dataclass(slots=True)
class _Data:
    """What all entries of a call share: it grows with each of its changes.

    Attributes:
        path: The method's path.
        session: Who calls.
        sections: What the call told of so far.
    """

    path: str = ""
    session: dict[str, Any] = field(default_factory=lambda: dict(_INTERNAL))
    sections: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


@dataclass(slots=True, frozen=True)
class _Entry:
    id: int
    event_type: str
    resource_type: str
    resource_id: str
    cluster_id: str
    actor: str
    date: int
    data: str

    def line(self) -> str:
        """Return the entry as the server writes it."""
        head: dict[str, Any] = {"event_type": self.event_type}
        if self.resource_type:
            head |= {"resource_type": self.resource_type, "resource_id": self.resource_id}
        return f'{_json(head)[:-1]},"event_data":{self.data},"event_ts":{self.date}}}\n'

    def has(self, text: str) -> bool:
        """Tell whether a text stands anywhere in the entry, in capitals or not."""
        parts = (self.event_type, self.resource_type, self.actor, self.resource_id, self.cluster_id, self.data)
        return any(text.lower() in part.lower() for part in parts)


def _json(value: dict[str, Any]) -> str:
    return escape(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


# The call that the running code belongs to. Changes that no call makes are the server's own.
_CURRENT: ContextVar[tuple[AuditLog, Incoming] | None] = ContextVar("audited_call", default=None)


class AuditLog:
    """The log. It is empty until `begin`.

    Args:
        store: The state.
        gate: Who may call.
    """

    def __init__(self, store: Store, gate: Gate) -> None:
        self._gate = gate
        self._store = store
        self._lock = threading.Lock()
        self._entries: deque[_Entry] = deque()
        self._size = 0
        self._last = 0
        self._listeners: set[Callable[[], None]] = set()
        self._calls: dict[Incoming, _Data] = {}
        self._journal: Journal | None = None

    def begin(self, journal: Journal | None = None) -> None:
        """Note all changes from now on.

        Args:
            journal: The file that keeps the entries, with those of before; None to keep them in memory only.
        """
        if journal is not None:
            for text in journal.entries():
                self._take(_Entry(*json.loads(text)))
        self._journal = journal
        self._store.keep(self._keep)

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {PREFIX + "ReadAuditLog": self.read}

    def watching(self, methods: Mapping[str, Method]) -> dict[str, Method]:
        """Return the methods, with the changes that they make noted as those of their callers."""
        return {path: self._watched(method) for path, method in methods.items()}

    def _watched(self, method: Any) -> Method:
        async def noted(call: Incoming, request: Any, *send: Any) -> Any:
            token = _CURRENT.set((self, call))
            try:
                return await method(call, request, *send)
            finally:
                _CURRENT.reset(token)
                self._calls.pop(call, None)

        return noted

    # --- writing ----------------------------------------------------------------------------------------------------

    def talos_access(self, call: Incoming, path: str, cluster: str, machines: str) -> None:
        """Note a call to Talos.

        Args:
            call: The call that led to it.
            path: Path of Talos' method.
            cluster: Its cluster; empty for none.
            machines: The machines as they were named.
        """
        fields = {"full_method_name": path.removeprefix("/"), "cluster_name": cluster, "machine_ip": machines}
        told = {"talos_access": {name: value for name, value in fields.items() if value}}
        session = {**_session(call), "user_agent": call.header("user-agent") or ""}
        self._write("talos_access", None, _Data(call.path, session, told))

    def _keep(self, event: Event) -> None:
        changed = event.resource
        if changed is None or self._store.quiet or not is_logged(changed.type):
            return
        name = kind_of(event)
        if not name:
            return
        data = self._data()
        if name == "destroy" and changed.type in ACCOUNTS and changed.phase == RUNNING:
            self._tell(data, "teardown", changed)
        if name == "update" and data.path == _UPDATE_USER:
            name = "update_with_conflicts"
        self._tell(data, name, changed)

    def _data(self) -> _Data:
        """Return what the current call shares; what controllers do in answer to a change is the server's own."""
        current = _CURRENT.get()
        if current is None or current[0] is not self or self._store.reacting:
            return _Data()
        call = current[1]
        found = self._calls.get(call)
        if found is None:
            found = self._calls[call] = _Data(call.path, _session(call))
        return found

    def _tell(self, data: _Data, event: str, changed: Stored) -> None:
        if changed.type == PUBLIC_KEY:
            _tell_key(data, changed, event)
        for name, fields in described(changed, event).items():
            data.sections[name] = {**data.sections.get(name, {}), **fields}
        self._write(event, changed, data)

    def _write(self, event: str, changed: Stored | None, data: _Data) -> None:
        sections = {name: dict(data.sections[name]) for name in SECTIONS if name in data.sections}
        if "new_user" in sections:
            order = ("role", "id", "email", "is_service_account")
            user = sections["new_user"]
            sections["new_user"] = {name: user[name] for name in order if name in user}
        session = {name: value for name, value in data.session.items() if value}
        data_text = _json({**sections, "session": session})
        with self._lock:
            entry = _Entry(
                self._last + 1,
                event,
                "" if changed is None else changed.type,
                "" if changed is None else changed.id,
                cluster_in(sections),
                str(session.get("email", "")),
                self._store.clock() // 1_000_000,
                data_text,
            )
            self._take(entry)
            if self._journal is not None:
                self._journal.note(entry.id, json.dumps(astuple(entry)), self._entries[0].id)
            listeners = tuple(self._listeners)
        for ring in listeners:
            ring()

    def _take(self, entry: _Entry) -> None:
        self._last = entry.id
        self._entries.append(entry)
        self._size += len(entry.data)
        while len(self._entries) > 1 and (len(self._entries) > _KEPT or self._size > _KEPT_TEXT):
            self._size -= len(self._entries.popleft().data)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def read(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer ReadAuditLog."""
        self._gate.require(call, request)
        for name in ("start_ts_ms", "from_id"):
            if getattr(request, name) < 0:
                raise StateError("INVALID_ARGUMENT", f"{name} cannot be negative")
        if request.follow:
            await self._follow(call, request, send)
            return
        now = self._store.clock() // 1_000_000
        start, end = _day(request.start_time, "start", now - _BACK), _day(request.end_time, "end", now)
        if request.from_id:
            raise StateError("INVALID_ARGUMENT", "from_id requires follow")
        start = request.start_ts_ms or start
        response: Any = message("management.ReadAuditLogResponse")
        for one in _sorted(_matching(self._all(), request, start, end), request):
            await send(response(audit_log=one.line().encode()).SerializeToString())

    def _all(self) -> list[_Entry]:
        with self._lock:
            return list(self._entries)

    async def _follow(self, call: Incoming, request: Any, send: Send) -> None:
        """Tell where it starts, then everything from there on until the caller ends it."""
        for name in _FILTERS:
            if getattr(request, name):
                raise StateError("INVALID_ARGUMENT", f"{name} cannot be combined with follow")
        response: Any = message("management.ReadAuditLogResponse")
        bell = call.bell()
        with self._lock:
            self._listeners.add(bell.ring)
        try:
            position = self._beginning(request)
            await send(response(id=position).SerializeToString())
            while True:
                for one in self._all():
                    if one.id > position:
                        position = one.id
                        await send(response(audit_log=one.line().encode(), id=one.id).SerializeToString())
                await bell.heard()
        finally:
            with self._lock:
                self._listeners.discard(bell.ring)

    def _beginning(self, request: Any) -> int:
        """Return the position that a follower starts behind."""
        with self._lock:
            if request.from_id:
                if request.from_id - 1 > self._last:
                    raise StateError("FAILED_PRECONDITION", "the follow position no longer exists")
                return int(request.from_id) - 1
            if request.start_ts_ms:
                later = (one.id - 1 for one in self._entries if one.date >= request.start_ts_ms)
                return next(later, self._last)
            return self._last


def _session(call: Incoming) -> dict[str, Any]:
    principal = call.known
    if principal is None:
        return {"user_agent": _AGENT}
    return {
        "user_agent": _AGENT,
        "user_id": principal.user_id,
        "role": principal.role,
        "email": principal.identity,
        "fingerprint": principal.fingerprint,
    }


def _tell_key(data: _Data, key: Stored, event: str) -> None:
    """Put a key into the session, as the server does; one that nobody signed for tells its owner."""
    data.session["fingerprint"] = key.id
    if event == "destroy":
        return
    spec = key.decode()
    if not data.session.get("email"):
        email = spec.identity.email
        agent = {"user_agent": data.session.get("user_agent", "")}
        owner = {"user_id": key.labels.get(USER_ID_LABEL, ""), "role": spec.role, "email": email}
        data.session = {**agent, **owner, "fingerprint": key.id}
    if spec.expiration.seconds:
        data.session["public_key_expiration"] = spec.expiration.seconds


def _matching(entries: Iterable[_Entry], request: Any, start: int, end: int) -> list[_Entry]:
    event = _enum_name(request, "event_type").removeprefix(_KIND).lower() if request.event_type else ""
    return [
        one
        for one in entries
        if start <= one.date <= end
        and event in {"", one.event_type}
        and request.resource_type in {"", one.resource_type}
        and request.resource_id in {"", one.resource_id}
        and request.cluster_id in {"", one.cluster_id}
        and request.actor in {"", one.actor}
        and (not request.search or one.has(request.search))
    ]


def _sorted(entries: list[_Entry], request: Any) -> list[_Entry]:
    """Return entries in the order asked for; those that are equal in it stand in the order in which they came."""
    name = _enum_name(request, "order_by_field").removeprefix(_FIELD)
    column = "date" if name in {"", "UNSPECIFIED", _DATE} else name.lower()
    descending = _enum_name(request, "order_by_dir") == _DESCENDING
    return sorted(entries, key=lambda one: getattr(one, column), reverse=descending)


def _enum_name(request: Any, field_name: str) -> str:
    values = request.DESCRIPTOR.fields_by_name[field_name].enum_type.values_by_number
    found = values.get(getattr(request, field_name))
    return "" if found is None else str(found.name)


def _day(text: str, which: str, otherwise: int) -> int:
    """Return the beginning of a day in milliseconds since 1970."""
    if not text:
        return otherwise
    try:
        return int(parse_date(text).timestamp()) * 1000
    except BadDate as error:
        raise StateError("INVALID_ARGUMENT", f"invalid {which} time: {error}") from None
