"""How ResourceService shows a resource, and by what it can be sorted and searched."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from omniherd._core.gojson import dumps
from omniherd.emulator.forms import TYPES, unpacked
from omniherd.emulator.protojson.writing import compact, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omniherd.emulator.records import Stored

    _Find = Callable[[Any], str]

__all__ = ["resource_json", "searched", "sort_field"]

_OMNI = ".omni.sidero.dev"
_NODE_NAME = "omni.sidero.dev/node-name"
_ACCEPTANCE = ("pending", "accepted", "rejected")


def resource_json(resource: Stored, node: str = "") -> str:
    """Return a resource as JSON: spec first, then metadata; the version is a number, times have whole seconds.

    Args:
        resource: The resource.
        node: The machine that it is on, for one of Talos; empty for none.
    """
    metadata: dict[str, Any] = {
        "created": _moment(resource.created[0]),
        "updated": _moment(resource.updated[0]),
        "namespace": resource.namespace,
        "type": resource.type,
        "id": resource.id,
        "owner": resource.owner,
        "phase": resource.phase,
    }
    if resource.labels:
        metadata["labels"] = dict(sorted(resource.labels.items()))
    if resource.annotations:
        metadata["annotations"] = dict(sorted(resource.annotations.items()))
    if resource.finalizers:
        metadata["finalizers"] = list(resource.finalizers)
    if node:
        metadata["node"] = node
    metadata["version"] = int(resource.version) if resource.version.isdigit() else 0
    return f'{{"spec":{_spec(resource)},"metadata":{compact(metadata)}}}'


def _spec(resource: Stored) -> str:
    info = TYPES.get(resource.type)
    if info is None:
        return _foreign_spec(resource)
    if info.spec is None:
        return "{}"
    spec = unpacked(resource.type, resource.decode())
    if info.spec.startswith("specs."):
        return write(spec)
    # What describes resources is no message on the server's side.
    from omniherd.yamlform.specform import spec_to_mapping

    return dumps(spec_to_mapping(spec, resource.type), indent=None)


def _foreign_spec(resource: Stored) -> str:
    """Return the spec of a type that Omni does not have: what its YAML form says."""
    from omniherd.yamlform.goyaml import load

    return dumps(load(resource.yaml or "{}"), indent=None)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _exact(moment: tuple[int, int]) -> str:
    return f"{datetime.fromtimestamp(moment[0], UTC):%Y-%m-%d %H:%M:%S}.{moment[1]:09d}"


def sort_field(resource: Stored, name: str) -> str | None:
    """Return the text by which a resource is sorted; None when it has no such field.

    Args:
        resource: The resource.
        name: Name of the field, empty for the id.
    """
    if name in {"id", ""}:
        return resource.id
    if name == "namespace":
        return resource.namespace
    if name in {"created", "updated"}:
        return _exact(resource.created if name == "created" else resource.updated)
    find = _FIELDS.get(resource.type.removesuffix(_OMNI), {}).get(name)
    return None if find is None else find(resource.decode())


_STATUS_FIELDS: dict[str, _Find] = {
    "cluster": lambda spec: spec.cluster,
    "hostname": lambda spec: spec.network.hostname,
    "platform": lambda spec: spec.platform_metadata.platform,
    "arch": lambda spec: spec.hardware.arch,
}


def _of_status(find: _Find) -> _Find:
    return lambda spec: find(spec.message_status)


_FIELDS: dict[str, dict[str, _Find]] = {
    "MachineStatuses": _STATUS_FIELDS,
    "MachineStatusLinks": {
        **{name: _of_status(find) for name, find in _STATUS_FIELDS.items()},
        "last_alive": lambda spec: f"{spec.siderolink_counter.last_alive.seconds:020d}",
        "machine_created_at": lambda spec: f"{spec.machine_created_at:020d}",
    },
    "Machines": {
        "management_address": lambda spec: spec.management_address,
        "connected": lambda spec: str(spec.connected).lower(),
    },
}


def searched(resource: Stored, words: Sequence[str]) -> bool:
    """Whether a resource has one of the searched words in it; without words every one has."""
    return not words or any(_has(resource, word) for word in words)


def _has(resource: Stored, word: str) -> bool:
    texts = (resource.id, resource.namespace, _exact(resource.created), _exact(resource.updated))
    if any(word in text for text in texts):
        return True
    kind = resource.type.removesuffix(_OMNI)
    if kind in {"MachineStatuses", "MachineStatusLinks"}:
        spec = resource.decode() if kind == "MachineStatuses" else resource.decode().message_status
        found = [spec.network.hostname, spec.platform_metadata.hostname, spec.cluster]
        found += [link.hardware_address for link in spec.network.network_links]
        return any(word in text for text in found)
    if kind == "ClusterStatuses":
        return word == ("ready" if resource.decode().ready else "!ready")
    if kind == "Machines":
        return word in resource.decode().management_address
    if kind == "ClusterMachineStatuses":
        return word in resource.labels.get(_NODE_NAME, "")
    if kind == "InfraMachines" and word in _ACCEPTANCE:
        return int(resource.decode().acceptance_status) == _ACCEPTANCE.index(word)
    return False
