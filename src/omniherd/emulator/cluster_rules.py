"""What a Cluster may say: its name, versions that fit each other, and what may change later."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import frame
from omniherd.emulator.gotext import quote
from omniherd.emulator.machine_rules import unknown_version
from omniherd.emulator.machine_set_rules import CLUSTER_LOCKED, is_locked
from omniherd.emulator.records import RUNNING
from omniherd.emulator.versions import may_upgrade_kubernetes, order

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["ClusterRules", "go_duration"]

_TAINTED = "omni.sidero.dev/tainted-by-importing"
_PARTS = ("major", "minor", "patch")
_ENCRYPTED_SINCE = (1, 5)
_VERSIONS = "TalosVersions.omni.sidero.dev"
_HOUR = 3600


class ClusterRules:
    """The rules of Clusters.

    Args:
        store: The state, asked for the known versions.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def judge(self, verb: str, current: Stored | None, resource: Stored) -> list[str]:
        """Return what is wrong with a write of a cluster; see `Validators.judge`."""
        if verb == "create":
            spec = resource.decode()
            faults = [*_forms(spec, None), *_backup(spec), *self._versions(None, spec, resource.id)]
            return [*_name(resource.id), *faults]
        if verb != "update" or current is None:
            return self._end(resource)
        if resource.phase != RUNNING:
            return []
        if all(is_locked(one) for one in (current, resource)):
            return [f"updating cluster configuration is not allowed: the cluster {quote(resource.id)} is locked"]
        old, new = current.decode(), resource.decode()
        texts = _forms(new, old)
        if old.features.disk_encryption != new.features.disk_encryption:
            texts.append("updating disk encryption settings is not allowed")
        return [*texts, *_backup(new), *self._versions(old, new, resource.id)]

    def _end(self, cluster: Stored) -> list[str]:
        status = self._store.find("default", "ClusterStatuses.omni.sidero.dev", cluster.id)
        if status is None or CLUSTER_LOCKED not in cluster.annotations or _TAINTED in status.labels:
            return []
        return [f"deletion is not allowed: the cluster {quote(cluster.id)} is locked"]

    def _versions(self, old: Any, new: Any, id_: str) -> list[str]:
        """Return the first fault of the versions together."""
        talos, kubernetes = new.talos_version, new.kubernetes_version
        if old is not None and (old.talos_version, old.kubernetes_version) == (talos, kubernetes):
            return []
        fault = None
        if old is None or old.talos_version != talos:
            fault = unknown_version(self._store, talos)
            initial = self._initial(id_, old)
            if fault is None and initial and order(talos)[:2] < order(initial)[:2]:
                fault = f"downgrading from version {quote(initial)} to {quote(talos)} is not supported"
        if fault is None and old is not None and not self._may_upgrade(old.kubernetes_version, kubernetes):
            change = f"{quote(kubernetes)} from {quote(old.kubernetes_version)}"
            fault = f"kubernetes version is not supported for upgrade to {change}"
        found = self._store.find("default", _VERSIONS, talos)
        known = () if found is None else found.decode().compatible_kubernetes_versions
        if fault is None and kubernetes not in known:
            fault = (
                f"invalid kubernetes version {quote(kubernetes)}: is not compatible with talos version {quote(talos)}"
            )
        return [] if fault is None else [fault]

    def _may_upgrade(self, old: str, new: str) -> bool:
        listed = self._store.list("default", "KubernetesVersions.omni.sidero.dev")
        known = {order(version.id)[:2] for version in listed}
        return old == new or (order(new)[:2] in known and may_upgrade_kubernetes(old, new))

    def _initial(self, id_: str, old: Any) -> str:
        """Return the Talos version that a cluster was made with; empty for a new one."""
        if old is None:
            return ""
        config = self._store.find("default", "ClusterConfigVersions.omni.sidero.dev", id_)
        return str(old.talos_version if config is None else config.decode().version).removeprefix("v")


def _name(id_: str) -> list[str]:
    if not id_:
        return ["name is required"]
    if all(character.isalnum() or character in "_-" for character in id_):
        return []
    return ["name should only contain letters, digits, dashes and underscores"]


def _forms(new: Any, old: Any) -> list[str]:
    """Return what is wrong with the form of the versions, and with encryption on an old Talos."""
    versions = [("Kubernetes", new.kubernetes_version)]
    if old is None or old.talos_version != new.talos_version:
        versions.append(("Talos", new.talos_version))
    texts: list[str] = []
    for name, version in versions:
        fault = _version_fault(version)
        if fault is not None:
            texts.append(f"error validating {name} version: {frame([fault])}")
    readable = _version_fault(new.talos_version) is None
    if new.features.disk_encryption and readable and order(new.talos_version)[:2] < _ENCRYPTED_SINCE:
        texts.append("disk encryption is supported only for Talos version >= 1.5.0")
    return texts


def _version_fault(version: str) -> str | None:
    """Return what is wrong with the form of a version, in the words of the server's tolerant parser."""
    if not version:
        return "version is required"
    parts = version.removeprefix("v").split(".", 2)
    if len(parts) < len(_PARTS) and re.search("[+-]", parts[-1]):
        return "version should be in semver format: Short version cannot contain PreRelease/Build meta data"
    if len(parts) == len(_PARTS):
        parts[2] = re.split("[+-]", parts[2], maxsplit=1)[0]
    for name, part in zip(_PARTS, parts, strict=False):
        if not re.fullmatch("[0-9]+", part):
            return f"version should be in semver format: Invalid character(s) found in {name} number {quote(part)}"
    return None


def _backup(spec: Any) -> list[str]:
    if not spec.HasField("backup_configuration"):
        return []
    interval = spec.backup_configuration.interval
    nanoseconds = interval.seconds * 10**9 + interval.nanos
    actual = go_duration(nanoseconds)
    if nanoseconds < _HOUR * 10**9:
        return [f"backup interval must be greater than 1h0m0s, actual {actual}"]
    if nanoseconds > 24 * _HOUR * 10**9:
        return [f"backup interval must be less than 24h0m0s, actual {actual}"]
    return []


def go_duration(nanoseconds: int) -> str:
    """Return a duration as Go writes it: `1m0s`, `1h30m0s`, `1.5s`, `250ms`."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if rest < size * 1000:
            return f"{sign}{_decimal(rest, size)}{unit}"
    seconds, fraction = divmod(rest, 10**9)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(seconds * 10**9 + fraction, 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text


def _decimal(value: int, size: int) -> str:
    whole, fraction = divmod(value, size)
    if not fraction:
        return str(whole)
    digits = len(str(size)) - 1
    return f"{whole}.{str(fraction).zfill(digits).rstrip('0')}"
