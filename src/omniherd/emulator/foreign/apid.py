"""The way to the machines of a foreign cluster: one endpoint, which hands calls on to those that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.records import StateError
from omniherd.emulator.talos.answers import Route, metadata_values
from omniherd.emulator.talos.roles import RANKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.server import Incoming, Send
    from omniherd.emulator.talos.answers import Answers
    from omniherd.emulator.talos.nodes import Node
    from omniherd.emulator.talos.running import Running

__all__ = ["Apid"]


class Apid:
    """What takes all calls of an endpoint.

    Args:
        members: Returns the machines, the one of the endpoint first.
        running: What goes on in them.
        answers: What they answer.
    """

    def __init__(self, members: Callable[[], list[Node]], running: Running, answers: Answers) -> None:
        self._members = members
        self._running = running
        self._answers = answers

    def takes(self, path: str, runtime: str | None) -> bool:  # noqa: ARG002 - nothing else is behind this endpoint
        """Tell that a call is for Talos: all are."""
        return True

    def check(self, call: Incoming) -> None:
        """Do nothing: there are no other calls."""

    async def serve(self, call: Incoming, data: bytes, send: Send) -> None:
        """Answer a call.

        Args:
            call: The call.
            data: Its request, encoded.
            send: What sends a message of the answer.

        Raises:
            StateError: As the endpoint or the machine says it.
        """
        roles = [role for role in RANKS if role in call.organizations]
        if not roles:
            raise StateError("PERMISSION_DENIED", "not authorized")
        route = self._route(call)
        self._running.check(route.node)
        await self._answers.answer(call, data, send, route, roles[-1])

    def _route(self, call: Incoming) -> Route:
        members = self._members()
        names = [name for value in metadata_values(call, "nodes") for name in value.split(",")]
        if names:
            return Route("", members[0], [_find(members, name) for name in names], several=True)
        single = metadata_values(call, "node")
        if len(single) > 1:
            raise StateError("INVALID_ARGUMENT", "node metadata must be single-valued")
        node = _find(members, single[0]) if single else members[0]
        return Route("", node, [node], several=False)


def _find(members: list[Node], name: str) -> Node:
    for node in members:
        if name in {node.address_in_cluster, node.name}:
            return node
    text = f"transport: Error while dialing: dial tcp {name}:50000: connect: no route to host"
    raise StateError("UNAVAILABLE", f'connection error: desc = "{text}"')
