"""A whole kind in one message: what an aggregated watch begins with is the answer of a list, several times faster.

A list comes as one message for each resource, which costs both sides more than the resources themselves. What a watch
begins with is decided by the same rules: the server checks both verbs alike (`filterAccess` asks for the same role),
reads from the same state, applies the same queries and sorts by id.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from omniherd._core.resource_table import TypeInfo
    from omniherd.wire import cosi_resource

__all__ = ["Contents", "has_contents"]

# Others are computed for each call, or lie behind rules of their own (those of infra providers).
_NAMESPACES = frozenset(("default", "ephemeral", "meta", "metrics"))
_CREATED, _BOOTSTRAPPED, _ERRORED = 0, 3, 4
# Of descriptors: types of fields, and the label of lists.
_INT32, _MESSAGE, _BYTES, _REPEATED = 5, 11, 12, 3


def has_contents(info: TypeInfo | None, namespace: str) -> bool:
    """Tell whether a kind may be listed by the contents of a watch.

    Args:
        info: What is known of the type, None when nothing is.
        namespace: The namespace that is asked for.
    """
    return info is not None and info.ops is None and namespace == info.namespace and namespace in _NAMESPACES


def _part(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2, len(data))) + data


def _field(name: bytes, number: int, kind: int, *, label: int = 1, message: bytes = b"") -> bytes:
    numbers = bytes((3 << 3, number, 4 << 3, label, 5 << 3, kind))
    return _part(2, _part(1, name) + numbers + (_part(6, message) if message else b""))


@cache
def _events() -> type[Message]:
    """Return a message that reads a `WatchResponse` no deeper than its events, each resource left as bytes."""
    from omniherd._core.pool import implementation

    # A FileDescriptorProto, encoded by hand: the module that knows it takes longer to load than a list to come.
    event = _part(1, b"Event") + _field(b"resource", 1, _BYTES) + _field(b"event_type", 2, _INT32)
    events = _part(1, b"Events") + _field(b"event", 1, _MESSAGE, label=_REPEATED, message=b".contents.Event")
    file = (
        _part(1, b"contents.proto") + _part(2, b"contents") + _part(4, event) + _part(4, events) + _part(12, b"proto3")
    )
    make_pool, make_class = implementation()
    pool = make_pool()
    pool.AddSerializedFile(file + _part(12, b"proto3"))
    return make_class(pool.FindMessageTypeByName("contents.Events"))


class Contents:
    """The contents of a kind as they come in.

    Args:
        request: The list that is wanted.

    Attributes:
        found: The resources so far, encoded.
        complete: Whether that is all.
        broken: Whether the server gave up; a list must be asked for instead.
    """

    __slots__ = ("_decode", "_request", "broken", "complete", "found")

    def __init__(self, request: cosi_resource.ListRequest) -> None:
        self._request = request
        self._decode = _events().FromString
        self.found: list[bytes] = []
        self.complete = False
        self.broken = False

    def request(self) -> bytes:
        """Return the encoded request of the watch."""
        from omniherd.wire import cosi_resource

        asked = self._request.options
        options = cosi_resource.WatchOptions(bootstrap_contents=True, aggregated=True)
        options.label_query.extend(asked.label_query)
        if asked.HasField("id_query"):
            options.id_query.CopyFrom(asked.id_query)
        watch = cosi_resource.WatchRequest(
            namespace=self._request.namespace, type=self._request.type, options=options, api_version=1
        )
        return watch.SerializeToString()

    def feed(self, data: bytes) -> None:
        """Take a message of the watch."""
        # Each resource stays bytes of its own: as parts of one message they would keep all of it in memory, for as
        # long as a caller holds on to one of them.
        events: Any = self._decode(data)
        add = self.found.append
        for event in events.event:
            kind = event.event_type
            if kind == _CREATED:
                add(event.resource)
            elif kind == _BOOTSTRAPPED:
                self.complete = True
                return
            elif kind == _ERRORED:
                self.broken = True
                return
