"""Resources as the emulator keeps them, the events of their history, and the refusals of the state."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.wire import cosi_resource

__all__ = [
    "BOOTSTRAPPED",
    "CREATED",
    "DESTROYED",
    "ERRORED",
    "NOOP",
    "RUNNING",
    "TEARING_DOWN",
    "UNDEFINED",
    "UPDATED",
    "Event",
    "StateError",
    "Stored",
    "describe",
    "length_delimited",
    "missing",
    "shown_namespace",
]


RUNNING = "running"
TEARING_DOWN = "tearingDown"
UNDEFINED = "undefined"

CREATED, UPDATED, DESTROYED, BOOTSTRAPPED, ERRORED, NOOP = range(6)


class StateError(Exception):
    """A refusal of the state, with the name of the gRPC code that it travels under.

    Args:
        code: Name of a gRPC status code, `NOT_FOUND` for example.
        message: The text for the caller.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def describe(type_name: str, namespace: str, id_: str, version: str = UNDEFINED) -> str:
    """Return the name of a resource as COSI writes it in texts: `Clusters.omni.sidero.dev(default/lab@3)`."""
    return f"{type_name}({shown_namespace(namespace)}/{id_}@{version})"


def shown_namespace(namespace: str) -> str:
    """Return the name that texts give a namespace: that of providers' ephemeral resources is another's alias."""
    return "ephemeral" if namespace == "infra-provider-ephemeral" else namespace


def missing(namespace: str, type_name: str, id_: str) -> StateError:
    """Return the error that tells that a resource is not there."""
    return StateError("NOT_FOUND", f"resource {describe(type_name, namespace, id_)} doesn't exist")


@dataclass(slots=True, eq=False)
class Stored:
    """One version of a resource. It never changes: an update makes another one.

    Attributes:
        namespace: The namespace.
        type: The full type name.
        id: The id.
        version: The version as text, `undefined` on tombstones and some virtual resources.
        owner: The owner, empty for none.
        phase: `running` or `tearingDown`.
        created: Seconds and nanoseconds since 1970.
        updated: The same for the last change.
        finalizers: Who still holds the resource.
        labels: Labels.
        annotations: Annotations.
        spec: Encoded spec message.
        yaml: The spec in Omni's YAML form; None until somebody needs it.
    """

    namespace: str
    type: str
    id: str
    version: str = UNDEFINED
    owner: str = ""
    phase: str = RUNNING
    created: tuple[int, int] = (0, 0)
    updated: tuple[int, int] = (0, 0)
    finalizers: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    spec: bytes = b""
    yaml: str | None = None
    _wire: bytes | None = None

    def __str__(self) -> str:
        return describe(self.type, self.namespace, self.id, self.version)

    @classmethod
    def of(cls, proto: cosi_resource.Resource) -> Stored:
        """Return a resource as it came over the wire: version, times, owner and all."""
        metadata = proto.metadata
        return cls(
            metadata.namespace,
            metadata.type,
            metadata.id,
            metadata.version,
            metadata.owner,
            metadata.phase,
            (metadata.created.seconds, metadata.created.nanos),
            (metadata.updated.seconds, metadata.updated.nanos),
            tuple(metadata.finalizers),
            dict(metadata.labels),
            dict(metadata.annotations),
            proto.spec.proto_spec,
            proto.spec.yaml_spec,
        )

    def replace(self, **changes: Any) -> Stored:
        """Return another version with some fields changed."""
        made = Stored(*_values(self))
        if "spec" in changes and "yaml" not in changes:
            made.yaml = None
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    def to_proto(self) -> cosi_resource.Resource:
        """Return a fresh message of the resource, both forms of the spec filled."""
        proto: Any = message("cosi.resource.Resource")()
        metadata = proto.metadata
        metadata.namespace = self.namespace
        metadata.type = self.type
        metadata.id = self.id
        metadata.version = self.version
        metadata.owner = self.owner
        metadata.phase = self.phase
        metadata.created.SetInParent()
        metadata.created.seconds, metadata.created.nanos = self.created
        metadata.updated.SetInParent()
        metadata.updated.seconds, metadata.updated.nanos = self.updated
        if self.finalizers:
            metadata.finalizers.extend(self.finalizers)
        if self.labels:
            metadata.labels.update(self.labels)
        if self.annotations:
            metadata.annotations.update(self.annotations)
        proto.spec.SetInParent()
        proto.spec.proto_spec = self.spec
        if self.yaml is None:
            from omniherd.emulator.forms import yaml_of

            self.yaml = yaml_of(self.type, self.spec)
        proto.spec.yaml_spec = self.yaml
        return proto  # type: ignore[no-any-return]

    @property
    def wire(self) -> bytes:
        """The encoded `cosi.resource.Resource`; made once."""
        found = self._wire
        if found is None:
            found = self._wire = self.to_proto().SerializeToString()
        return found

    def decode(self) -> Any:
        """Return the spec as a fresh message of its type.

        Raises:
            KeyError: The type has no spec message.
        """
        from omniherd.emulator.forms import decode

        return decode(self.type, self.spec)


_values = operator.attrgetter(*(name for name in Stored.__dataclass_fields__ if name != "_wire"))


@dataclass(slots=True, eq=False)
class Event:
    """A change of a resource, or a mark in the stream of a watch.

    Attributes:
        kind: Number of `cosi.resource.EventType`.
        resource: The resource after the change, or before it for DESTROYED; None for ERRORED.
        old: The resource before an update.
        bookmark: Where in the history the event stands, for watches that start from it.
        error: The text of ERRORED.
    """

    kind: int
    resource: Stored | None
    old: Stored | None = None
    bookmark: bytes | None = None
    error: str | None = None
    _wire: bytes | None = None

    @property
    def wire(self) -> bytes:
        """The encoded `cosi.resource.Event`; made once, shared by all watchers."""
        found = self._wire
        if found is None:
            parts: list[bytes] = []
            if self.resource is not None:
                parts.append(length_delimited(1, self.resource.wire))
            if self.kind:
                parts.append(bytes((0x10, self.kind)))
            if self.old is not None:
                parts.append(length_delimited(3, self.old.wire))
            if self.error is not None:
                parts.append(length_delimited(4, self.error.encode()))
            if self.bookmark is not None:
                parts.append(length_delimited(5, self.bookmark))
            found = self._wire = b"".join(parts)
        return found


def length_delimited(number: int, data: bytes) -> bytes:
    """Return data as a length-delimited protobuf field with a number below 16."""
    size = len(data)
    head = bytearray((number << 3 | 2,))
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + data
