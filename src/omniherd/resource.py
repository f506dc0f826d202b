"""Resources: metadata, a typed spec, and the message of `cosi.resource` that holds both.

A `Resource` keeps the message it came in and decodes nothing until it is asked: listing ten thousand resources to read
their ids never touches a spec. What the server sent and omniherd does not know (newer fields) goes back as it came.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast, overload

from omniherd._core.decoding import decode
from omniherd._core.resource_table import TABLE, TypeInfo
from omniherd._core.shapes import is_mapping
from omniherd._core.texts import Texts
from omniherd.errors import AmbiguousType, InputError, UnknownType

if TYPE_CHECKING:
    from typing import Self

    from google.protobuf.message import Message

    from omniherd.wire import cosi_resource

__all__ = ["Metadata", "Phase", "Resource", "TypeInfo", "class_for_type", "resource_class"]

SpecT = TypeVar("SpecT")
ResourceT = TypeVar("ResourceT", bound="Resource[Any]")

# Go's zero time, 0001-01-01T00:00:00Z: what official clients send in `created` and `updated` of a new resource.
_ZERO_SECONDS = -62135596800
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNDEFINED = "undefined"
_DECODING = threading.Lock()


class Phase(StrEnum):
    """Where a resource stands in its life (`Metadata.phase` of COSI)."""

    RUNNING = "running"
    TEARING_DOWN = "tearingDown"


class Metadata:
    """What is known of a resource besides its spec, as a live view on a `cosi.resource.Metadata` message.

    Attributes:
        proto: The message behind the view; changes on either side show on the other.
    """

    __slots__ = ("proto",)

    def __init__(self, proto: cosi_resource.Metadata) -> None:
        self.proto = proto

    @property
    def namespace(self) -> str:
        """The namespace, `default` for most types."""
        return self.proto.namespace

    @namespace.setter
    def namespace(self, value: str) -> None:
        self.proto.namespace = value

    @property
    def type(self) -> str:
        """The full type name, `Clusters.omni.sidero.dev`."""
        return self.proto.type

    @property
    def id(self) -> str:
        """The id, unique for a type in a namespace."""
        return self.proto.id

    @id.setter
    def id(self, value: str) -> None:
        self.proto.id = value

    @property
    def version(self) -> int | None:
        """The version, counted up by each write; None while it is undefined (new and virtual resources)."""
        text = self.proto.version
        return int(text) if text.isdigit() else None

    @version.setter
    def version(self, value: int | None) -> None:
        self.proto.version = _UNDEFINED if value is None else str(value)

    @property
    def owner(self) -> str:
        """The controller that owns the resource, empty when nobody does."""
        return self.proto.owner

    @owner.setter
    def owner(self, value: str) -> None:
        self.proto.owner = value

    @property
    def phase(self) -> Phase:
        """The phase: running or tearing down."""
        return Phase.TEARING_DOWN if self.proto.phase == Phase.TEARING_DOWN else Phase.RUNNING

    @phase.setter
    def phase(self, value: Phase | str) -> None:
        self.proto.phase = Phase(value).value

    @property
    def created(self) -> datetime | None:
        """When the resource was created (UTC, microseconds), None when unset."""
        return _read_time(self.proto, "created")

    @property
    def updated(self) -> datetime | None:
        """When the resource was last updated (UTC, microseconds), None when it never was."""
        return _read_time(self.proto, "updated")

    @property
    def finalizers(self) -> MutableSequence[str]:
        """Who must finish before the resource may be destroyed; the list can be changed in place."""
        return self.proto.finalizers

    @finalizers.setter
    def finalizers(self, values: Iterable[str]) -> None:
        items = list(values)
        del self.proto.finalizers[:]
        self.proto.finalizers.extend(items)

    @property
    def labels(self) -> MutableMapping[str, str]:
        """The labels, what selectors match; the mapping can be changed in place."""
        return Texts(self.proto.labels)

    @labels.setter
    def labels(self, values: Mapping[str, str]) -> None:
        _replace(self.proto.labels, values)

    @property
    def annotations(self) -> MutableMapping[str, str]:
        """The annotations; the mapping can be changed in place."""
        return Texts(self.proto.annotations)

    @annotations.setter
    def annotations(self, values: Mapping[str, str]) -> None:
        _replace(self.proto.annotations, values)

    def __repr__(self) -> str:
        return f"<Metadata {self.type}({self.namespace}/{self.id}@{self.proto.version})>"


def _replace(target: MutableMapping[str, str], values: Mapping[str, str]) -> None:
    items = dict(values)
    target.clear()
    target.update(items)


def _read_time(proto: cosi_resource.Metadata, field: str) -> datetime | None:
    if not proto.HasField(field):  # type: ignore[arg-type]
        return None
    stamp = getattr(proto, field)
    seconds: int = stamp.seconds
    if seconds <= _ZERO_SECONDS or (seconds == 0 and stamp.nanos == 0):
        # Omni stores what the client sent: Go's zero time, or nothing at all, which reads back as 1970.
        return None
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=stamp.nanos // 1000)
    except OverflowError:
        return None


class Resource(Generic[SpecT]):
    """A resource of the server, or one that is to become such.

    Typed classes (`omniherd.resources.Cluster`) are made from this one. The spec is decoded at first access.

    Args:
        id: The id.
        namespace: Defaults to the namespace where the type lives.
        labels: Labels to start with.
        annotations: Annotations to start with.
        finalizers: Finalizers to start with.
        spec: The spec, as its message or as a mapping of proto field names (see `omniherd._core.spec_mapping.fill`).

    Raises:
        InputError: The mapping does not fit the spec's message.

    Example:
        >>> from omniherd.resources import ConfigPatch
        >>> patch = ConfigPatch("500-lab-ntp", labels={"omni.sidero.dev/cluster": "lab"}, spec={"data": "machine: {}"})
        >>> patch.namespace, patch.version, patch.spec.data
        ('default', None, 'machine: {}')
    """

    __slots__ = ("_baseline", "_encoded", "_message", "_metadata", "_spec")

    info: ClassVar[TypeInfo | None] = None
    type_name: ClassVar[str] = ""
    default_namespace: ClassVar[str] = "default"

    _message: cosi_resource.Resource | None
    _encoded: bytes
    _metadata: Metadata | None
    _spec: SpecT | None
    _baseline: bytes | None

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's name for it
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        finalizers: Iterable[str] | None = None,
        spec: SpecT | Mapping[str, Any] | None = None,
    ) -> None:
        if not self.type_name:
            raise InputError("a resource needs a type: use a class of omniherd.resources, or resource_class(name)")
        proto = _resource_message()()
        metadata = proto.metadata
        metadata.namespace = self.default_namespace if namespace is None else namespace
        metadata.type = self.type_name
        metadata.id = id
        metadata.version = _UNDEFINED
        metadata.phase = Phase.RUNNING.value
        metadata.created.seconds = _ZERO_SECONDS
        metadata.updated.seconds = _ZERO_SECONDS
        if labels:
            metadata.labels.update(labels)
        if annotations:
            metadata.annotations.update(annotations)
        if finalizers:
            metadata.finalizers.extend(finalizers)
        proto.spec.SetInParent()
        self._message = proto
        self._encoded = b""
        self._metadata = None
        self._spec = None
        self._baseline = None
        if spec is not None:
            self.spec = spec

    @classmethod
    def from_proto(cls, proto: cosi_resource.Resource) -> Self:
        """Wrap a message; nothing is copied or decoded.

        Args:
            proto: The message, which the resource keeps.
        """
        resource = cls.__new__(cls)
        resource._message = proto
        resource._encoded = b""
        resource._metadata = None
        resource._spec = None
        resource._baseline = None
        return resource

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Wrap an encoded message of `cosi.resource.Resource`, which is decoded at the first look at it.

        What looks at bytes that are no such message raises `InternalError`: they came from a server.

        Args:
            data: The bytes, which the resource keeps until then.

        Example:
            >>> from omniherd.resources import MachineClass
            >>> sent = MachineClass("large").to_proto().SerializeToString()
            >>> MachineClass.from_bytes(sent).id
            'large'
        """
        resource = cls.__new__(cls)
        resource._message = None
        resource._encoded = data
        resource._metadata = None
        resource._spec = None
        resource._baseline = None
        return resource

    @property
    def _proto(self) -> cosi_resource.Resource:
        message = self._message
        return self._decoded() if message is None else message

    def _decoded(self) -> cosi_resource.Resource:
        # Two threads that decode at once would have a message each, and changes of one would be lost.
        with _DECODING:
            if self._message is None:
                self._message = decode(_resource_message().FromString, self._encoded, self.type_name or None)
                self._encoded = b""
            return self._message

    # --- metadata -------------------------------------------------------------------------------------------------

    @property
    def metadata(self) -> Metadata:
        """The metadata, as a live view."""
        view = self._metadata
        if view is None:
            view = self._metadata = Metadata(self._proto.metadata)
        return view

    @property
    def id(self) -> str:
        """The id, unique for a type in a namespace."""
        return self._proto.metadata.id

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self._proto.metadata.namespace

    @property
    def type(self) -> str:
        """The full type name, `Clusters.omni.sidero.dev`."""
        return self._proto.metadata.type

    @property
    def version(self) -> int | None:
        """The version, counted up by each write; None while it is undefined (new and virtual resources)."""
        return self.metadata.version

    @property
    def owner(self) -> str:
        """The controller that owns the resource, empty when nobody does."""
        return self._proto.metadata.owner

    @property
    def phase(self) -> Phase:
        """The phase: running or tearing down."""
        return self.metadata.phase

    @property
    def created(self) -> datetime | None:
        """When the resource was created (UTC), None when unset."""
        return self.metadata.created

    @property
    def updated(self) -> datetime | None:
        """When the resource was last updated (UTC), None when it never was."""
        return self.metadata.updated

    @property
    def finalizers(self) -> MutableSequence[str]:
        """Who must finish before the resource may be destroyed; can be changed in place and assigned."""
        return self._proto.metadata.finalizers

    @finalizers.setter
    def finalizers(self, values: Iterable[str]) -> None:
        self.metadata.finalizers = values

    @property
    def labels(self) -> MutableMapping[str, str]:
        """The labels, what selectors match; can be changed in place and assigned."""
        return Texts(self._proto.metadata.labels)

    @labels.setter
    def labels(self, values: Mapping[str, str]) -> None:
        self.metadata.labels = values

    @property
    def annotations(self) -> MutableMapping[str, str]:
        """The annotations; can be changed in place and assigned."""
        return Texts(self._proto.metadata.annotations)

    @annotations.setter
    def annotations(self, values: Mapping[str, str]) -> None:
        self.metadata.annotations = values

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the resource: namespace, type, id."""
        metadata = self._proto.metadata
        return (metadata.namespace, metadata.type, metadata.id)

    # --- spec -----------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> SpecT:
        """The spec, decoded at first access; change it in place or assign a message or a mapping.

        It is the protobuf message of the type, None for types without a spec, and a mapping (Omni's YAML form) for
        types that omniherd does not know. Fields that the server sends zstd-compressed are filled into their plain
        twins.

        Raises:
            InputError: The server's bytes are no such message.
        """
        spec = self._spec
        if spec is None:
            spec = self._spec = self._decode()
        return spec

    @spec.setter
    def spec(self, value: SpecT | Mapping[str, Any]) -> None:
        name = self.info.spec if self.info is not None else None
        if name is None:
            if not isinstance(value, Mapping):
                raise InputError(f"the spec of {self.type_name} is a mapping, not {type(value).__name__}")
            self._spec = cast("SpecT", dict(cast("Mapping[str, Any]", value)))
            self._baseline = b""  # never equal to what a mapping encodes to, so it is sent
            return
        from omniherd._core.pool import message

        fresh = message(name)()
        if isinstance(value, Mapping):
            from omniherd._core.spec_mapping import fill

            fill(fresh, cast("Mapping[str, Any]", value))
        elif getattr(getattr(value, "DESCRIPTOR", None), "full_name", None) == name:
            fresh.CopyFrom(cast("Message", value))
        else:
            raise InputError(f"the spec of {self.type_name} is {name} or a mapping, not {type(value).__name__}")
        self._spec = cast("SpecT", fresh)
        self._baseline = None
        self._proto.spec.proto_spec = fresh.SerializeToString(deterministic=True)
        self._proto.spec.yaml_spec = ""

    def _decode(self) -> SpecT:
        info = self.info
        raw = self._proto.spec
        if info is None or (info.spec is None and raw.yaml_spec):
            from omniherd.yamlform import load_spec_mapping

            return cast("SpecT", load_spec_mapping(raw.yaml_spec))
        if info.spec is None:
            return cast("SpecT", None)
        from omniherd._core.pool import message

        cls = message(info.spec)
        try:
            decoded = cls.FromString(raw.proto_spec)
        except Exception as error:  # noqa: BLE001 - protobuf raises a class of its own for each backend
            raise InputError(f"the spec of {self} is no {info.spec}: {error}", resource=str(self)) from None
        if info.compressed and self._fill_compressed(decoded, info):
            self._baseline = decoded.SerializeToString(deterministic=True)
        return cast("SpecT", decoded)

    def _fill_compressed(self, decoded: Message, info: TypeInfo) -> bool:
        """Move zstd-compressed fields into their plain twins, which the YAML form shows; tell whether there were any.

        The frames need a dictionary that only the server has, and the YAML form carries the text anyway.
        """
        packed = [(zstd, plain) for zstd, plain in info.compressed if getattr(decoded, zstd)]
        if not packed or not self._proto.spec.yaml_spec:
            return False
        from omniherd.yamlform import spec_from_yaml

        shown = spec_from_yaml(self._proto.spec.yaml_spec, type(decoded), self.type_name)
        for zstd, plain in packed:
            value = getattr(shown, plain)
            decoded.ClearField(zstd)
            if isinstance(value, (str, bytes)):
                setattr(decoded, plain, value)
            else:
                decoded.ClearField(plain)
                getattr(decoded, plain).extend(value)
        return True

    def _spec_bytes(self) -> bytes:
        """Return the spec as it goes out: as it came unless it was changed."""
        spec = self._spec
        if spec is None or not hasattr(spec, "SerializeToString"):
            return self._proto.spec.proto_spec
        encoded = cast("Message", spec).SerializeToString(deterministic=True)
        return self._proto.spec.proto_spec if encoded == self._baseline else encoded

    def to_proto(self) -> cosi_resource.Resource:
        """Return a message to send; the resource stays as it is.

        A spec that was not changed goes out as it came, to the byte.
        """
        copy = _resource_message()()
        copy.metadata.CopyFrom(self._proto.metadata)
        copy.spec.SetInParent()
        data = self._spec_bytes()
        if data:
            copy.spec.proto_spec = data
        spec: Any = self._spec
        if is_mapping(spec):
            from omniherd.yamlform import dump_spec_mapping

            copy.spec.yaml_spec = dump_spec_mapping(spec)
        return copy

    # --- forms ----------------------------------------------------------------------------------------------------

    @property
    def yaml_spec(self) -> str:
        """The spec in Omni's YAML form: the server's text while the spec is untouched, else made from the spec.

        Omni's YAML form is not protobuf's JSON: keys are lower-cased without underscores, enums are numbers.
        """
        raw = self._proto.spec
        spec = self._spec
        if spec is None and (raw.yaml_spec or self.info is None):
            return raw.yaml_spec
        if isinstance(spec, dict):
            from omniherd.yamlform import dump_spec_mapping

            return dump_spec_mapping(cast("dict[str, Any]", spec))
        if raw.yaml_spec and self._spec_bytes() == raw.proto_spec:
            return raw.yaml_spec
        from omniherd.yamlform import spec_to_yaml

        current = self.spec
        return "{}\n" if current is None else spec_to_yaml(cast("Message", current), self.type_name)

    def to_yaml(self) -> str:
        """Return the resource as one YAML document, `metadata` and `spec`, laid out as omnictl prints it."""
        from omniherd.yamlform import render_resource

        return render_resource(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the resource as plain values: `metadata` and `spec` in Omni's YAML form, label values as text."""
        from omniherd.yamlform import resource_to_dict

        return resource_to_dict(self)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read a resource from one YAML document with `metadata` and `spec`.

        Args:
            text: The document. `metadata.type` and `metadata.id` are needed.

        Raises:
            YAMLError: The text is no such document.
            InputError: The document is of another type than the class.
        """
        from omniherd.yamlform import resource_from_yaml

        resource = resource_from_yaml(text)
        if cls.type_name and not isinstance(resource, cls):
            raise InputError(f"the document is of type {resource.type}, not {cls.type_name}", resource=str(resource))
        return cast("Self", resource)

    def copy(self) -> Self:
        """Return a copy that shares nothing with the original; the server's YAML text comes along."""
        fresh = _resource_message()()
        fresh.CopyFrom(self._proto)
        other = type(self).from_proto(fresh)
        if self._spec is not None:
            spec: Any = self._spec
            if hasattr(spec, "CopyFrom"):
                duplicate = type(spec)()
                duplicate.CopyFrom(spec)
                other._spec = duplicate
            else:
                import copy

                other._spec = copy.deepcopy(spec)
            other._baseline = self._baseline
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Resource):
            return NotImplemented
        return self._proto.metadata == other._proto.metadata and self._comparable() == other._comparable()

    def _comparable(self) -> Any:
        spec: Any = self._spec
        return spec if is_mapping(spec) else self._spec_bytes()

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        metadata = self._proto.metadata
        return f"{metadata.type}({metadata.namespace}/{metadata.id}@{metadata.version or _UNDEFINED})"

    def __repr__(self) -> str:
        # No spec here: specs may hold keys, and reprs end in logs.
        return f"<{type(self).__name__} {self.namespace}/{self.id} version={self.version} phase={self.phase.value}>"


@functools.cache
def _resource_message() -> type[cosi_resource.Resource]:
    from omniherd.wire import cosi_resource

    return cosi_resource.Resource


@functools.cache
def _types() -> dict[str, TypeInfo]:
    return {info.type: info for info in TABLE}


@functools.cache
def _aliases() -> dict[str, tuple[str, ...]]:
    """Every alias in lower case to the types that answer to it, by the rule of Omni's ResourceDefinitions."""
    found: dict[str, list[str]] = {}
    for info in TABLE:
        plural, _, suffix = info.type.lower().partition(".")
        names = {*info.aliases, plural, info.name.lower()}
        parts = suffix.split(".")
        names.update(".".join([plural, *parts[: count + 1]]) for count in range(len(parts)))
        for name in names:
            found.setdefault(name, []).append(info.type)
    return {name: tuple(sorted(types)) for name, types in found.items()}


@functools.cache
def class_for_type(type_name: str) -> type[Resource[Any]]:
    """Return the class of a full type name; a type that omniherd does not know gets a class with a mapping for a spec.

    Args:
        type_name: For example `Clusters.omni.sidero.dev`.

    Example:
        >>> class_for_type("Clusters.omni.sidero.dev").__name__
        'Cluster'
    """
    info = _types().get(type_name)
    members: dict[str, Any] = {"__slots__": (), "type_name": type_name, "info": info}
    if info is not None:
        members["default_namespace"] = info.namespace
        members["__module__"] = "omniherd.resources"
        members["__doc__"] = f"{type_name} in namespace {info.namespace}."
    name = info.name if info is not None else type_name.partition(".")[0]
    return type(name, (Resource,), members)


@overload
def resource_class(type_or_name: type[ResourceT]) -> type[ResourceT]: ...
@overload
def resource_class(type_or_name: str) -> type[Resource[Any]]: ...
def resource_class(type_or_name: type[ResourceT] | str) -> type[ResourceT | Resource[Any]]:
    """Return the class for whatever a user may call a resource type.

    Args:
        type_or_name: A class, a full type name, or an alias in any case (`cluster`, `machinestatuses`, `msn`).

    Raises:
        UnknownType: Nothing answers to the alias. A name with a dot counts as a full type name, known or not.
        AmbiguousType: Several types answer to the alias; `details["types"]` lists them.

    Example:
        >>> resource_class("machinesetnodes").type_name
        'MachineSetNodes.omni.sidero.dev'
    """
    if not isinstance(type_or_name, str):
        if not type_or_name.type_name:
            raise InputError("Resource itself has no type: use a class of omniherd.resources, or a type name")
        return type_or_name
    if type_or_name in _types():
        return class_for_type(type_or_name)
    matches = _aliases().get(type_or_name.lower(), ())
    if len(matches) == 1:
        return class_for_type(matches[0])
    if matches:
        names = " ".join(match.lower() for match in matches)
        raise AmbiguousType(
            f'resource type "{type_or_name}" is ambiguous: [{names}]',
            details={"types": list(matches)},
            hint="use one of the names in the brackets",
        )
    if "." in type_or_name:
        return class_for_type(type_or_name)
    raise UnknownType(f'resource "{type_or_name}" is not registered')
