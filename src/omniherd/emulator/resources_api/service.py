"""The calls of ResourceService, made of calls of the State service: what is decided there holds here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from omniherd._core.pool import message
from omniherd.emulator.forms import TYPES, spec_class
from omniherd.emulator.protojson import JSONFault, read
from omniherd.emulator.queries import compile_queries
from omniherd.emulator.records import RUNNING, UNDEFINED, StateError, Stored
from omniherd.emulator.resources_api.shown import resource_json, searched
from omniherd.emulator.resources_api.watching import Changes
from omniherd.emulator.resources_api.windows import Sorting
from omniherd.emulator.state_service import answer_watch
from omniherd.errors import SelectorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.emulator.resources_api.of_nodes import OfNodes
    from omniherd.emulator.server import Incoming, Method, Send, StreamMethod, UnaryMethod
    from omniherd.emulator.store import Store
    from omniherd.emulator.validators import Validators

__all__ = ["ResourceService"]

_PREFIX = "/omni.resources.ResourceService/"
_STATE = "/cosi.resource.State/"
_PUBLIC = frozenset({"AuthConfigs.omni.sidero.dev", "EulaAcceptances.omni.sidero.dev"})
_RUNTIMES = frozenset({"Kubernetes", "Talos", "Omni"})
_NIL = "runtime error: invalid memory address or nil pointer dereference"
_NOT_FOUND = "NOT_FOUND"


class ResourceService:
    """The service.

    Args:
        store: The state.
        state: What answers calls of the State service, by path.
        validators: What may be written.
        of_nodes: Where resources of Talos are.
    """

    def __init__(self, store: Store, state: Mapping[str, Method], validators: Validators, of_nodes: OfNodes) -> None:
        self._store = store
        self._state = state
        self._validators = validators
        self._of_nodes = of_nodes

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {
            _PREFIX + "Get": self.get,
            _PREFIX + "List": self.list,
            _PREFIX + "Create": self.create,
            _PREFIX + "Update": self.update,
            _PREFIX + "Delete": self.delete,
            _PREFIX + "Teardown": self.teardown,
            _PREFIX + "Watch": self.watch,
            _PREFIX + "Controllers": self.missing,
            _PREFIX + "DependencyGraph": self.missing,
        }

    # --- reading ----------------------------------------------------------------------------------------------------

    async def get(self, call: Incoming, request: Any) -> Any:
        """Answer Get."""
        runtime = self._begin(call, request.type)
        wanted = _message("GetRequest", namespace=request.namespace, type=request.type, id=request.id)
        if runtime == "Talos":
            node, there = self._of_nodes.stores(call, request.type)[0]
            one = there.get(request.namespace, request.type, request.id)
            return message("omni.resources.GetResponse")(body=resource_json(one, node))
        answer = _message("GetResponse").FromString(await self._ask("Get", call, wanted))
        return message("omni.resources.GetResponse")(body=resource_json(Stored.of(answer.resource)))

    async def list(self, call: Incoming, request: Any) -> Any:
        """Answer List."""
        runtime = self._begin(call, request.type)
        wanted: Any = _message("ListRequest", namespace=request.namespace, type=request.type)
        _select(call, wanted.options)
        found: list[tuple[Stored, str]] = []
        if runtime == "Talos":
            match = compile_queries(wanted.options)
            for node, there in self._of_nodes.stores(call, request.type):
                found += [(one, node) for one in there.list(request.namespace, request.type, match)]
        else:
            answer = message("cosi.resource.ListResponse")

            async def collect(data: bytes) -> None:
                found.append((Stored.of(cast("Any", answer.FromString(data)).resource), ""))

            await cast("StreamMethod", self._state[_STATE + "List"])(call, wanted, collect)
        found = [one for one in found if searched(one[0], request.search_for)]
        sorting = Sorting(request.sort_by_field, descending=request.sort_descending)
        # Go's sort looks at the second element first, and tells its name when there is no such field.
        ranks = {id(one): sorting.rank(one[0]) for one in [*found[1:2], *found]}
        found.sort(key=lambda one: ranks[id(one)])
        start = max(request.offset, 0)
        shown = found[start : start + request.limit] if request.limit > 0 else found[start:]
        items = [resource_json(resource, node) for resource, node in shown]
        return message("omni.resources.ListResponse")(items=items, total=len(found))

    async def watch(self, call: Incoming, request: Any, send: Send) -> None:
        """Answer Watch; goes on until the caller ends it."""
        runtime = self._runtime(call)
        wanted: Any = _message("WatchRequest", namespace=request.namespace, type=request.type, api_version=1)
        if request.id:
            wanted.id = request.id
            wanted.options.tail_events = request.tail_events
        else:
            wanted.options.bootstrap_contents = True
        _select(call, wanted.options)
        if runtime == "Talos":
            stores = self._of_nodes.stores(call, request.type)
            if len(stores) > 1:
                raise StateError("UNIMPLEMENTED", f"{call.path}: the emulator does not watch several machines at once")
            node, there = stores[0]
            await answer_watch(there, call, wanted, Changes(request, send, node).take)
            return
        changes = Changes(request, send)
        await cast("StreamMethod", self._state[_STATE + "Watch"])(call, wanted, changes.take)

    # --- writing ----------------------------------------------------------------------------------------------------

    async def create(self, call: Incoming, request: Any) -> bytes:
        """Answer Create."""
        self._begin(call, request.resource.metadata.type, writes=True)
        await self._ask("Create", call, _message("CreateRequest", resource=self._resource(request)))
        return b""

    async def update(self, call: Incoming, request: Any) -> bytes:
        """Answer Update; the server does not look at `currentVersion`, what counts stands in the metadata."""
        self._begin(call, request.resource.metadata.type, writes=True)
        resource: Any = self._resource(request)
        metadata = resource.metadata
        if metadata.version == UNDEFINED:
            wanted = _message("GetRequest", namespace=metadata.namespace, type=metadata.type, id=metadata.id)
            found = _message("GetResponse").FromString(await self._ask("Get", call, wanted))
            metadata.version = found.resource.metadata.version
        await self._ask(
            "Update", call, _message("UpdateRequest", new_resource=resource, options={"expected_phase": RUNNING})
        )
        return b""

    async def delete(self, call: Incoming, request: Any) -> bytes:
        """Answer Delete; waits for finalizers as long as the caller does."""
        self._begin(call, request.type, writes=True)
        there = self._store.find(request.namespace, request.type, request.id) is not None
        try:
            await self._ask("TeardownAndDestroy", call, _named("TeardownAndDestroyRequest", request))
        except StateError as error:
            # A controller that was quicker has done what was asked for.
            if not there or error.code != _NOT_FOUND:
                raise
        return b""

    async def teardown(self, call: Incoming, request: Any) -> bytes:
        """Answer Teardown."""
        self._begin(call, request.type, writes=True)
        await self._ask("Teardown", call, _named("TeardownRequest", request))
        return b""

    async def missing(self, call: Incoming, _request: Any) -> bytes:
        """Answer what the emulated server answers nothing to."""
        raise StateError("UNIMPLEMENTED", f"method {call.path.rpartition('/')[2]} not implemented")

    # --- inside -----------------------------------------------------------------------------------------------------

    def _begin(self, call: Incoming, type_name: str, *, writes: bool = False) -> str:
        """Return the runtime; let calls about what everybody may read, and the licence, come without signature."""
        if type_name in _PUBLIC:
            call.admit()
        return self._runtime(call, writes=writes)

    def _runtime(self, call: Incoming, *, writes: bool = False) -> str:
        """Return the runtime that a call is for: `Omni`, or `Talos` for reading.

        Raises:
            StateError: It is none, or cannot do that.
        """
        _ = call.principal
        runtime = call.header("runtime")
        if runtime not in _RUNTIMES:
            raise StateError("INVALID_ARGUMENT", "missing runtime metadata")
        if runtime == "Omni":
            return runtime
        if writes:
            raise StateError("UNIMPLEMENTED", "not implemented")
        if runtime == "Kubernetes":
            cluster = call.header("cluster") or call.header("context") or ""
            if self._store.find("default", "Clusters.omni.sidero.dev", cluster) is None:
                raise StateError("UNKNOWN", f"kubeconfig for cluster {cluster} is not found")
            raise StateError("UNIMPLEMENTED", f"{call.path} of runtime {runtime} is not emulated")
        return runtime

    async def _ask(self, method: str, call: Incoming, request: Any) -> bytes:
        """Make a call of the State service; a conflict has another code here."""
        try:
            answer = await cast("UnaryMethod", self._state[_STATE + method])(call, request)
        except StateError as error:
            if error.code == "FAILED_PRECONDITION":
                raise StateError("ALREADY_EXISTS", error.message) from None
            raise
        return cast("bytes", answer)

    def _resource(self, request: Any) -> Any:
        """Return the resource in a request as the State service takes it."""
        if not request.HasField("resource"):
            raise StateError("INVALID_ARGUMENT", "resource is nil")
        if not request.resource.HasField("metadata"):
            raise StateError("INVALID_ARGUMENT", "resource metadata is nil")
        found: Any = message("cosi.resource.Resource")()
        found.metadata.CopyFrom(request.resource.metadata)
        found.metadata.phase = RUNNING
        found.metadata.version = found.metadata.version or "1"
        info = TYPES.get(found.metadata.type)
        cls = spec_class(found.metadata.type)
        if info is None or info.since is not None or cls is None:
            told = f"no resource is registered for the resource type {found.metadata.type}"
            raise StateError("UNKNOWN", told)
        text = request.resource.spec
        if not text and self._validators.judges(found.metadata.type):
            raise StateError("INTERNAL", _NIL)
        try:
            found.spec.proto_spec = read(cls, text or "{}").SerializeToString()
        except JSONFault as fault:
            raise StateError("UNKNOWN", str(fault)) from None
        return found


def _message(name: str, **fields: Any) -> Any:
    return message(f"cosi.resource.{name}")(**fields)


def _named(name: str, request: Any) -> Any:
    return _message(name, namespace=request.namespace, type=request.type, id=request.id, options={})


def _select(call: Incoming, options: Any) -> None:
    """Put the selectors in a call's metadata into the options of a read; one of them has to match."""
    from omniherd.selectors import parse

    for key, text in call.metadata:
        if key != "selectors":
            continue
        try:
            options.label_query.append(parse(text).to_query())
        except SelectorError as error:
            raise StateError("INVALID_ARGUMENT", error.message) from None
