"""States as a whole: taken from an emulator, put back, kept in files, or read from what a real server exported."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from omniherd._core.files import reason
from omniherd.emulator.names import IDENTITY, PUBLIC_KEY, USER
from omniherd.errors import ConfigError, OmniError, PermissionDenied, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from omniherd import Omni
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["Snapshot", "export", "read_seed", "sow"]

# The emulator has people and keys of its own: a copy of a fleet must not admit those of the real server.
_OWN = frozenset({IDENTITY, PUBLIC_KEY, USER, "IdentityStatuses.omni.sidero.dev"})
_SQLITE = b"SQLite format 3\x00"


class Snapshot:
    """The resources of an emulator at a moment.

    Args:
        resources: The resources, which are never changed.

    Example:
        >>> from omniherd.emulator import Emulator
        >>> emulator = Emulator()
        >>> before = emulator.snapshot()
        >>> emulator.store.remove("default", "Clusters.omni.sidero.dev", "prod")
        True
        >>> emulator.restore(before)
        >>> emulator.store.get("default", "Clusters.omni.sidero.dev", "prod").id
        'prod'
    """

    def __init__(self, resources: Iterable[Stored]) -> None:
        self._resources = {(one.namespace, one.type, one.id): one for one in resources}

    def __len__(self) -> int:
        return len(self._resources)

    @classmethod
    def of(cls, store: Store) -> Snapshot:
        """Take a store's state."""
        with store.lock:
            return cls(_all(store))

    def apply(self, store: Store) -> None:
        """Make a store hold this and nothing else, versions and times included; no controller reacts, watches see it.

        Args:
            store: The store; resources that are the same stay as they are.
        """
        with store.quietly():
            for now in _all(store):
                if (now.namespace, now.type, now.id) not in self._resources:
                    store.remove(now.namespace, now.type, now.id)
            for key, wanted in self._resources.items():
                current = store.find(*key)
                if current is not wanted and (current is None or current.wire != wanted.wire):
                    store.restore(wanted.wire)

    def save(self, path: Path) -> None:
        """Write it to a file, which `omniherd emulator --seed-from` and `read_seed` take.

        The file has mode 0600: tokens and keys are in it.

        Raises:
            ConfigError: The file cannot be written.
        """
        from omniherd.emulator.persistence import save

        save(path, self._resources.values())


def read_seed(path: Path) -> list[bytes]:
    """Return the resources of a file, encoded `cosi.resource.Resource` messages.

    Args:
        path: A saved snapshot, the file of `--data`, YAML documents as `omnictl get -o yaml` prints them, or a JSON
            array whose items have an encoded resource in base64 as `resource`.

    Raises:
        ConfigError: The file cannot be read, or is none of these.
        YAMLError: A document is no resource.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) == _SQLITE:
                from omniherd.emulator.persistence import read_resources

                return read_resources(path)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read a seed from {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read a seed from {path}: it is no UTF-8 text: byte {error.start}") from error
    if text.lstrip().startswith("["):
        try:
            return [base64.b64decode(item["resource"], validate=True) for item in json.loads(text)]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is no list of resources: {error!r}") from error
    from omniherd.yamlform import resources_from_yaml

    return [_encoded(resource) for resource in resources_from_yaml(text)]


def sow(store: Store, resources: Iterable[bytes]) -> int:
    """Put resources of another server into a store, without its people and keys; return how many.

    No controller reacts: what they made over there comes along.

    Raises:
        ConfigError: A resource cannot be decoded.
    """
    from omniherd._core.pool import message

    parse: Any = message("cosi.resource.Resource").FromString
    count = 0
    with store.quietly():
        for data in resources:
            try:
                proto = parse(data)
            except Exception as error:  # noqa: BLE001 - protobuf's error class depends on its backend
                raise ConfigError(f"a resource of the seed is no resource: {error}") from None
            if proto.metadata.type not in _OWN and proto.metadata.id:
                store.restore(proto)
                count += 1
    return count


def export(omni: Omni) -> list[bytes]:
    """Read what a server has, of every type that the caller may list; nothing is written.

    Args:
        omni: A client; a Reader's does.
    """
    from omniherd.emulator.forms import TYPES

    found: list[bytes] = []
    for info in TYPES.values():
        if info.namespace == "virtual":
            continue
        try:
            found += [_encoded(resource) for resource in omni.list(info.type)]
        except (PermissionDenied, Unimplemented):
            continue
        except OmniError as error:
            if error.code in {"UNAUTHENTICATED", "UNAVAILABLE"}:
                raise
    return found


def _all(store: Store) -> list[Stored]:
    return [one for namespace, type_name in store.kinds() for one in store.list(namespace, type_name)]


def _encoded(resource: Any) -> bytes:
    proto = resource.to_proto()
    if not proto.spec.yaml_spec:
        proto.spec.yaml_spec = resource.yaml_spec
    if proto.metadata.version in {"", "undefined"}:
        proto.metadata.version = "1"
    return bytes(proto.SerializeToString())
