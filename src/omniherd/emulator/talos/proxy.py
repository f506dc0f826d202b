"""How Omni lets calls through to Talos: who is meant, who may, what several machines answer together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import descriptor, message
from omniherd._core.spec_mapping import fill
from omniherd._core.status import CODES
from omniherd.emulator.access import acting, insufficient, rank
from omniherd.emulator.queries import compile_queries
from omniherd.emulator.records import StateError, length_delimited
from omniherd.emulator.state_service import answer_watch
from omniherd.emulator.talos.node_resources import SENSITIVE
from omniherd.emulator.talos.roles import ADMIN, check_role, closed_to_all, role_at_talos
from omniherd.wire.calls import CALLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.policies import Policies
    from omniherd.emulator.server import Incoming, Send
    from omniherd.emulator.talos.machine_api import MachineAPI
    from omniherd.emulator.talos.node_resources import NodeResources
    from omniherd.emulator.talos.nodes import Node, Nodes
    from omniherd.emulator.talos.running import Running
    from omniherd.emulator.talos.streams import Streams, Tell

__all__ = ["Proxy"]

_MACHINE = "/machine.MachineService/"
_STATE = "/cosi.resource.State/"
_OWN_PACKAGES = ("auth.", "management.", "oidc.", "omni.")
_READING = frozenset({_STATE + "Get", _STATE + "List", _STATE + "Watch"})


@dataclass(frozen=True, slots=True)
class _Route:
    """Where a call goes.

    Attributes:
        cluster: The cluster that roles and the audit log count it to; empty for a free machine.
        node: The machine that Omni connects to.
        named: The machines that the call names.
        several: Whether those answer side by side, each telling its address.
    """

    cluster: str
    node: Node
    named: list[Node]
    several: bool


class Proxy:
    """What takes the calls whose metadata say that they are for Talos.

    Args:
        nodes: The machines.
        running: What goes on in them.
        policies: Roles that an access policy gives on clusters.
        api: Their methods with one answer.
        streams: Their methods that stream.
        resources: Their resources.
        note: Writes a call to the audit log: the call, its cluster, the machines as they were named.

    Attributes:
        licence: What refuses calls until the licence is accepted; None for nothing.
    """

    def __init__(
        self,
        nodes: Nodes,
        running: Running,
        policies: Policies,
        *,
        api: MachineAPI,
        streams: Streams,
        resources: NodeResources,
        note: Callable[[Incoming, str, str], None],
    ) -> None:
        self._nodes = nodes
        self._running = running
        self._policies = policies
        self._unary = api.unary()
        self._streams = streams.methods()
        self._resources = resources
        self._note = note
        self.licence: Callable[[str, Any], None] | None = None
        self._services = {path[1:].partition("/")[0] for path in (*self._unary, *self._streams)}

    def answered(self) -> frozenset[str]:
        """Return the paths that machines answer; some of them with a refusal, whoever calls."""
        refused = (path for path in CALLS if path.startswith(_MACHINE) and closed_to_all(path))
        return frozenset((*self._unary, *self._streams, *_READING, *refused))

    def takes(self, path: str, runtime: str | None) -> bool:
        """Tell whether a call is for Talos.

        Args:
            path: The method's path.
            runtime: What its metadata say.
        """
        return runtime == "Talos" and not path.removeprefix("/").startswith(_OWN_PACKAGES)

    def check(self, call: Incoming) -> None:
        """Refuse a call to Omni itself whose metadata name machines that are not there.

        Raises:
            StateError: `UNKNOWN`.
        """
        try:
            self._named(call)
        except StateError as error:
            raise StateError("UNKNOWN", error.message) from None

    async def serve(self, call: Incoming, data: bytes, send: Send) -> None:
        """Answer a call that is for Talos.

        Args:
            call: The call.
            data: Its request, encoded.
            send: What sends a message of the answer.

        Raises:
            StateError: As Omni or the machine says it.
        """
        if self.licence is not None:
            self.licence(call.path, None)
        route = self._route(call)
        acts = acting(self._policies, call.principal, route.cluster)
        self._note(call, route.cluster, ",".join(sorted(_values(call, "nodes")) or _values(call, "node")))
        may_change = rank(acts.role) >= rank("Operator")
        if not may_change and not route.cluster:
            raise StateError("PERMISSION_DENIED", "permission denied")
        if rank(acts.role) < rank("Reader"):
            raise StateError("PERMISSION_DENIED", insufficient(acts.role))
        role = role_at_talos(call.path, route.named, may_change=may_change)
        self._running.check(route.node)
        await self._answer(call, data, send, route, role)

    # --- who is meant -----------------------------------------------------------------------------------------------

    def _named(self, call: Incoming) -> list[Node]:
        names = _values(call, "node")[:1]
        for value in _values(call, "nodes"):
            names.extend(value.split(","))
        cluster = _cluster(call)
        found = [self._nodes.resolve(cluster, name) for name in names]
        for node in found[1:]:
            if node.cluster != found[0].cluster:
                clusters = f'found clusters "{found[0].cluster}" and "{node.cluster}"'
                raise StateError("INVALID_ARGUMENT", f"all nodes should be in the same cluster, {clusters}")
        return found

    def _route(self, call: Incoming) -> _Route:
        try:
            named = self._named(call)
        except StateError as error:
            raise StateError(error.code, f"resolve nodes: {error.message}") from None
        cluster, several = _cluster(call), bool(_values(call, "nodes"))
        if not named:
            if not cluster:
                raise StateError("INVALID_ARGUMENT", "at least one of cluster, node, or nodes must be specified")
            return _Route(cluster, self._control_plane(cluster), [], several=False)
        cluster = cluster or named[0].cluster
        if several:
            return _Route(cluster, self._control_plane(cluster), named, several=True)
        return _Route(cluster, named[0], named, several=False)

    def _control_plane(self, cluster: str) -> Node:
        """Return the control plane that answers for a cluster: the first that can be reached, if any can."""
        found = self._nodes.control_planes(cluster)
        for node in found:
            try:
                self._running.check(node)
            except StateError:
                continue
            return node
        return found[0]

    # --- what they answer -------------------------------------------------------------------------------------------

    async def _answer(self, call: Incoming, data: bytes, send: Send, route: _Route, role: str) -> None:
        path = call.path
        if path.startswith(_STATE):
            if route.several:
                raise StateError("INVALID_ARGUMENT", "one-2-many proxying is not supported for COSI methods")
            await self._resource_call(call, _decode(path, data), send, route.node, role)
            return
        self._know(path)
        stream = CALLS[path].server_stream
        if not route.several:
            if stream:
                await self._stream(call, data, _telling(path, send, {}), route.node, role)
            else:
                await send(_together(path, [self._one(path, data, route.node, role)]))
            return
        if not stream:
            await send(_together(path, [self._of(path, data, node, role) for node in route.named]))
            return

        lock = asyncio.Lock()  # a stream takes one message at a time

        async def mixed(data: bytes) -> None:
            async with lock:
                await send(data)

        async def follow(node: Node) -> None:
            head: dict[str, Any] = {"hostname": node.address_in_cluster}
            try:
                self._running.check(node)
                await self._stream(call, data, _telling(path, mixed, head), node, role)
            except StateError as error:
                await mixed(_message(path, {"metadata": {**head, **_failure(error)}}))

        await asyncio.gather(*(follow(node) for node in route.named))

    def _know(self, path: str) -> None:
        """Refuse what Talos does not have, and what the machines here do not do."""
        service, _, method = path.removeprefix("/").rpartition("/")
        if service not in self._services:
            raise StateError("UNIMPLEMENTED", f"unknown service {service}")
        if path not in CALLS:
            raise StateError("UNIMPLEMENTED", f"unknown method {method} for service {service}")

    def _of(self, path: str, data: bytes, node: Node, role: str) -> dict[str, Any]:
        """Return a machine's part of an answer of several."""
        head: dict[str, Any] = {"hostname": node.address_in_cluster}
        try:
            self._running.check(node)
            return {"metadata": head, **self._one(path, data, node, role)}
        except StateError as error:
            return {"metadata": {**head, **_failure(error)}}

    def _one(self, path: str, data: bytes, node: Node, role: str) -> dict[str, Any]:
        request = _decode(path, data)
        check_role(path, role)
        method = self._unary.get(path)
        if method is None:
            raise _unfinished(path)
        return method(node, request)

    async def _stream(self, call: Incoming, data: bytes, tell: Tell, node: Node, role: str) -> None:
        path = call.path
        request = _decode(path, data)
        check_role(path, role)
        method = self._streams.get(path)
        if method is None:
            raise _unfinished(path)
        await method(node, request, tell, call.bell())

    async def _resource_call(self, call: Incoming, request: Any, send: Send, node: Node, role: str) -> None:
        check_role(call.path, role)
        if call.path not in _READING:
            raise _unfinished(call.path)
        if request.type == SENSITIVE and role != ADMIN:
            raise StateError("PERMISSION_DENIED", "not authorized")
        if call.path == _STATE + "Watch":
            with self._resources.watched(node) as store:
                await answer_watch(store, call, request, send)
            return
        store = self._resources.store(node)
        if call.path == _STATE + "Get":
            found = store.get(request.namespace, request.type, request.id)
            await send(length_delimited(1, found.wire))
        else:
            match = compile_queries(request.options)
            for one in store.list(request.namespace, request.type, match):
                await send(length_delimited(1, one.wire))


def _values(call: Incoming, name: str) -> list[str]:
    return [value for key, value in call.metadata if key == name]


def _cluster(call: Incoming) -> str:
    return call.header("cluster") or call.header("context") or ""


def _decode(path: str, data: bytes) -> Any:
    if path not in CALLS:
        service, _, method = path.removeprefix("/").rpartition("/")
        raise StateError("UNIMPLEMENTED", f"unknown method {method} for service {service}")
    try:
        return message(CALLS[path].request).FromString(data)
    except Exception:  # noqa: BLE001 - protobuf's error class depends on its backend
        raise StateError("INTERNAL", "grpc: error unmarshalling request: unexpected EOF") from None


def _unfinished(path: str) -> StateError:
    return StateError("UNIMPLEMENTED", f"method {path.rpartition('/')[2]} not implemented")


def _message(path: str, fields: dict[str, Any]) -> bytes:
    proto = message(CALLS[path].response)()
    fill(proto, fields, path)
    return proto.SerializeToString()


def _telling(path: str, send: Send, head: dict[str, Any]) -> Tell:
    """Return what sends the fields of a message, after what tells which machine it is from."""

    async def tell(fields: dict[str, Any]) -> None:
        await send(_message(path, {"metadata": head, **fields} if head else fields))

    return tell


def _together(path: str, parts: list[dict[str, Any]]) -> bytes:
    """Return an answer: most have a message for each machine, some are one message as a whole."""
    if "messages" in descriptor(CALLS[path].response).fields_by_name:
        return _message(path, {"messages": parts})
    return _message(path, parts[0])


def _failure(error: StateError) -> dict[str, Any]:
    """Return a machine's failure as it stands in an answer of several."""
    name = "".join(word.capitalize() for word in error.code.split("_")).replace("Cancelled", "Canceled")
    name = "OK" if name == "Ok" else name
    status = {"code": CODES.index(error.code), "message": error.message}
    return {"error": f"rpc error: code = {name} desc = {error.message}", "status": status}
