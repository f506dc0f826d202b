"""How Omni lets calls through to Talos: who is meant, who may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import acting, insufficient, rank
from omniherd.emulator.records import StateError
from omniherd.emulator.talos.answers import Route, metadata_values
from omniherd.emulator.talos.roles import closed_to_all, role_at_talos
from omniherd.wire.calls import CALLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.policies import Policies
    from omniherd.emulator.server import Incoming, Send
    from omniherd.emulator.talos.answers import Answers
    from omniherd.emulator.talos.nodes import Node, Nodes
    from omniherd.emulator.talos.running import Running

__all__ = ["Proxy"]

_MACHINE = "/machine.MachineService/"
_OWN_PACKAGES = ("auth.", "management.", "oidc.", "omni.")


class Proxy:
    """What takes the calls whose metadata say that they are for Talos.

    Args:
        nodes: The machines.
        running: What goes on in them.
        policies: Roles that an access policy gives on clusters.
        answers: What the machines answer.
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
        answers: Answers,
        note: Callable[[Incoming, str, str], None],
    ) -> None:
        self._nodes = nodes
        self._running = running
        self._policies = policies
        self._answers = answers
        self._note = note
        self.licence: Callable[[str, Any], None] | None = None

    def answered(self) -> frozenset[str]:
        """Return the paths that machines answer; some of them with a refusal, whoever calls."""
        refused = (path for path in CALLS if path.startswith(_MACHINE) and closed_to_all(path))
        return frozenset((*self._answers.answered(), *refused))

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
        self._note(
            call, route.cluster, ",".join(sorted(metadata_values(call, "nodes")) or metadata_values(call, "node"))
        )
        may_change = rank(acts.role) >= rank("Operator")
        if not may_change and not route.cluster:
            raise StateError("PERMISSION_DENIED", "permission denied")
        if rank(acts.role) < rank("Reader"):
            raise StateError("PERMISSION_DENIED", insufficient(acts.role))
        role = role_at_talos(call.path, route.named, may_change=may_change)
        self._running.check(route.node)
        await self._answers.answer(call, data, send, route, role)

    # --- who is meant -----------------------------------------------------------------------------------------------

    def _named(self, call: Incoming) -> list[Node]:
        names = metadata_values(call, "node")[:1]
        for value in metadata_values(call, "nodes"):
            names.extend(value.split(","))
        cluster = _cluster(call)
        found = [self._nodes.resolve(cluster, name) for name in names]
        for node in found[1:]:
            if node.cluster != found[0].cluster:
                clusters = f'found clusters "{found[0].cluster}" and "{node.cluster}"'
                raise StateError("INVALID_ARGUMENT", f"all nodes should be in the same cluster, {clusters}")
        return found

    def _route(self, call: Incoming) -> Route:
        try:
            named = self._named(call)
        except StateError as error:
            raise StateError(error.code, f"resolve nodes: {error.message}") from None
        cluster, several = _cluster(call), bool(metadata_values(call, "nodes"))
        if not named:
            if not cluster:
                raise StateError("INVALID_ARGUMENT", "at least one of cluster, node, or nodes must be specified")
            return Route(cluster, self._control_plane(cluster), [], several=False)
        cluster = cluster or named[0].cluster
        if several:
            return Route(cluster, self._control_plane(cluster), named, several=True)
        return Route(cluster, named[0], named, several=False)

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


def _cluster(call: Incoming) -> str:
    return call.header("cluster") or call.header("context") or ""
