"""Talos's own API: any method, and its resources, on some machines."""
# ruff: noqa: A002, ASYNC109 - `id` is the field's name for it; a timeout here is a gRPC deadline too

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.service import AsyncAnswers
from omniherd._async.stream import AsyncStream, decoder
from omniherd._backend import aio as backend
from omniherd._core.talos import explain, method_path, replies_of, reply_of, sorts_by_node
from omniherd.errors import APIError, InputError, WatchError
from omniherd.services import NodeReply, TalosChange

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from google.protobuf.message import Message

    from omniherd._async.channel import AsyncMessages
    from omniherd._async.talos_routes import AsyncRoute
    from omniherd._core.talos import Plan
    from omniherd.resource import Resource

__all__ = ["AsyncTalosCalls"]

T = TypeVar("T")

_STATE = "/cosi.resource.State/"
_CONCURRENCY = 8
_CREATED, _UPDATED, _DESTROYED, _BOOTSTRAPPED, _ERRORED = range(5)
_KINDS = {_CREATED: "created", _UPDATED: "updated", _DESTROYED: "destroyed", _BOOTSTRAPPED: "bootstrapped"}


class AsyncTalosCalls:
    """Any method of Talos's API, and its resources.

    Args:
        route: The way to the machines.

    Attributes:
        cluster: The cluster, where it was given.
        nodes: The machines that were named.
    """

    def __init__(self, route: AsyncRoute) -> None:
        self._route = route
        self.cluster = route.cluster
        self.nodes = route.nodes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} cluster={self.cluster!r} nodes={self.nodes!r}>"

    # --- any method ---------------------------------------------------------------------------------------------

    async def call(
        self, method: str, request: Message | None = None, *, timeout: Timeout = DEFAULT, safe: bool = False
    ) -> builtins.list[NodeReply[Any]]:
        """Call a method that gives one answer, on every machine.

        Machines of one cluster are asked in one call; those of different clusters, and those that wait in maintenance
        mode, in calls of their own, side by side.

        Args:
            method: `Version`, or with its service `storage.StorageService/Disks`; see `omniherd.wire.calls`.
            request: Its request message, from `omniherd.wire`; an empty one by default.
            timeout: Seconds for each call, instead of the client's.
            safe: Whether the call may be repeated when the connection broke, as reads may.

        Returns:
            A reply of each machine, in the order in which they were named; `reply.message` is one element of the
            answer's `messages`, or the answer itself where it has none. With several machines the failure of one is
            in its reply. With one machine, or none named, it is raised.

        Raises:
            InputError: There is no such method, or it streams.
            NotFound: A selector matches no machine, or there is none of that name.
            PermissionDenied: The caller's role, or the role at Talos that goes with it (Reader `os:reader`, Operator
                and Admin `os:operator`), is too low.
            APIError: Otherwise refused, or not got through.

        Example:
            >>> for reply in await omni.talos("lab", nodes=["cp-1", "worker-1"]).call("Hostname"):
            ...     print(reply.node, reply.error or reply.message.hostname)
        """
        path = method_path(method)
        encoded = _encoded(path, request)
        decode = decoder(path, stream=False)
        wanted = await self._route.plans(together=sorts_by_node(path))
        endpoint = self._route.channel.endpoint.url
        alone = len(wanted) == 1

        async def run(plan: Plan) -> builtins.list[NodeReply[Any]]:
            try:
                data = await self._route.channel.unary(
                    path, encoded, metadata=plan.metadata, timeout=timeout, safe=safe, resource=_about(plan)
                )
            except APIError as error:
                explained = explain(error, plan.by)
                if alone:
                    raise explained from error.__cause__
                return [NodeReply(name, None, explained) for name, _ in plan.asked]
            return replies_of(plan, decode(data), endpoint)

        answers = await backend.each(wanted, run, _CONCURRENCY)
        flat = [reply for replies in answers for reply in replies]
        order = {name: number for number, (name, _) in enumerate(self._order(wanted))}
        return sorted(flat, key=lambda reply: order.get(reply.node, len(order)))

    def stream(
        self, method: str, request: Message | None = None, *, timeout: float | None = None
    ) -> AsyncAnswers[NodeReply[Any]]:
        """Call a method that answers with a stream. With several machines their messages come mixed.

        Args:
            method: `Dmesg`, or with its service `cluster.ClusterService/HealthCheck`.
            request: Its request message, from `omniherd.wire`; an empty one by default.
            timeout: Seconds until the stream is cut off, None for never.

        Returns:
            An iterator over replies; a failure of one of several machines is in its reply.

        Raises:
            InputError: There is no such method, or it does not stream; while iterating: the machines are in different
                clusters, or the method can be asked of one machine at a time only.
            APIError: While iterating: refused, or the connection broke.
        """
        return self._replies(method, request, None, timeout)

    def _replies(
        self, method: str, request: Message | None, convert: Callable[[Any], T] | None, timeout: float | None
    ) -> AsyncAnswers[NodeReply[T]]:
        path = method_path(method)
        encoded = _encoded(path, request)
        decode = decoder(path, stream=True)
        endpoint = self._route.channel.endpoint.url
        chosen: builtins.list[Plan] = []

        async def start() -> AsyncMessages:
            wanted = await self._route.plans(together=sorts_by_node(path))
            if len(wanted) != 1:
                raise InputError(
                    "one stream comes from one machine, or from several of one cluster",
                    hint="open a stream for each cluster, and for each machine in maintenance mode",
                )
            chosen.extend(wanted)
            return await self._route.channel.open(
                path, encoded, metadata=wanted[0].metadata, timeout=timeout, resource=_about(wanted[0])
            )

        return AsyncAnswers(
            AsyncStream(start, decode),
            lambda message: reply_of(chosen[0], message, endpoint, convert),
            lambda error: explain(error, _by(chosen)),
        )

    # --- Talos's resources --------------------------------------------------------------------------------------

    async def get(self, type: str, id: str, *, namespace: str, timeout: Timeout = DEFAULT) -> Resource[Any]:
        """Return one of a machine's own resources.

        Args:
            type: The full type name: `MachineStatuses.runtime.talos.dev`.
            id: Its id.
            namespace: Its namespace; Talos has several: `runtime`, `network`, `cluster`, `k8s`, `config`, ...
            timeout: Seconds, instead of the client's.

        Returns:
            The resource; its spec is a mapping.

        Raises:
            InputError: More than one machine was chosen.
            NotFound: There is none, or no such machine.
            APIError: Otherwise refused, or not got through.
        """
        from omniherd.resource import resource_class
        from omniherd.wire import cosi_resource

        cls, plan = resource_class(_full(type)), await self._one()
        request = cosi_resource.GetRequest(namespace=namespace, type=type, id=id)
        path = _STATE + "Get"
        try:
            data = await self._route.channel.unary(
                path, request.SerializeToString(), metadata=plan.metadata, timeout=timeout, safe=True
            )
        except APIError as error:
            raise explain(error, plan.by) from error.__cause__
        return cls.from_proto(decoder(path, stream=False)(data).resource)

    async def list(self, type: str, *, namespace: str, timeout: float | None = 60.0) -> builtins.list[Resource[Any]]:
        """Return a machine's own resources of a type. A type that Talos does not know has none.

        Args:
            type: The full type name: `Members.cluster.talos.dev`.
            namespace: Their namespace.
            timeout: Seconds.

        Raises:
            InputError: More than one machine was chosen.
            APIError: Refused, or not got through.

        Example:
            >>> for member in await omni.talos("lab").list("Members.cluster.talos.dev", namespace="cluster"):
            ...     print(member.id, member.spec["addresses"])
        """
        from omniherd.resource import resource_class
        from omniherd.wire import cosi_resource

        cls, plan = resource_class(_full(type)), await self._one()
        request = cosi_resource.ListRequest(namespace=namespace, type=type)
        path, encoded = _STATE + "List", request.SerializeToString()
        answers = AsyncStream(
            lambda: self._route.channel.open(path, encoded, metadata=plan.metadata, timeout=timeout),
            decoder(path, stream=True),
        )
        explained: AsyncAnswers[Any] = AsyncAnswers(
            answers, lambda answer: answer, lambda error: explain(error, plan.by)
        )
        return [cls.from_proto(answer.resource) async for answer in explained]

    def watch(
        self, type: str, id: str | None = None, *, namespace: str, timeout: float | None = None
    ) -> AsyncAnswers[TalosChange]:
        """Yield a machine's own resources of a type, then each change. It ends with an error when the machine reboots.

        Args:
            type: The full type name.
            id: One resource, or None for all of the type.
            namespace: Their namespace.
            timeout: Seconds until the stream is cut off, None for never.

        Raises:
            WatchError: While iterating: the machine says that the watch broke.
            APIError: While iterating: refused, or the connection broke.
        """
        from omniherd.resource import resource_class
        from omniherd.wire import cosi_resource

        cls = resource_class(_full(type))
        options = cosi_resource.WatchOptions(bootstrap_contents=id is None)
        request = cosi_resource.WatchRequest(namespace=namespace, type=type, options=options, api_version=1)
        if id is not None:
            request.id = id
        encoded = request.SerializeToString()
        chosen: builtins.list[Plan] = []

        async def start() -> AsyncMessages:
            plan = await self._one()
            chosen.append(plan)
            return await self._route.channel.open(_STATE + "Watch", encoded, metadata=plan.metadata, timeout=timeout)

        # A message may hold several events, or none: the first only says that the watch stands.
        def changes(answer: Any) -> builtins.list[TalosChange]:
            found: builtins.list[TalosChange] = []
            for event in answer.event:
                if event.event_type == _ERRORED:
                    raise WatchError(event.error or "the machine says that the watch broke")
                kind = _KINDS.get(event.event_type)
                if kind is not None:
                    found.append(TalosChange(kind, cls.from_proto(event.resource)))
            return found

        return _AsyncChanges(AsyncStream(start, decoder(_STATE + "Watch", stream=True)), changes, chosen)

    # --- parts --------------------------------------------------------------------------------------------------

    async def _one(self) -> Plan:
        # Omni does not pass State calls on to several machines at once.
        found = await self._route.plans(together=False)
        if len(found) != 1:
            raise InputError("a machine's own resources can be read from one machine at a time")
        return found[0]

    def _order(self, wanted: builtins.list[Plan]) -> builtins.list[tuple[str, Any]]:
        if self.nodes:
            return [(name, None) for name in self.nodes]
        return [member for plan in wanted for member in plan.asked]


class _AsyncChanges(AsyncAnswers[TalosChange]):
    """The changes in the messages of a watch."""

    def __init__(
        self,
        stream: AsyncStream,
        split: Callable[[Any], builtins.list[TalosChange]],
        chosen: builtins.list[Plan],
    ) -> None:
        super().__init__(stream, lambda _: None, lambda error: explain(error, _by(chosen)))
        self._split = split
        self._left: builtins.list[TalosChange] = []

    async def __anext__(self) -> TalosChange:
        while not self._left:
            self._left = self._split(await self._next())
        return self._left.pop(0)


def _by(chosen: list[Plan]) -> str:
    # Nothing is chosen yet where choosing itself failed: that was Omni, asked for names.
    return chosen[0].by if chosen else "Omni"


def _full(type_name: str) -> str:
    if "." not in type_name:
        raise InputError(f"{type_name!r} is no full type name", hint="write it as Members.cluster.talos.dev")
    return type_name


def _about(plan: Plan) -> str | None:
    return ", ".join(name for name, _ in plan.asked) or None


def _encoded(path: str, request: Message | None) -> bytes:
    from omniherd.wire.calls import CALLS

    wanted = CALLS[path].request
    if request is None:
        return b""
    if request.DESCRIPTOR.full_name != wanted:
        raise InputError(f"{path} takes a {wanted}, not a {request.DESCRIPTOR.full_name}")
    return request.SerializeToString()
