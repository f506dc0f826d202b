"""The resources of Talos on a machine, made from what the store of Omni says about it."""

from __future__ import annotations

import ipaddress
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import Event, Stored, length_delimited
from omniherd.emulator.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from omniherd.emulator.store import Clock
    from omniherd.emulator.talos.nodes import Node, Nodes
    from omniherd.emulator.talos.running import Running

__all__ = ["SENSITIVE", "NodeResources", "made", "number_field", "text_field"]

SENSITIVE = "MachineConfigs.config.talos.dev"
"""What a Talos shows to its own administrators only."""

_O = ".omni.sidero.dev"
_SOURCES = frozenset({"MachineStatuses" + _O, "ClusterMachineIdentities" + _O, "ClusterMachines" + _O})
_NAMESPACES = {
    "cluster": "Cluster configuration and discovery resources.",
    "config": "Talos node configuration.",
    "hardware": "Hardware resources.",
    "k8s": "Kubernetes all node types resources.",
    "meta": "Metadata resources.",
    "network": "Networking resources.",
    "runtime": "Talos Runtime resources.",
    "v1alpha1": "Talos v1alpha1 subsystems glue resources.",
}
_PLACES = {
    "APIServerConfigs.kubernetes.talos.dev": "controlplane",
    "ControllerManagerConfigs.kubernetes.talos.dev": "controlplane",
    "ExtensionStatuses.runtime.talos.dev": "runtime",
    "HostnameStatuses.net.talos.dev": "network",
    "Identities.cluster.talos.dev": "cluster",
    "Infos.cluster.talos.dev": "cluster",
    "KubeletConfigs.kubernetes.talos.dev": "k8s",
    "MachineConfigs.config.talos.dev": "config",
    "MachineStatuses.runtime.talos.dev": "runtime",
    "MachineTypes.config.talos.dev": "config",
    "Members.cluster.talos.dev": "cluster",
    "Namespaces.meta.cosi.dev": "meta",
    "NodeAddresses.net.talos.dev": "network",
    "Nodenames.kubernetes.talos.dev": "k8s",
    "SchedulerConfigs.kubernetes.talos.dev": "controlplane",
    "SystemInformations.hardware.talos.dev": "hardware",
}
_MAINTENANCE, _RUNNING_STAGE = 3, 4
_CONTROL_PLANE, _WORKER = 2, 3
_LOW, _MORE = 0x7F, 0x80  # of a byte of a number: what it holds, and that another one follows


class NodeResources:
    """The stores of the machines, made and brought up to date when they are asked for.

    One that is watched follows every change at once.

    Args:
        store: The state of Omni.
        nodes: The machines.
        running: What goes on in them.
        more: Returns what a machine has besides.
        discovery: Whether they know of each other.
    """

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        running: Running,
        more: Callable[[Node], Iterable[Stored]] = lambda _: (),
        *,
        discovery: bool = True,
    ) -> None:
        self._discovery = discovery
        self._more = more
        self._nodes = nodes
        self._running = running
        self._stores: dict[str, Store] = {}
        self._outdated: set[str] = set()
        self._watched: Counter[str] = Counter()
        self._lock = store.lock
        # Not as an observer, which does not see a state that is put in place as a whole.
        store.keep(self._see)

    def store(self, node: Node) -> Store:
        """Return the resources of a machine."""
        with self._lock:
            found = self._stores.get(node.id)
            if found is None:
                found = self._stores[node.id] = Store(_from(node, self._running.clock))
                self._outdated.add(node.id)
            if node.id in self._outdated:
                self._refresh(node, self._nodes.members(node.cluster))
            return found

    @contextmanager
    def watched(self, node: Node) -> Generator[Store]:
        """Return the resources of a machine, for a time in which they follow every change."""
        with self._lock:
            store = self.store(node)
            self._watched[node.id] += 1
        try:
            yield store
        finally:
            with self._lock:
                self._watched[node.id] -= 1

    def outdate(self, machine: str) -> None:
        """Take note that what a machine has besides has changed.

        Args:
            machine: Its id.
        """
        with self._lock:
            self._outdated.add(machine)
            node = self._nodes.node(machine) if self._watched[machine] else None
            if node is not None:
                self._refresh(node, self._nodes.members(node.cluster))

    def _see(self, event: Event) -> None:
        changed = event.resource
        if changed is None or changed.type not in _SOURCES or not self._stores:
            return
        self._outdated.update(self._stores)
        members: dict[str, list[Node]] = {}
        for id_ in [id_ for id_, count in self._watched.items() if count]:
            node = self._nodes.node(id_)
            if node is None:
                continue
            if node.cluster not in members:
                members[node.cluster] = self._nodes.members(node.cluster)
            self._refresh(node, members[node.cluster])

    def _refresh(self, node: Node, members: list[Node]) -> None:
        self._outdated.discard(node.id)
        store = self._stores[node.id]
        every = (*_resources(node, members if self._discovery else []), *self._more(node))
        wanted = {(one.namespace, one.type, one.id): one for one in every}
        with store.lock:
            for namespace, kind in store.kinds():
                for old in store.list(namespace, kind):
                    if (namespace, kind, old.id) not in wanted:
                        store.remove(namespace, kind, old.id)
            for key, one in wanted.items():
                current = store.find(*key)
                if current is None:
                    store.create(one.replace(updated=store.now()), one.owner)
                elif (current.spec, current.yaml) != (one.spec, one.yaml):
                    store.modify(*key, spec=one.spec, yaml=one.yaml)


def _from(node: Node, clock: Clock) -> Clock:
    """Return the clock of a machine, which did not run before the machine."""
    return lambda: max(clock(), node.joined * 1_000_000_000)


def _resources(node: Node, members: list[Node]) -> Iterator[Stored]:
    yield from _of_machine(node)
    for namespace, text in sorted(_NAMESPACES.items()):
        yield made("Namespaces.meta.cosi.dev", namespace, "meta", {"description": text}, text_field(1, text))
    if not node.cluster:
        return
    yield made(
        "Identities.cluster.talos.dev",
        "local",
        "cluster.NodeIdentityController",
        {"nodeId": node.identity},
        text_field(1, node.identity),
    )
    yield made(
        "Nodenames.kubernetes.talos.dev",
        "nodename",
        "k8s.NodenameController",
        {"nodename": node.name, "hostnameVersion": "2", "skipNodeRegistration": False},
        text_field(1, node.name) + text_field(2, "2"),
    )
    for member in members:
        yield _member(member)


def _of_machine(node: Node) -> Iterator[Stored]:
    stage, number = ("running", _RUNNING_STAGE) if node.cluster else ("maintenance", _MAINTENANCE)
    yield made(
        "MachineStatuses.runtime.talos.dev",
        "machine",
        "runtime.MachineStatusController",
        {"stage": stage, "status": {"ready": True, "unmetConditions": []}},
        number_field(1, number) + length_delimited(2, number_field(1, 1)),
    )
    manufacturer, product = "qemu", "Emulated machine"
    yield made(
        "SystemInformations.hardware.talos.dev",
        "systeminformation",
        "",
        {"manufacturer": manufacturer, "productName": product, "uuid": node.id},
        text_field(1, manufacturer) + text_field(2, product) + text_field(5, node.id),
    )
    hostname = node.status.network.hostname or node.name
    yield made(
        "HostnameStatuses.net.talos.dev",
        "hostname",
        "network.HostnameSpecController",
        {"hostname": hostname, "domainname": node.status.network.domainname},
        text_field(1, hostname) + text_field(2, node.status.network.domainname),
    )
    kind, type_number = ("controlplane", _CONTROL_PLANE) if node.control_plane else ("worker", _WORKER)
    if node.cluster:
        yield made(
            "MachineTypes.config.talos.dev",
            "machine-type",
            "config.MachineTypeController",
            kind,
            number_field(1, type_number),
        )
    outside = [*node.status.network.addresses]
    inside = f"{node.address}/64" if ":" in node.address else f"{node.address}/32"
    every = sorted(outside) if inside in outside or not node.address else [*sorted(outside), inside]
    for id_, addresses in (("current", every), ("current-no-k8s", every), ("default", every[-1:])):
        yield made(
            "NodeAddresses.net.talos.dev",
            id_,
            "network.NodeAddressController",
            {"addresses": addresses, "sortAlgorithm": "v1"},
            b"".join(length_delimited(1, _prefix(address)) for address in addresses),
        )


def _member(node: Node) -> Stored:
    kind, number = ("controlplane", _CONTROL_PLANE) if node.control_plane else ("worker", _WORKER)
    system = f"Talos ({node.version})"
    address = ipaddress.ip_address(node.address_in_cluster)
    return made(
        "Members.cluster.talos.dev",
        node.name,
        "cluster.MemberController",
        {
            "addresses": [str(address)],
            "hostname": node.name,
            "machineType": kind,
            "nodeId": node.identity,
            "operatingSystem": system,
        },
        text_field(1, node.identity)
        + length_delimited(2, length_delimited(1, address.packed))
        + text_field(3, node.name)
        + number_field(4, number)
        + text_field(5, system),
    )


def made(kind: str, id_: str, owner: str, shown: Any, spec: bytes) -> Stored:
    """Return a resource of Talos.

    Args:
        kind: Its type.
        id_: Its id.
        owner: Its owner, empty for none.
        shown: Its spec as it is shown.
        spec: The same, encoded.
    """
    from omniherd.yamlform.emit import dump

    plain = isinstance(shown, str) and "\n" not in shown
    return Stored(
        _PLACES[kind], kind, id_, owner=owner, spec=spec, yaml=f"{shown}\n" if plain else dump(shown, sort=False)
    )


def text_field(field: int, value: str) -> bytes:
    """Return a field of text, encoded; nothing for an empty one."""
    return length_delimited(field, value.encode()) if value else b""


def number_field(field: int, value: int) -> bytes:
    """Return a field of a number, encoded; nothing for zero."""
    groups = bytearray()
    while value > _LOW:
        groups.append(value & _LOW | _MORE)
        value >>= 7
    return bytes((field << 3, *groups, value)) if groups or value else b""


def _prefix(text: str) -> bytes:
    network = ipaddress.ip_interface(text)
    return length_delimited(1, network.ip.packed) + number_field(2, network.network.prefixlen)
