"""`cosi.resource.State` over the store: decoding, access, validation, and the server's texts for what goes wrong."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import refuse
from omniherd.emulator.forms import TYPES, spec_class
from omniherd.emulator.queries import compile_queries, has_queries
from omniherd.emulator.records import (
    DESTROYED,
    RUNNING,
    TEARING_DOWN,
    UNDEFINED,
    StateError,
    Stored,
    length_delimited,
)
from omniherd.emulator.store import WatchOptions

if TYPE_CHECKING:
    from omniherd.emulator.access import Principal, Rules
    from omniherd.emulator.server import Incoming, Method, Send
    from omniherd.emulator.store import Store, Subscription
    from omniherd.emulator.validators import Validators
    from omniherd.emulator.virtual import Virtual

__all__ = ["StateService"]

_NIL = "runtime error: invalid memory address or nil pointer dereference"
_PREFIX = "/cosi.resource.State/"
_INT64 = 1 << 63
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


class StateService:
    """The service.

    Args:
        store: The state.
        rules: Who may do what.
        validators: What may be written.
        virtual: Resources that are computed for each call.
    """

    def __init__(self, store: Store, rules: Rules, validators: Validators, virtual: Virtual) -> None:
        self._store = store
        self._rules = rules
        self._validators = validators
        self._virtual = virtual

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {
            _PREFIX + "Get": self.get,
            _PREFIX + "List": self.list,
            _PREFIX + "Create": self.create,
            _PREFIX + "Update": self.update,
            _PREFIX + "Destroy": self.destroy,
            _PREFIX + "Teardown": self.teardown,
            _PREFIX + "TeardownAndDestroy": self.teardown_and_destroy,
            _PREFIX + "Watch": self.watch,
        }

    # --- reading ----------------------------------------------------------------------------------------------------

    async def get(self, call: Incoming, request: Any) -> bytes:
        """Answer State.Get."""
        principal = call.principal
        self._read(principal, request.namespace, request.type)
        found = self._find(principal, request.namespace, request.type, request.id)
        return length_delimited(1, found.wire)

    def _find(self, principal: Principal, namespace: str, type_name: str, id_: str) -> Stored:
        if self._virtual.has(type_name):
            return self._virtual.get(principal, namespace, type_name, id_)
        return self._store.get(namespace, type_name, id_)

    async def list(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer State.List."""
        principal = call.principal
        self._read(principal, request.namespace, request.type)
        if self._virtual.has(request.type):
            found = self._virtual.list(principal, request.namespace, request.type, *has_queries(request.options))
        else:
            found = self._store.list(request.namespace, request.type, compile_queries(request.options))
        for resource in found:
            await send(length_delimited(1, resource.wire))

    async def watch(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer State.Watch; goes on until the caller ends it."""
        principal = call.principal
        single = request.HasField("id")
        self._read(principal, request.namespace, request.type)
        if self._virtual.has(request.type):
            raise self._virtual.no_watch(request.type, kind=not single)
        options = request.options
        match = None
        if single:
            if options.bootstrap_contents:
                raise StateError("UNIMPLEMENTED", "bootstrap contents is not implemented for resource watch")
            if options.label_query:
                raise StateError("UNIMPLEMENTED", "label query is not implemented for resource watch")
        else:
            match = compile_queries(options)
        subscription = self._store.watch(
            request.namespace,
            request.type,
            request.id if single else None,
            WatchOptions(
                bootstrap_contents=options.bootstrap_contents,
                bootstrap_bookmark=options.bootstrap_bookmark,
                tail_events=options.tail_events,
                start_from=options.start_from_bookmark if options.HasField("start_from_bookmark") else None,
                match=match,
                marks=request.api_version >= 1,
            ),
        )
        try:
            await send(b"")
            await self._follow(subscription, send, aggregated=options.aggregated and not single)
        finally:
            subscription.close()

    @staticmethod
    async def _follow(subscription: Subscription, send: Send, *, aggregated: bool) -> None:
        loop = asyncio.get_running_loop()
        waiting = asyncio.Event()
        waiting.set()

        def ready() -> None:
            loop.call_soon_threadsafe(waiting.set)

        subscription.ready = ready
        while True:
            await waiting.wait()
            waiting.clear()
            # Few at a time unless they go out together: a reader that stalls must fall behind, not fill memory.
            events = subscription.poll() if aggregated else subscription.poll(64)
            if aggregated and events:
                await send(b"".join(length_delimited(1, event.wire) for event in events))
                continue
            for event in events:
                await send(length_delimited(1, event.wire))

    def _read(self, principal: Principal, namespace: str, type_name: str) -> None:
        text = self._rules.check(principal, "read", namespace, type_name)
        if text is not None:
            raise refuse([text], "PERMISSION_DENIED")

    # --- writing ----------------------------------------------------------------------------------------------------

    async def create(self, call: Incoming, request: Any) -> bytes:
        """Answer State.Create."""
        if not request.HasField("resource"):
            raise StateError("INTERNAL", _NIL)
        principal = call.principal
        resource = self._decode(request.resource)
        if resource.owner not in {"", request.options.owner}:
            raise StateError("UNKNOWN", f'owner is already set to "{resource.owner}"')
        self._judge(principal, "create", None, resource)
        stored = self._store.create(resource, request.options.owner)
        return length_delimited(1, stored.wire)

    async def update(self, call: Incoming, request: Any) -> bytes:
        """Answer State.Update."""
        if not request.HasField("new_resource") or not request.HasField("options"):
            raise StateError("INTERNAL", _NIL)
        principal = call.principal
        resource = self._decode(request.new_resource)
        options = request.options
        expected = None
        if options.HasField("expected_phase"):
            expected = _phase(options.expected_phase)
        self._judge(principal, "update", self._current(resource), resource)
        stored = self._store.update(resource, options.owner, expected)
        return length_delimited(1, stored.wire)

    async def destroy(self, call: Incoming, request: Any) -> bytes:
        """Answer State.Destroy."""
        self._judge_end(call.principal, request, "destroy")
        self._store.destroy(request.namespace, request.type, request.id, request.options.owner)
        return b""

    async def teardown(self, call: Incoming, request: Any) -> bytes:
        """Answer State.Teardown."""
        self._judge_end(call.principal, request, "teardown")
        ready = self._store.teardown(request.namespace, request.type, request.id, request.options.owner)
        return b"\x08\x01" if ready else b""

    async def teardown_and_destroy(self, call: Incoming, request: Any) -> bytes:
        """Answer State.TeardownAndDestroy; waits for finalizers as long as the caller does."""
        self._judge_end(call.principal, request, "teardown")
        namespace, type_name, id_, owner = request.namespace, request.type, request.id, request.options.owner
        if not self._store.teardown(namespace, type_name, id_, owner):
            await self._finalized(namespace, type_name, id_)
        self._store.destroy(namespace, type_name, id_, owner)
        return b""

    async def _finalized(self, namespace: str, type_name: str, id_: str) -> None:
        loop = asyncio.get_running_loop()
        waiting = asyncio.Event()

        def ready() -> None:
            loop.call_soon_threadsafe(waiting.set)

        subscription = self._store.watch(namespace, type_name, id_, WatchOptions())
        subscription.ready = ready
        try:
            while True:
                for event in subscription.poll():
                    if event.kind == DESTROYED or event.resource is None or not event.resource.finalizers:
                        return
                await waiting.wait()
                waiting.clear()
        finally:
            subscription.close()

    def _current(self, resource: Stored) -> Stored | None:
        return self._store.find(resource.namespace, resource.type, resource.id)

    def _judge_end(self, principal: Principal, request: Any, verb: str) -> None:
        if self._virtual.has(request.type):
            self._read(principal, request.namespace, request.type)
            self._virtual.get(principal, request.namespace, request.type, request.id)
        current = self._store.find(request.namespace, request.type, request.id)
        named = current or Stored(request.namespace, request.type, request.id)
        self._judge(principal, verb, current, named)

    def _judge(self, principal: Principal, verb: str, current: Stored | None, resource: Stored) -> None:
        """Refuse what the caller may not do or what is not valid; both kinds of texts come together."""
        asked = "destroy" if verb == "teardown" else verb
        denial = self._rules.check(principal, asked, resource.namespace, resource.type)
        texts = [] if denial is None else [denial]
        if verb == "create" and not resource.id:
            texts.append("resource ID must not be empty")
        if verb == "create" or current is not None:
            texts.extend(self._validators.judge(verb, current, resource, principal))
        if texts:
            raise refuse(texts, "INVALID_ARGUMENT" if denial is None else "PERMISSION_DENIED")

    # --- decoding ---------------------------------------------------------------------------------------------------

    def _decode(self, proto: Any) -> Stored:
        """Read a resource as the server does, with its texts for what is missing or odd."""
        if not proto.HasField("metadata"):
            raise StateError("UNKNOWN", "metadata is missing")
        metadata = proto.metadata
        version = _version(metadata.version)
        phase = _phase(metadata.phase)
        if not proto.HasField("spec"):
            raise StateError("UNKNOWN", "spec is missing")
        spec = proto.spec.proto_spec
        info = TYPES.get(metadata.type)
        yaml = None
        if info is None:
            yaml = proto.spec.yaml_spec
        elif info.spec is None and metadata.type == "KubernetesResources.omni.sidero.dev":
            raise StateError("UNKNOWN", "spec does not implement ProtoUnmarshaler")
        elif spec:
            spec = self._check_spec(metadata.type, spec)
        return Stored(
            metadata.namespace,
            metadata.type,
            metadata.id,
            version,
            metadata.owner,
            phase,
            (0, 0),
            (metadata.updated.seconds, metadata.updated.nanos),
            tuple(metadata.finalizers),
            dict(metadata.labels),
            dict(metadata.annotations),
            spec,
            yaml,
        )

    @staticmethod
    def _check_spec(type_name: str, data: bytes) -> bytes:
        cls = spec_class(type_name)
        if cls is None:
            return data
        try:
            decoded = cls.FromString(data)
        except Exception:  # noqa: BLE001 - protobuf's error class depends on its backend
            raise StateError("UNKNOWN", "unexpected EOF") from None
        return decoded.SerializeToString()


def _version(text: str) -> str:
    if text == UNDEFINED:
        return text
    fault = "invalid syntax"
    if _INTEGER.fullmatch(text):
        number = int(text)
        if -_INT64 <= number < _INT64:
            return str(number)
        fault = "value out of range"
    raise StateError("UNKNOWN", f'error parsing version: strconv.ParseInt: parsing "{text}": {fault}')


def _phase(text: str) -> str:
    if text not in {RUNNING, TEARING_DOWN}:
        raise StateError("UNKNOWN", f"unknown phase: {text}")
    return text
