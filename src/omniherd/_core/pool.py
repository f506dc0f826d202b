"""The private descriptor pool that holds every message of Omni's API.

Omni's proto packages are called `common`, `specs`, `time` and the like. In protobuf's process-wide pool they would
meet other libraries' files of the same name, so omniherd keeps its descriptors to itself: the pool is built from
`wire/descriptors.binpb` at first use, message classes when they are first asked for.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

__all__ = ["descriptor", "enum_descriptor", "implementation", "message", "module_member", "pool"]


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
    built: DescriptorPool = implementation()[0]()
    # The generator writes files in an order in which each one's imports stand before it.
    for file in _files(_descriptors()):
        built.AddSerializedFile(file)
    return built


def implementation() -> tuple[Callable[[], Any], Callable[[Any], type[Message]]]:
    """Return what makes a pool, and what makes the class of a message out of its descriptor."""
    # The public modules import their twins in pure Python first, which takes longer than all the rest here. Where the
    # compiled ones are used, as nearly always, they hand out what is handed out here.
    if os.environ.get("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "upb") == "upb":
        try:
            compiled: Any = import_module("google._upb._message")
            meta: Any = import_module("google.protobuf.pyext.cpp_message").GeneratedProtocolMessageType
        except (ImportError, AttributeError):
            pass
        else:
            return compiled.DescriptorPool, lambda descriptor: _made_by(meta, descriptor)
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    return DescriptorPool, GetMessageClass


def _made_by(meta: Any, descriptor: Any) -> type[Message]:
    """Return the class of a message and make those of its fields, as `GetMessageClass` does."""
    from google.protobuf.message import Message

    found: type[Message] | None = getattr(descriptor, "_concrete_class", None)
    if found is not None:
        return found
    made: type[Message] = meta(descriptor.name, (Message,), {"DESCRIPTOR": descriptor, "__module__": None})
    for field in descriptor.fields:
        if field.message_type is not None:
            _made_by(meta, field.message_type)
    return made


def _descriptors() -> bytes:
    from omniherd import wire

    loader: Any = wire.__spec__.loader if wire.__spec__ else None
    # Works in zip files too, and without the many modules of importlib.resources.
    data: bytes = loader.get_data(os.path.join(wire.__path__[0], "descriptors.binpb"))  # noqa: PTH118 - a loader's path
    return data


def _files(data: bytes) -> Iterator[bytes]:
    """Return the encoded files of a FileDescriptorSet, whose only field they are."""
    at = 0
    while at < len(data):
        at += 1
        length = shift = 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield data[at : at + length]
        at += length


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
        made = implementation()[1](descriptor(full_name))
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
