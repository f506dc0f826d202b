"""What a Cluster may say: its name, versions that fit each other, and what may change later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd.emulator.access import frame
from omniherd.emulator.gotext import quote
from omniherd.emulator.machine_rules import talos_fault
from omniherd.emulator.machine_set_rules import CLUSTER_LOCKED, is_locked
from omniherd.emulator.records import RUNNING
from omniherd.emulator.versions import kubernetes_path, on_path, order, precedence

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["ClusterRules", "go_duration"]

_TAINTED = "omni.sidero.dev/tainted-by-importing"
_ENCRYPTED_SINCE = (1, 5, 0)
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
            faults = [*_forms(spec), *_backup(spec), *self._versions(None, spec, resource.id)]
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
        """Return the first fault of the versions together; what an update leaves as it is has passed already."""
        talos, kubernetes = new.talos_version, new.kubernetes_version
        same_talos = old is not None and old.talos_version == talos
        same = old is not None and same_talos and old.kubernetes_version == kubernetes
        found = self._store.find("default", _VERSIONS, talos)
        if same or (same_talos and found is None):
            return []
        fault = talos_fault(self._store, talos, "" if old is None else old.talos_version) or self._below(
            id_, old, talos
        )
        if fault is None and old is not None:
            fault = self._kubernetes(id_, old.kubernetes_version, kubernetes)
        if fault is None and (found is None or kubernetes not in found.decode().compatible_kubernetes_versions):
            fault = (
                f"invalid kubernetes version {quote(kubernetes)}: is not compatible with talos version {quote(talos)}"
            )
        return [] if fault is None else [fault]

    def _below(self, id_: str, old: Any, talos: str) -> str | None:
        initial = self._initial(id_, old)
        if not initial or order(talos)[:2] >= order(initial)[:2]:
            return None
        return f"downgrading from version {quote(initial)} to {quote(talos)} is not supported"

    def _kubernetes(self, id_: str, old: str, new: str) -> str | None:
        """Return what is wrong with a step of Kubernetes; back from an upgrade that is under way is always possible."""
        from omniherd.template.versions import VersionRefused

        try:
            if old and not self._ends_upgrade(id_, old, new) and not on_path(*kubernetes_path(old, new)):
                return f"kubernetes version is not supported for upgrade to {quote(new)} from {quote(old)}"
        except VersionRefused as refused:
            return str(refused)
        return None

    def _ends_upgrade(self, id_: str, old: str, new: str) -> bool:
        from omniherd.template.versions import parse_version

        status = self._store.find("default", "KubernetesUpgradeStatuses.omni.sidero.dev", id_)
        if status is None:
            return False
        running, last = status.decode().current_upgrade_version, status.decode().last_upgrade_version
        if not running or not last:
            return False
        before, after, running, last = (precedence(parse_version(one)) for one in (old, new, running, last))
        return (before < running and after < last) or (after == last and before == running)

    def _initial(self, id_: str, old: Any) -> str:
        """Return the Talos version that a cluster was made with; empty for a new one."""
        if old is None:
            return ""
        config = self._store.find("default", "ClusterConfigVersions.omni.sidero.dev", id_)
        return str(old.talos_version if config is None else config.decode().version).removeprefix("v")


def _name(id_: str) -> list[str]:
    if not id_:
        return ["name is required"]
    if all(one.isalpha() or one.isdecimal() or one in "_-" for one in id_):
        return []
    return ["name should only contain letters, digits, dashes and underscores"]


def _forms(new: Any, old: Any = None) -> list[str]:
    """Return what is wrong with the form of the versions, and with encryption on an old Talos."""
    from omniherd.template.versions import VersionRefused, parse_version

    same_talos = old is not None and old.talos_version == new.talos_version
    versions: list[tuple[str, str]] = []
    if old is None or not same_talos or old.kubernetes_version != new.kubernetes_version:
        versions.append(("Kubernetes", new.kubernetes_version))
    if not same_talos:
        versions.append(("Talos", new.talos_version))
    texts: list[str] = []
    for name, version in versions:
        fault = _version_fault(version)
        if fault is not None:
            texts.append(f"error validating {name} version: {frame([fault])}")
    if not new.features.disk_encryption:
        return texts
    try:
        if parse_version(new.talos_version).before(*_ENCRYPTED_SINCE):
            texts.append("disk encryption is supported only for Talos version >= 1.5.0")
    except VersionRefused as refused:
        texts.append(str(refused))
    return texts


def _version_fault(version: str) -> str | None:
    """Return what is wrong with the form of a version."""
    from omniherd.template.versions import VersionRefused, parse_version

    if not version:
        return "version is required"
    try:
        parse_version(version)
    except VersionRefused as refused:
        return f"version should be in semver format: {refused}"
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
