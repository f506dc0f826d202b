"""`cosi.resource.State` over the store: decoding, access, validation, and the server's texts for what goes wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import acting, cluster_of, is_cluster_bound, refuse
from omniherd.emulator.forms import TYPES, spec_class
from omniherd.emulator.packed import check_frames
from omniherd.emulator.providers import among_providers, is_provider_resource, visible
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
    from omniherd.emulator.policies import Policies
    from omniherd.emulator.providers import ProviderRules
    from omniherd.emulator.server import Bell, Incoming, Method, Send
    from omniherd.emulator.store import Match, Store, Subscription
    from omniherd.emulator.validators import Validators
    from omniherd.emulator.virtual import Virtual

__all__ = ["StateService", "answer_watch"]

_NIL = "runtime error: invalid memory address or nil pointer dereference"
_PREFIX = "/cosi.resource.State/"
_SECONDARY = "metrics"
"""The namespace that a server keeps in another database, which has its own words for what is missing."""
_CACHED = frozenset(
    name + ".omni.sidero.dev" for name in ("EtcdBackupStatuses", "IdentityLastActives", "PublicKeyLastActives")
)
_CLUSTER = "omni.sidero.dev/cluster"
_EQUAL = 1
_INT64 = 1 << 63
_DIGITS = 40
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


class StateService:
    """The service.

    Args:
        store: The state.
        rules: Who may do what.
        providers: The same for infra providers' namespaces.
        validators: What may be written.
        virtual: Resources that are computed for each call.
        policies: Roles that an access policy gives on clusters.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules,
        providers: ProviderRules,
        validators: Validators,
        virtual: Virtual,
        *,
        policies: Policies,
    ) -> None:
        self._store = store
        self._rules = rules
        self._providers = providers
        self._validators = validators
        self._virtual = virtual
        self._policies = policies

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
        namespace, type_name, id_ = request.namespace, request.type, request.id
        self._virtual.precheck(principal, "get", Stored(namespace, type_name, id_))
        bound = self._store.find(namespace, type_name, id_) or Stored(namespace, type_name, id_)
        acts = acting(self._policies, principal, cluster_of(bound))
        seen = self._may_read(acts, "get", namespace, type_name)
        if type_name == "ClusterPermissions.omni.sidero.dev":
            principal = acting(self._policies, principal, id_)
        if self._virtual.has(namespace):
            found = self._virtual.get(principal, namespace, type_name, id_)
        else:
            found = visible(seen, self._stored(namespace, type_name, id_))
        return length_delimited(1, found.wire)

    def _stored(self, namespace: str, type_name: str, id_: str) -> Stored:
        try:
            return self._store.get(namespace, type_name, id_)
        except StateError as error:
            if namespace == _SECONDARY and type_name not in _CACHED:
                raise StateError(error.code, f"failed to get: {error.message}") from None
            raise

    async def list(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer State.List."""
        principal = call.principal
        seen = self._may_read_kind(principal, "list", request)
        if self._virtual.has(request.namespace):
            found = self._virtual.list(principal, request.namespace, request.type, *has_queries(request.options))
        else:
            match = both(compile_queries(request.options), seen)
            found = self._store.list(request.namespace, request.type, match)
        for resource in found:
            await send(length_delimited(1, resource.wire))

    async def watch(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer State.Watch; goes on until the caller ends it."""
        principal = call.principal
        single = request.HasField("id")
        if single:
            named = Stored(request.namespace, request.type, request.id)
            acts = acting(self._policies, principal, cluster_of(named))
            seen = self._may_read(acts, "watch", request.namespace, request.type)
        else:
            seen = self._may_read_kind(principal, "watch", request)
        namespace, type_name = request.namespace, request.type
        if self._virtual.has(namespace) and not self._virtual.follows(namespace, type_name, kind=not single):
            self._virtual.refuse_watch(namespace, type_name, request.id, kind=not single)
        await answer_watch(self._store, call, request, send, seen)

    def _may_read_kind(self, principal: Principal, verb: str, request: Any) -> Match | None:
        """Do the same for a whole kind: each label query must be allowed by itself."""
        seen = None
        bound = is_cluster_bound(request.type)
        for query in request.options.label_query or (None,):
            acts = principal
            if bound:
                terms = () if query is None else query.terms
                named = (
                    term.value[0] for term in terms if term.key == _CLUSTER and not term.op - _EQUAL and term.value
                )
                acts = acting(self._policies, principal, next(named, ""), kind=True)
            seen = self._may_read(acts, verb, request.namespace, request.type)
        return seen

    def _may_read(self, principal: Principal, verb: str, namespace: str, type_name: str) -> Match | None:
        """Refuse a read that is not allowed; return what the caller may see, None for everything."""
        among = among_providers(namespace)
        if not is_provider_resource(namespace, type_name) and not (among and verb == "get"):
            text = self._rules.check(principal, "read", type_name)
            if text is not None:
                raise refuse([text], "PERMISSION_DENIED")
        return self._providers.read(principal, verb, namespace, type_name) if among else None

    # --- writing ----------------------------------------------------------------------------------------------------

    async def create(self, call: Incoming, request: Any) -> bytes:
        """Answer State.Create."""
        if not request.HasField("resource"):
            raise StateError("INTERNAL", _NIL)
        principal = call.principal
        resource = self._decode(request.resource)
        self._judge(principal, "create", None, resource)
        self._virtual.refuse_creation(resource.namespace)
        if among_providers(resource.namespace):
            resource = self._providers.create(principal, resource)
            self._judge_among_providers("create", None, resource)
        if resource.owner not in {"", request.options.owner}:
            raise StateError("UNKNOWN", f'owner is already set to "{resource.owner}"')
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
        current = self._to_change(principal, "update", resource)
        self._judge(principal, "update", current, resource)
        if current is not None and among_providers(resource.namespace):
            resource = self._providers.update(principal, current, resource)
            self._judge_among_providers("update", current, resource)
        stored = self._store.update(resource, options.owner, expected)
        return length_delimited(1, stored.wire)

    async def destroy(self, call: Incoming, request: Any) -> bytes:
        """Answer State.Destroy."""
        current = self._judge_end(call.principal, request, "destroy")
        self._may_destroy(call.principal, current)
        self._store.destroy(request.namespace, request.type, request.id, request.options.owner)
        return b""

    async def teardown(self, call: Incoming, request: Any) -> bytes:
        """Answer State.Teardown."""
        self._judge_end(call.principal, request, "teardown")
        ready = self._store.teardown(request.namespace, request.type, request.id, request.options.owner)
        return b"\x08\x01" if ready else b""

    async def teardown_and_destroy(self, call: Incoming, request: Any) -> bytes:
        """Answer State.TeardownAndDestroy; waits for finalizers as long as the caller does."""
        current = self._judge_end(call.principal, request, "teardown")
        namespace, type_name, id_, owner = request.namespace, request.type, request.id, request.options.owner
        if not self._store.teardown(namespace, type_name, id_, owner):
            await self._finalized(call.bell(), namespace, type_name, id_)
        self._may_destroy(call.principal, current)
        self._store.destroy(namespace, type_name, id_, owner)
        return b""

    async def _finalized(self, bell: Bell, namespace: str, type_name: str, id_: str) -> None:
        subscription = self._store.watch(namespace, type_name, id_, WatchOptions())
        subscription.ready = bell.ring
        try:
            while True:
                for event in subscription.poll():
                    if event.kind == DESTROYED or event.resource is None or not event.resource.finalizers:
                        return
                await bell.heard()
        finally:
            subscription.close()

    def _judge_end(self, principal: Principal, request: Any, verb: str) -> Stored | None:
        """Refuse an end that the caller may not make; return what is about to end, None when it is not there."""
        named = Stored(request.namespace, request.type, request.id)
        current = self._to_change(principal, "destroy", named)
        self._judge(principal, verb, current, current or named)
        if verb == "teardown" and current is not None and current.phase == RUNNING and among_providers(named.namespace):
            self._providers.update(principal, current, current.replace(phase=TEARING_DOWN))
        return current

    def _may_destroy(self, principal: Principal, current: Stored | None) -> None:
        if current is not None and among_providers(current.namespace):
            self._providers.destroy(principal, current)

    def _to_change(self, principal: Principal, verb: str, named: Stored) -> Stored | None:
        """Return what a call is about to change; None when it is not there."""
        self._virtual.precheck(principal, verb, named)
        current = self._store.find(named.namespace, named.type, named.id)
        if among_providers(named.namespace):
            seen = self._providers.read(principal, "get", named.namespace, named.type)
            return None if current is None else visible(seen, current)
        return current

    def _judge(self, principal: Principal, verb: str, current: Stored | None, resource: Stored) -> None:
        """Refuse what the caller may not do or what is not valid; both kinds of texts come together."""
        denial = None
        if not is_provider_resource(resource.namespace, resource.type):
            denial = self._denial(principal, "destroy" if verb == "teardown" else verb, current, resource)
        texts = [] if denial is None else [denial]
        texts.extend(self._validators.judge(verb, current, resource))
        if texts:
            raise refuse(texts, "INVALID_ARGUMENT" if denial is None else "PERMISSION_DENIED")
        if verb != "create" and current is None and resource.namespace == _SECONDARY:
            raise StateError("NOT_FOUND", f"failed to get: resource {resource} doesn't exist")

    def _judge_among_providers(self, verb: str, current: Stored | None, resource: Stored) -> None:
        texts = self._validators.judge_among_providers(verb, current, resource)
        if texts:
            raise refuse(texts)
        info = TYPES.get(resource.type)
        for packed, _ in () if info is None else info.compressed:
            # A server keeps such data and has the same answer for every read of it.
            check_frames(getattr(resource.decode(), packed))

    def _denial(self, principal: Principal, verb: str, current: Stored | None, resource: Stored) -> str | None:
        """Return why a caller may not write: an update counts where the resource is and where it goes."""
        before = current if verb == "update" and current is not None else resource
        place, goal = cluster_of(before), cluster_of(resource)
        denial = self._rules.check(acting(self._policies, principal, place), verb, resource.type)
        if denial is not None or (place == goal and goal):
            return denial
        return self._rules.check(acting(self._policies, principal, goal), verb, resource.type)

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


async def answer_watch(store: Store, call: Incoming, request: Any, send: Send, seen: Match | None = None) -> None:
    """Answer a watch from a store; goes on until the caller ends it.

    Args:
        store: Where the resources are.
        call: The call.
        request: The `cosi.resource.WatchRequest`.
        send: What sends a message of the answer.
        seen: What the caller may see of the kind; None for everything.

    Raises:
        StateError: Options that do not go together.
    """
    options = request.options
    single = request.HasField("id")
    match = None
    if single:
        if options.bootstrap_contents:
            raise StateError("UNIMPLEMENTED", "bootstrap contents is not implemented for resource watch")
        if options.label_query:
            raise StateError("UNIMPLEMENTED", "label query is not implemented for resource watch")
    else:
        match = both(compile_queries(options), seen)
    subscription = store.watch(
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
        await _follow(subscription, call.bell(), send, aggregated=options.aggregated and not single)
    finally:
        subscription.close()


async def _follow(subscription: Subscription, bell: Bell, send: Send, *, aggregated: bool) -> None:
    subscription.ready = bell.ring
    while True:
        # Few at a time unless they go out together: a reader that stalls must fall behind, not fill memory.
        events = subscription.poll() if aggregated else subscription.poll(64)
        if aggregated and events:
            await send(b"".join(length_delimited(1, event.wire) for event in events))
        elif events:
            for event in events:
                await send(length_delimited(1, event.wire))
        else:
            await bell.heard()


def _version(text: str) -> str:
    if text == UNDEFINED:
        return text
    fault = "invalid syntax"
    if _INTEGER.fullmatch(text):
        if len(text) <= _DIGITS and -_INT64 <= (number := int(text)) < _INT64:
            return str(number)
        fault = "value out of range"
    raise StateError("UNKNOWN", f'error parsing version: strconv.ParseInt: parsing "{text}": {fault}')


def _phase(text: str) -> str:
    if text not in {RUNNING, TEARING_DOWN}:
        raise StateError("UNKNOWN", f"unknown phase: {text}")
    return text


def both(one: Match | None, other: Match | None) -> Match | None:
    """Return what matches two conditions; None stands for everything."""
    if one is None or other is None:
        return one or other
    first, second = one, other
    return lambda resource: first(resource) and second(resource)
