"""Calls to Talos machines through Omni, apart from their input and output.

Omni passes a call on when its metadata says `runtime: Talos` (in exactly these letters) and names a machine or a
cluster. `node` reaches one machine, which answers as if asked directly. `nodes` reaches several machines of one
cluster: each answers with `metadata.hostname`, which holds its address in Omni's network, and with `metadata.error`
where it failed, while the call as a whole succeeds. A machine that waits in maintenance mode can be had by `node` only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from omniherd._core.nodes import with_address
from omniherd._core.status import CODES, error_from_status
from omniherd.errors import ConfigError, InputError, NotFound, Unavailable
from omniherd.services import NodeReply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omniherd._core.nodes import Node
    from omniherd.errors import APIError

__all__ = [
    "PACKAGES",
    "Plan",
    "api_address",
    "direct_plans",
    "explain",
    "method_path",
    "plans",
    "replies_of",
    "reply_of",
    "sorts_by_node",
]

PACKAGES = ("machine", "storage", "time", "inspect", "cluster")
"""The packages of Talos's API that Omni passes on."""

_NO_ENDPOINT = re.compile(r'cluster ".*" endpoint not found')
_PORT = 50000
"""The port of Talos's API."""
_BY = "the endpoint"

_DIAL = re.compile(r"error while dialing: dial tcp \S+:50000|i/o timeout", re.IGNORECASE)
_ERROR = re.compile(r"rpc error: code = (?P<code>\w+) desc = (?P<text>.*)", re.DOTALL)

Asked = tuple[str, "Node | None"]


class Plan(NamedTuple):
    """One call: what to send, and who is meant.

    Attributes:
        metadata: The metadata.
        asked: The machines as the caller named them, with what is known of each; nobody where the server chooses.
        several: Whether the machines answer side by side, each naming itself.
        by: Who passes the call on.
    """

    metadata: list[tuple[str, str]]
    asked: list[Asked]
    several: bool
    by: str = "Omni"


def method_path(method: str) -> str:
    """Return the full path of a method: `Version`, `machine.MachineService/Version` or the path itself.

    Raises:
        InputError: Talos has no such method, several services have it, or it takes a stream of requests.
    """
    from omniherd.wire.calls import CALLS

    wanted = method.lstrip("/")
    own = [path for path in CALLS if path[1:].partition(".")[0] in PACKAGES]
    found = [path for path in own if path[1:] == wanted]
    found = found or [path for path in own if path.rpartition("/")[2] == wanted]
    if len(found) > 1:
        # Talos grew further services around the first one, whose methods are meant by their bare names.
        found = [path for path in found if path.startswith("/machine.MachineService/")] or found
    if len(found) != 1:
        raise InputError(
            f"Talos has no method {method!r}" if not found else f"{method!r} may be any of {', '.join(found)}",
            hint="write it as machine.MachineService/Version",
        )
    return found[0]


def sorts_by_node(path: str) -> bool:
    """Whether a method's answer says which machine it is from, so that several can be asked at once."""
    from omniherd._core.pool import descriptor
    from omniherd.wire.calls import CALLS

    call = CALLS[path]
    fields = descriptor(call.response).fields_by_name
    return ("metadata" if call.server_stream else "messages") in fields


def plans(cluster: str | None, asked: Sequence[Asked], *, together: bool) -> list[Plan]:
    """Return the calls that reach some machines.

    Args:
        cluster: The cluster, where it was given.
        asked: The machines; nobody for one that the server chooses.
        together: Whether the method can be asked of several machines at once.

    Raises:
        InputError: Neither a cluster nor a machine is given.
    """
    first = [("runtime", "Talos")]
    if not asked:
        if not cluster:
            raise InputError("name a cluster or a machine", hint="omni.talos('lab') or omni.talos(nodes='machine')")
        return [Plan([*first, ("cluster", cluster)], [], several=False)]
    groups: dict[str, list[Asked]] = {}
    alone: list[Asked] = []
    for name, node in asked:
        home = cluster or (node.cluster if node is not None else "")
        if home and together:
            groups.setdefault(home, []).append((name, node))
        else:
            alone.append((name, node))
    made: list[Plan] = []
    for home, members in groups.items():
        if len(members) == 1:
            alone.extend(members)
            continue
        metadata = [*first, ("cluster", home), *(("nodes", _address(*member)) for member in members)]
        made.append(Plan(metadata, members, several=True))
    for name, node in alone:
        home = cluster or (node.cluster if node is not None else "")
        metadata = [*first, *([("cluster", home)] if home else []), ("node", _address(name, node))]
        made.append(Plan(metadata, [(name, node)], several=False))
    return made


def direct_plans(nodes: Sequence[str], *, together: bool) -> list[Plan]:
    """Return the calls that reach some nodes of the cluster whose API is spoken with directly.

    Args:
        nodes: The nodes' addresses; none for the one that is connected to.
        together: Whether the method can be asked of several at once.
    """
    if not nodes:
        return [Plan([], [], several=False, by=_BY)]
    if together and len(nodes) > 1:
        return [Plan([("nodes", node) for node in nodes], [(node, None) for node in nodes], several=True, by=_BY)]
    return [Plan([("node", node)], [(node, None)], several=False, by=_BY) for node in nodes]


def api_address(endpoint: str) -> tuple[str, int]:
    """Return the host and port of an endpoint of a talosconfig: `10.0.0.2`, `cp:50001`, `[fd00::2]:50000` or a URL.

    Raises:
        ConfigError: It is none.

    Example:
        >>> api_address("10.0.0.2")
        ('10.0.0.2', 50000)
    """
    address = endpoint if "://" in endpoint else f"//{endpoint}"
    if endpoint.count(":") > 1 and "[" not in endpoint and "://" not in endpoint:
        address = f"//[{endpoint}]"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not host.isprintable() or " " in host:
        raise ConfigError(f"{endpoint!r} is no endpoint", hint="write it as 10.0.0.2, or with its port: 10.0.0.2:50000")
    return host, _PORT if port is None else port


def _address(name: str, node: Node | None) -> str:
    return name if node is None else node.id


def replies_of(plan: Plan, answer: Any, endpoint: str) -> list[NodeReply[Any]]:
    """Return the replies in a unary answer, in the order in which the machines were named."""
    if "messages" not in answer.DESCRIPTOR.fields_by_name:
        return [NodeReply(plan.asked[0][0] if plan.asked else "", answer)]
    found = [reply_of(plan, message, endpoint) for message in answer.messages]
    order = {name: number for number, (name, _) in enumerate(plan.asked)}
    return sorted(found, key=lambda reply: order.get(reply.node, len(order)))


def reply_of(plan: Plan, message: Any, endpoint: str, convert: Callable[[Any], Any] | None = None) -> NodeReply[Any]:
    """Return one machine's reply.

    Args:
        plan: The call.
        message: What it answered: one of `messages`, or a message of a stream.
        endpoint: The server, for errors.
        convert: What the caller wants of the message.
    """
    name = plan.asked[0][0] if plan.asked and not plan.several else ""
    if "metadata" in message.DESCRIPTOR.fields_by_name and message.HasField("metadata"):
        head = message.metadata
        if head.hostname and plan.several:
            name = with_address(head.hostname, plan.asked)
        if head.error or head.status.code:
            return NodeReply(name, None, _error(head, endpoint, plan.by))
    return NodeReply(name, message if convert is None else convert(message))


def explain(error: APIError, by: str = "Omni") -> APIError:
    """Return a failed call's error as it is meant: that a machine cannot be reached is not the way to Omni breaking.

    Args:
        error: The error.
        by: Who passes calls on to machines.
    """
    text = str(error.details.get("text", ""))
    if not isinstance(error, Unavailable) or not text:
        return error
    if _NO_ENDPOINT.fullmatch(text):
        return NotFound(
            text, resource=error.resource, hint="there is no such cluster, or it has no control plane that is up"
        )
    if _DIAL.search(text):
        return Unavailable(
            f"{by} cannot reach the machine: {text}",
            resource=error.resource,
            details={"text": text},
            retryable=True,
            hint="it is away, or it reboots; try again in a while",
        )
    return error


def _error(head: Any, endpoint: str, by: str) -> APIError:
    number = int(head.status.code)
    text = str(head.status.message)
    if number:
        name = CODES[number] if 0 < number < len(CODES) else "UNKNOWN"
        return explain(error_from_status(name, text or head.error, endpoint=endpoint), by)
    if parts := _ERROR.fullmatch(head.error):
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", parts["code"]).upper()
        name = "CANCELLED" if name == "CANCELED" else name
        return explain(error_from_status(name, parts["text"], endpoint=endpoint), by)
    return error_from_status("UNKNOWN", head.error, endpoint=endpoint)
