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


def has_contents(info: TypeInfo | None, namespace: str) -> bool:
    """Tell whether a kind may be listed by the contents of a watch.

    Args:
        info: What is known of the type, None when nothing is.
        namespace: The namespace that is asked for.
    """
    return info is not None and info.ops is None and namespace == info.namespace and namespace in _NAMESPACES


@cache
def _events() -> type[Message]:
    """Return a message that reads a `WatchResponse` no deeper than its events, each resource left as bytes."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    field = FieldDescriptorProto
    file = FileDescriptorProto(name="contents.proto", package="contents", syntax="proto3")
    event = file.message_type.add(name="Event")
    event.field.add(name="resource", number=1, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    event.field.add(name="event_type", number=2, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    events = file.message_type.add(name="Events")
    events.field.add(
        name="event", number=1, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".contents.Event"
    )
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    made: type[Message] = GetMessageClass(pool.FindMessageTypeByName("contents.Events"))
    return made


class Contents:
    """The contents of a kind as they come in.

    Args:
        request: The list that is wanted.

    Attributes:
        found: The resources so far.
        complete: Whether that is all.
        broken: Whether the server gave up; a list must be asked for instead.
    """

    __slots__ = ("_decode", "_request", "_resource", "broken", "complete", "found")

    def __init__(self, request: cosi_resource.ListRequest) -> None:
        from omniherd._core.pool import message

        self._request = request
        self._decode = _events().FromString
        self._resource = message("cosi.resource.Resource").FromString
        self.found: list[Message] = []
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
        # Each resource is decoded by itself: as parts of one message they would keep all of it in memory, for as long
        # as a caller holds on to one of them.
        events: Any = self._decode(data)
        add, decode = self.found.append, self._resource
        for event in events.event:
            kind = event.event_type
            if kind == _CREATED:
                add(decode(event.resource))
            elif kind == _BOOTSTRAPPED:
                self.complete = True
                return
            elif kind == _ERRORED:
                self.broken = True
                return
