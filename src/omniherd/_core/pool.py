"""The private descriptor pool that holds every message of Omni's API.

Omni's proto packages are called `common`, `specs`, `time` and the like. In protobuf's process-wide pool they would
meet other libraries' files of the same name, so omniherd keeps its descriptors to itself: the pool is built from
`wire/descriptors.binpb` at first use, message classes when they are first asked for.
"""

from __future__ import annotations

import threading
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

__all__ = ["descriptor", "enum_descriptor", "message", "module_member", "pool"]


# Two threads that build at once would get two pools, whose classes of the same name do not go together.
_LOCK = threading.Lock()
_BUILT: list[DescriptorPool] = []
_CLASSES: dict[str, type[Message]] = {}


def pool() -> DescriptorPool:
    """Return the private pool, built on the first call (3 to 4 ms)."""
    if not _BUILT:
        with _LOCK:
            if not _BUILT:
                _BUILT.append(_build())
    return _BUILT[0]


def _build() -> DescriptorPool:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool

    data = resources.files("omniherd.wire").joinpath("descriptors.binpb").read_bytes()
    built = DescriptorPool()
    # The generator writes files in an order in which each one's imports stand before it.
    for file in FileDescriptorSet.FromString(data).file:
        built.AddSerializedFile(file.SerializeToString())
    return built


def descriptor(full_name: str) -> Descriptor:
    """Return the descriptor of a message.

    Args:
        full_name: For example `specs.ClusterSpec`.

    Raises:
        KeyError: The API has no message of that name.
    """
    found: Descriptor = pool().FindMessageTypeByName(full_name)
    return found


def enum_descriptor(full_name: str) -> EnumDescriptor:
    """Return the descriptor of an enum.

    Args:
        full_name: For example `specs.MachineSetPhase`.

    Raises:
        KeyError: The API has no enum of that name.
    """
    found: EnumDescriptor = pool().FindEnumTypeByName(full_name)
    return found


def message(full_name: str) -> type[Message]:
    """Return the class of a message.

    Args:
        full_name: For example `specs.ClusterSpec`, or `google.protobuf.Timestamp`: the private pool has its own.

    Raises:
        KeyError: The API has no message of that name.

    Example:
        >>> message("specs.ClusterSpec")(talos_version="1.13.5").talos_version
        '1.13.5'
    """
    found = _CLASSES.get(full_name)
    if found is None:
        from google.protobuf.message_factory import GetMessageClass

        made: type[Message] = GetMessageClass(descriptor(full_name))
        # Whoever comes first counts, for every thread.
        found = _CLASSES.setdefault(full_name, made)
    return found


def module_member(package: str, name: str) -> Any:
    """Return what a module of `omniherd.wire` has under a name: a message class, an enum, or an enum's value.

    Args:
        package: The proto package, `specs` for example.
        name: The name inside it.

    Raises:
        AttributeError: There is nothing of that name.
    """
    if name.startswith("__"):
        raise AttributeError(name)
    full_name = f"{package}.{name}"
    try:
        return message(full_name)
    except KeyError:
        pass
    try:
        from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

        return EnumTypeWrapper(enum_descriptor(full_name))
    except KeyError:
        raise AttributeError(f"proto package {package!r} has no {name!r}") from None
