"""The emulated machines as a whole: what they are, what goes on in them, and the way to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd.emulator.talos.answers import Answers
from omniherd.emulator.talos.health import Health
from omniherd.emulator.talos.machine_api import MachineAPI
from omniherd.emulator.talos.machine_log import MachineLog
from omniherd.emulator.talos.node_resources import NodeResources
from omniherd.emulator.talos.nodes import Nodes
from omniherd.emulator.talos.proxy import Proxy
from omniherd.emulator.talos.running import Running
from omniherd.emulator.talos.streams import Streams

if TYPE_CHECKING:
    from omniherd.emulator.policies import Policies
    from omniherd.emulator.services.audit_log import AuditLog
    from omniherd.emulator.store import Store

__all__ = ["Machines"]


class Machines:
    """The machines.

    Args:
        store: The state that tells which there are.
        policies: Roles that an access policy gives on clusters.
        audit: Where calls to Talos are noted.

    Attributes:
        nodes: Which there are.
        log: What they write.
        running: What goes on in them.
        api: What they answer.
        streams: What they answer with a stream.
        resources: Their resources.
        proxy: The way to them.
    """

    def __init__(self, store: Store, policies: Policies, audit: AuditLog) -> None:
        self.nodes = Nodes(store)
        self.log = MachineLog(store)
        self.running = Running(store.clock, self.log)
        self.api = MachineAPI(self.nodes, self.running)
        self.streams = Streams(self.running, self.api, Health(self.nodes, self.running))
        self.resources = NodeResources(store, self.nodes, self.running)
        self.proxy = Proxy(
            self.nodes,
            self.running,
            policies,
            answers=Answers(self.running, self.api.unary(), self.streams, self.resources),
            note=lambda call, cluster, machines: audit.talos_access(call, call.path, cluster, machines),
        )
