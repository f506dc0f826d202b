"""Which machine is meant by an id, a name or an address. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from omniherd.errors import InputError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from omniherd.resource import Resource

__all__ = ["CLUSTER_LABEL", "Node", "is_machine_id", "known_nodes", "node_names", "pick", "with_address"]

CLUSTER_LABEL = "omni.sidero.dev/cluster"

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Node(NamedTuple):
    """A machine and the names it goes by.

    Attributes:
        id: The machine's id, as everywhere in Omni.
        name: Its name in Kubernetes, its hostname where it has none yet, or an empty text.
        cluster: The cluster it belongs to, or an empty text.
        address: Its address in Omni's own network; replies of several machines are told apart by it.
        aliases: Everything else it answers to: hostname, addresses, serial numbers.
        serials: The serial numbers of its disks, the only ones that Omni knows.
    """

    id: str
    name: str
    cluster: str
    address: str
    aliases: frozenset[str]
    serials: tuple[str, ...] = ()


def is_machine_id(text: str) -> bool:
    """Whether a text has the form of a machine's id."""
    return _ID.fullmatch(text) is not None


def node_names(nodes: str | Iterable[str]) -> list[str]:
    """Return the machines that a caller names, each once.

    Raises:
        InputError: One of them is empty, or holds a comma: the server would split it.
    """
    names = [nodes] if isinstance(nodes, str) else list(dict.fromkeys(nodes))
    for name in names:
        if not name or "," in name or not name.isascii() or not name.isprintable():
            raise InputError(f"{name!r} names no machine", hint="give ids, names or addresses, one in each text")
    return names


def known_nodes(statuses: Iterable[Resource[Any]], identities: Iterable[Resource[Any]]) -> list[Node]:
    """Return the machines that Omni knows.

    Args:
        statuses: MachineStatuses.
        identities: ClusterMachineIdentities: the names in Kubernetes, of machines in clusters.
    """
    named = {identity.id: identity.spec for identity in identities}
    found: list[Node] = []
    for status in statuses:
        spec, identity = status.spec, named.get(status.id)
        hostname = spec.network.hostname
        aliases = {hostname, *(address.partition("/")[0] for address in spec.network.addresses)}
        if spec.network.domainname and hostname:
            aliases.add(f"{hostname}.{spec.network.domainname}")
        name = hostname
        if identity is not None:
            name = identity.nodename or hostname
            aliases.update(identity.node_ips)
        address = spec.management_address
        serials = tuple(sorted({disk.serial for disk in spec.hardware.blockdevices if disk.serial}))
        aliases |= {name, address, *serials, *(link.hardware_address for link in spec.network.network_links)}
        found.append(Node(status.id, name, spec.cluster, address, frozenset(aliases - {""}), serials))
    return found


def pick(name: str, known: Sequence[Node], *, cluster: str | None = None) -> Node:
    """Return the machine that a name means.

    Args:
        name: An id, a name, an address, or a disk's serial number.
        known: All machines.
        cluster: Where to look; a machine of another cluster is not it.

    Raises:
        NotFound: There is none.
        InputError: There are several.
    """
    inside = [node for node in known if not cluster or node.cluster == cluster]
    matching = [node for node in inside if node.id == name]
    matching = matching or [node for node in inside if node.name == name]
    matching = matching or [node for node in inside if name in node.aliases]
    if len(matching) > 1:
        raise InputError(
            f"{name!r} may be any of {len(matching)} machines: {', '.join(map(_candidate, matching))}",
            hint="give the machine's id, or the cluster it belongs to",
        )
    if not matching:
        where = f" in cluster {cluster!r}" if cluster else ""
        raise NotFound(f"no machine goes by {name!r}{where}")
    return matching[0]


def _candidate(node: Node) -> str:
    told = " in ".join(part for part in (node.name, node.cluster) if part)
    return f"{node.id} ({told})" if told else node.id


def with_address(address: str, asked: Sequence[tuple[str, Node | None]]) -> str:
    """Return what the caller called the machine that has an address, the address itself where nobody did.

    Args:
        address: What a reply names its machine by.
        asked: The names that were given, and the machines they mean as far as that is known.
    """
    for name, node in asked:
        if address == name or (node is not None and address in {node.address, node.name, *node.aliases}):
            return name
    return address
