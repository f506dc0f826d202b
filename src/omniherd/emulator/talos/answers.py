"""What machines answer to a call of Talos' API, one of them or several together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import descriptor, message
from omniherd._core.spec_mapping import fill
from omniherd._core.status import CODES
from omniherd.emulator.queries import compile_queries
from omniherd.emulator.records import StateError, length_delimited
from omniherd.emulator.state_service import answer_watch
from omniherd.emulator.talos.node_resources import SENSITIVE
from omniherd.emulator.talos.roles import ADMIN, check_role
from omniherd.wire.calls import CALLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.emulator.server import Incoming, Send
    from omniherd.emulator.talos.machine_api import Unary
    from omniherd.emulator.talos.node_resources import NodeResources
    from omniherd.emulator.talos.nodes import Node
    from omniherd.emulator.talos.running import Running
    from omniherd.emulator.talos.streams import Streams, Tell

__all__ = ["Answers", "Route", "metadata_values"]

_STATE = "/cosi.resource.State/"
_READING = frozenset({_STATE + "Get", _STATE + "List", _STATE + "Watch"})


@dataclass(frozen=True, slots=True)
class Route:
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


class Answers:
    """The answers.

    Args:
        running: What goes on in the machines.
        unary: Their methods with one answer, by path.
        streams: Their methods that stream.
        resources: Their resources.
    """

    def __init__(
        self, running: Running, unary: Mapping[str, Unary], streams: Streams, resources: NodeResources
    ) -> None:
        self._running = running
        self._unary = unary
        self._streams = streams.methods()
        self._resources = resources
        self._services = {path[1:].partition("/")[0] for path in (*self._unary, *self._streams)}

    def answered(self) -> frozenset[str]:
        """Return the paths that machines answer."""
        return frozenset((*self._unary, *self._streams, *_READING))

    async def answer(self, call: Incoming, data: bytes, send: Send, route: Route, role: str) -> None:
        """Answer a call.

        Args:
            call: The call.
            data: Its request, encoded.
            send: What sends a message of the answer.
            route: Where it goes.
            role: The caller's role at Talos.

        Raises:
            StateError: As the machine says it.
        """
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


def metadata_values(call: Incoming, name: str) -> list[str]:
    """Return the values of a metadata key of a call."""
    return [value for key, value in call.metadata if key == name]


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
